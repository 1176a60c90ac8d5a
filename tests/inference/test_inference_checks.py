"""Every kind of bad model: its message names what is wrong where, before any fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_models import random_workspace, workspace
from spoilt_models import (
    BACKGROUND,
    CONFIG,
    IDLE,
    LUMI,
    NO_LUMI,
    OTHER,
    SETTINGS,
    SIGNAL,
    all_of,
    append,
    histosys,
    normsys,
    plain,
    spoil,
)

from lhcml.common.errors import UserError
from lhcml.inference import check_model, check_modifiers, check_parameters, fault
from lhcml.inference.minimise import minimise
from lhcml.inference.read_workspace import make_problem

# (change, message, level): "error" for all, "strict" for those built here, "remark" for none
BAD = {
    "repeated name": (
        spoil(*BACKGROUND, "name", value="signal"), "channel b: sample signal is defined 2 times",
        "error",
    ),
    "bins of samples": (
        spoil(*SIGNAL, "data", value=[5.0, 6.0]),
        "channel b: its samples have different numbers of bins: signal 2, background 3", "error",
    ),
    "no observation": (spoil("observations", 0, "name", value="z"), "channel b: no observation", "error"),
    "bins of an observation": (
        spoil("observations", 0, "data", value=[56.0, 65.0]), "channel b: 2 observed bins, 3 expected", "error",
    ),
    "unknown observation": (
        append("observations", value={"name": "z", "data": [1.0]}), "observation of unknown channel z", "strict",
    ),
    "empty template": (spoil(*SIGNAL, "data", value=[0.0, 0.0, 0.0]), "channel b, sample signal: empty temp", "strict"),
    "negative bin": (
        spoil(*BACKGROUND, "data", 2, value=-0.5), "channel b, sample background, bin 2: negative nominal", "error",
    ),
    "repeated modifier": (
        append(*SIGNAL, "modifiers", value=plain("mu", "normfactor")),
        "channel b, sample signal: normfactor mu is applied twice", "error",
    ),
    "factor not positive": (
        spoil(*BACKGROUND, "modifiers", 0, "data", "lo", value=0.0),
        "channel b, sample background, normsys jes: factor lo = 0.0 is not", "error",
    ),
    "bins of a modifier": (
        spoil(*BACKGROUND, "modifiers", 3, "data", value=[2.5, 2.5]),
        "channel b, sample background, staterror stat_b: 2 bins of uncertainties, 3 expected", "error",
    ),
    "negative variation": (
        spoil(*BACKGROUND, "modifiers", 1, "data", "lo_data", 0, value=-1.0),
        "channel b, sample background, histosys jes, bin 0: negative lo_data", "strict",
    ),
    "negative uncertainty": (
        spoil(*BACKGROUND, "modifiers", 3, "data", 1, value=-2.5),
        "channel b, sample background, staterror stat_b, bin 1: negative uncertainties", "error",
    ),
    "variation of an empty bin": (
        spoil(*SIGNAL, "data", 1, value=0.0), "sample signal, histosys jes, bin 1: lo_data is 5.8 where the nominal",
        "strict",
    ),
    "negative observation": (
        spoil("observations", 1, "data", 0, value=-3.0), "channel a, bin 0: negative observed", "error",
    ),
    "nothing expected": (
        spoil("channels", 1, "samples", value=[{"name": "s", "data": [0.0, 5.0], "modifiers": []}]),
        "channel a, bin 0: 57 events observed where no sample expects any", "error",
    ),
    "empty bin": (
        all_of(spoil("channels", 1, "samples", value=[{"name": "s", "data": [0.0, 5.0], "modifiers": []}]),
               spoil("observations", 1, "data", value=[0.0, 5.0])),
        "channel a, bin 0: no events expected and none observed", "remark",
    ),
    "observation not integer": (
        spoil("observations", 1, "data", value=[57.2, 63.0]), "channel a, bin 0: observed events are not int", "remark",
    ),
    "not finite": (
        spoil(*SIGNAL, "data", 0, value=float("nan")), "b, sample signal, bin 0: nominal events is nan",
        "error",
    ),
    "one name of several types": (
        append(*BACKGROUND, "modifiers", value=normsys("mu", 1.1, 0.9)),
        "parameter mu has several types: normfactor in .*sample signal; normsys in channel b, sample background",
        "error",
    ),
    "shared shapesys": (
        append(*OTHER, "modifiers", value=plain("bin_b", "shapesys", [1.0, 1.0])),
        "shapesys bin_b is used in several places: channel b, sample background, channel a, sample background", "error",
    ),
    "bins of a shapefactor": (
        append(*BACKGROUND, "modifiers", value=plain("free", "shapefactor")),
        "shapefactor free has 2 components from channel a, and channel b has 3 bins", "error",
    ),
    "staterror on other channels": (
        append(*OTHER, "modifiers", value=plain("stat_b", "staterror", [1.0, 1.0])),
        "staterror stat_b acts on channels a, b, but on sample signal in b only", "error",
    ),
    "no effect": (
        append(*BACKGROUND, "modifiers", value=normsys("idle", 1.0, 1.0)),
        "normsys idle \\(channel b, sample background\\) changes no expected event", "remark",
    ),
    "one-sided": (
        append(*BACKGROUND, "modifiers", value=histosys("pdf", [51.0, 62.0, 31.0], [50.0, 60.0, 30.0])),
        "channel b, sample background, histosys pdf: one-sided: it has a variation up and none down", "remark",
    ),
    "same side": (
        append(*BACKGROUND, "modifiers", value=histosys("pdf", [51.0, 62.0, 30.0], [50.5, 61.0, 30.0])),
        "histosys pdf, bins 0, 1: up and down lie on the same side of the nominal",
        "remark",
    ),
    "huge variation": (
        append(*BACKGROUND, "modifiers", value=histosys("pdf", [50.0, 190.0, 30.0], [50.0, 50.0, 30.0])),
        "sample background, histosys pdf, bin 1: variation of more than 100 % \\(up to 217 %\\)", "remark",
    ),
    "zero uncertainty": (
        spoil(*BACKGROUND, "modifiers", 4, "data", value=[1.0, 0.0, 0.0]),
        "channel b, sample background, shapesys bin_b, bins 1, 2: the uncertainty is zero where", "strict",
    ),
    "zero uncertainty of a sample": (
        spoil(*SIGNAL, "modifiers", 3, "data", 1, value=0.0),
        "channel b, sample signal, staterror stat_b, bin 1: no uncertainty where other samples have one", "remark",
    ),
    "double counting": (
        append(*SIGNAL, "modifiers", value=histosys("jec", [5.5, 6.2, 7.9], [4.7, 5.8, 6.5])),
        None, "strict",
    ),
    "rate counted twice": (
        append(*SIGNAL, "modifiers", value=normsys("jes", 19.6 / 18, 17.0 / 18)),
        "channel b, sample signal, histosys jes: its templates change the rate as much as the normsys", "strict",
    ),
    "similar names": (
        append(*SIGNAL, "modifiers", value=normsys("Rate ", 1.1, 0.9)),
        "parameters 'rate' and 'Rate ' differ in case or blanks only|parameters 'Rate ' and 'rate' differ", "remark",
    ),
    "unknown parameter of interest": (
        spoil(*CONFIG, "poi", value="mu "), r"'mu ' is not a parameter of the model \('mu' is: mind.*\n.*one of: mu",
        "error",
    ),
    "parameter of interest with components": (spoil(*CONFIG, "poi", value="free"), "'free' has 2 components", "error"),
    "fixed parameter of interest": (append(*SETTINGS, value={"name": "mu", "fixed": True}), "'mu' is fixed", "error"),
    "constrained parameter of interest": (
        spoil(*CONFIG, "poi", value="rate"), "interest 'rate' is a normsys: its constraint acts as a measurement",
        "remark",
    ),
    "lumi without settings": (NO_LUMI, "measurement fit: the modifier lumi has no auxdata and sigmas", "error"),
    "unknown parameter": (
        append(*SETTINGS, value={"name": "rat", "fixed": True}), "parameter rat: no modifier has this name", "remark",
    ),
    "setting of another type": (
        append(*SETTINGS, value={"name": "rate", "sigmas": [2.0]}), "parameter rate: sigmas does not belong to a norm",
        "error",
    ),
    "length of a setting": (
        append(*SETTINGS, value={"name": "free", "inits": [1.0]}), "parameter free: 1 inits, 2 components", "error",
    ),
    "setting not finite": (
        append(*SETTINGS, value={"name": "mu", "inits": [float("inf")]}), r"mu: inits \[inf\] are not finite", "error",
    ),
    "width not positive": (spoil(*LUMI, "sigmas", value=[0.0]), r"lumi: sigmas \[0.0\] are not positive", "error"),
    "negative auxdata": (
        append(*SETTINGS, value={"name": "bin_b", "auxdata": [1.0, -1.0, 2.0]}), "bin_b: auxdata .* of a Poisson",
        "error",
    ),
    "bounds": (
        append(*SETTINGS, value={"name": "mu", "bounds": [[3, 0]]}), r"parameter mu: bounds \[3, 0\] are reversed",
        "error",
    ),
    "start outside bounds": (
        append(*SETTINGS, value={"name": "mu", "bounds": [[2, 3]]}),
        r"parameter mu: its starting value 1 lies outside its bounds \[2, 3\]", "error",
    ),
}  # fmt: skip

# double counting asks for the same effect in all places, so that the copy stands wherever the original does
DOUBLED = "histosys pdf and pdf2 have (the same|mirrored) variations in channel b, sample background"


def doubled(turned: bool):
    sides = ([51.0, 61.0, 29.0], [49.0, 59.0, 31.0])
    return all_of(
        append(*BACKGROUND, "modifiers", value=histosys("pdf", *sides)),
        append(*BACKGROUND, "modifiers", value=histosys("pdf2", *(sides[::-1] if turned else sides))),
    )


BAD["double counting"] = (doubled(False), DOUBLED, "strict")
MORE = {
    "sample that is empty everywhere": (
        all_of(spoil(*BACKGROUND, "name", value="ttbar"), spoil(*BACKGROUND, "data", value=[0.0] * 3),
               spoil("observations", 0, "data", value=[5.0, 6.0, 7.0])),
        "channel b, sample ttbar: empty template: no events in any bin, and none in any other channel", "strict",
    ),
    "mirrored": (doubled(True), DOUBLED, "strict"),
    "twice the same channel": (spoil("channels", 1, "name", value="b"), "channel b is defined 2 times", "error"),
    "twice the same observation": (
        append("observations", value={"name": "b", "data": [1.0, 1.0, 1.0]}), "channel b is defined 2 times", "error",
    ),
    "twice the same setting": (append(*SETTINGS, value={"name": "lumi"}), "parameter lumi is defined 2 times", "error"),
    "infinite variation": (
        spoil(*SIGNAL, "modifiers", 1, "data", "hi_data", 1, value=float("inf")), "jes, bin 1: hi_data is inf", "error",
    ),
    "lumi without width": (spoil(*LUMI, "sigmas", value=...), "parameter lumi has no sigmas", "error"),
    "one-sided factor": (
        append(*BACKGROUND, "modifiers", value=normsys("scale", 1.1, 1.0)), "normsys scale: one-sided", "remark",
    ),
    "same side in one bin, large": (
        append(*BACKGROUND, "modifiers", value=histosys("pdf", [51.0, 90.0, 31.0], [49.0, 80.0, 29.0])),
        "histosys pdf, bin 1: up and down lie on the same side", "remark",
    ),
    "both factors above one": (
        append(*BACKGROUND, "modifiers", value=normsys("scale", 1.1, 1.2)), "normsys scale: up and down lie", "remark",
    ),
    "bounds without room": (
        append(*SETTINGS, value={"name": "mu", "bounds": [[1, 1]]}), "mu: bounds .1, 1. leave no room\n.*fixed",
        "error",
    ),
    "factor of an empty sample": (
        all_of(
            append("channels", 0, "samples", value={"name": "z", "data": [0.0] * 3, "modifiers": [IDLE]}),
            append("channels", 1, "samples", value={"name": "z", "data": [1.0, 1.0], "modifiers": []}),
        ),
        "normfactor idle .* changes no expected event|channel b, sample z: empty template", "strict",
    ),
    "two factors of one sample": (
        append(*OTHER, "modifiers", value=plain("k", "normfactor")),
        r"free parameters apart, whatever they are: k, free\[0\], free\[1\]", "error",
    ),
    "two equal factors": (
        all_of(append(*BACKGROUND, "modifiers", value=plain("k1", "normfactor")),
               append(*BACKGROUND, "modifiers", value=plain("k2", "normfactor"))),
        "free parameters apart, whatever they are: k1, k2\n.*fix or remove one", "error",
    ),
    "negative at the start": (
        all_of(append(*SETTINGS, value={"name": "jes", "inits": [-4.5]}),
               spoil(*BACKGROUND, "modifiers", 1, "data", "lo_data", value=[30.0, 58.0, 28.0])),
        "channel b, bin 0: -[0-9.]+ events expected at the starting values", "error",
    ),
    "no POI": (spoil(*CONFIG, "poi", value=""), "has no parameter of interest\n.*free factors are: mu", "error"),
    "twice the same measurement": (
        append("measurements", value=workspace()["measurements"][0]), "measurement fit is defined 2 times", "error",
    ),
    "several POIs": (
        append("measurements", value={"name": "other", "config": {"poi": "rate", "parameters": []}}),
        r"several measurements with different parameters of interest: fit \(poi 'mu'\), other", "error",
    ),
    "no modifiers at all": (
        all_of(*(spoil("channels", c, "samples", s, "modifiers", value=[]) for c in (0, 1) for s in (0, 1))),
        "interest 'mu' is not a parameter of the model", "error",
    ),
}  # fmt: skip
ALL = BAD | MORE


@pytest.mark.parametrize("name", ALL)
def test_bad_model_is_told_before_any_fit(name):
    change, message, level = ALL[name]
    for strict in (True, False):
        spec = workspace()
        change(spec)
        if level == "error" or (strict and level == "strict"):
            with pytest.raises(UserError, match=message) as caught:
                make_problem(spec, "given.json", strict=strict)
            assert caught.value.cause.startswith("given.json")
            assert caught.value.fix
        else:
            # what is harmless can be fitted
            problem = make_problem(spec, "given.json", strict=strict)
            assert any(re.search(message, remark) for remark in problem.remarks)
            assert minimise(problem.likelihood, problem.data).valid


def test_every_kind_has_a_test():
    sources = "".join(
        Path(module.__file__).read_text() for module in (check_model, check_modifiers, check_parameters, fault)
    )
    kinds = set(re.findall(r'Fault\(\s*"([^"]+)"', sources))
    assert kinds == set(BAD)
    assert len(kinds) > 40


def test_good_model_has_no_remark():
    assert make_problem(workspace(), "given.json", strict=True).remarks == []


def test_all_faults_are_listed_at_once():
    spec = workspace()
    spec["channels"][0]["samples"][0]["data"][0] = -1.0
    spec["observations"][1]["data"][1] = -2.0
    with pytest.raises(UserError, match=r"(?s)bin 0: negative nominal.*bin 1: negative observed"):
        make_problem(spec, "given.json")


def test_many_remarks_of_a_kind_are_cut():
    spec = workspace()
    for number in range(14):
        append(*BACKGROUND, "modifiers", value=normsys(f"idle{number}", 1.0, 1.0))(spec)
    remarks = make_problem(spec, "given.json").remarks
    assert len(remarks) == 11
    assert remarks[-1] == "and 4 more of this kind"


def test_signal_that_a_patch_should_fill_is_asked_for():
    spec = workspace()
    # the signal sample exists in one channel, and its factor acts on what has no events
    for channel in spec["channels"]:
        channel["samples"][0]["modifiers"] = []
    spec["channels"][0]["samples"].append(
        {"name": "s", "data": [0.0, 0.0, 0.0], "modifiers": [plain("mu", "normfactor")]}
    )
    spec["channels"][1]["samples"].append({"name": "s", "data": [0.0, 1.0], "modifiers": []})
    with pytest.raises(UserError, match=r"'mu' changes no expected event.*\n.*patch of the signal"):
        make_problem(spec, "given.json")


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_random_valid_workspace_is_accepted(seed):
    spec = json.loads(json.dumps(random_workspace(seed)))
    try:
        problem = make_problem(spec, "random.json")
    except UserError as error:
        # few bins and many free factors, or an empty bin with data, may well occur
        if not any(text in error.cause for text in ("free parameters apart", "no events", "no sample expects")):
            raise
    else:
        assert np.isfinite(problem.likelihood.twice_nll(problem.likelihood.start, problem.data))
