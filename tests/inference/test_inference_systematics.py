"""Smoothing, symmetrisation, pruning and report of variations, and checks of templates, on hand-made numbers."""

from __future__ import annotations

import numpy as np
import pyhf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lhcml.common.errors import UserError
from lhcml.inference.assemble_workspace import assemble_workspace
from lhcml.inference.check_templates import VARIANCE, require_filled, require_positive, require_uncertainties
from lhcml.inference.plot_systematics import largest_change, largest_variations
from lhcml.inference.read_workspace import quiet_pyhf
from lhcml.inference.smooth import smooth_353qh_twice, smooth_variation, symmetrise
from lhcml.inference.templates import Template

EVENTS = arrays(float, st.integers(3, 30), elements=st.floats(0.5, 100))
MU = {"type": "normfactor", "samples": ["sig"], "initial": 1.0, "bounds": [0, 10]}
JES = {"type": "histosys", "up": "jesUp", "down": "jesDown"}
EDGES = {"sr": [0.0, 1.0, 2.0, 3.0, 4.0], "cr": [0.0, 1.0, 2.0, 3.0, 4.0]}


def template(events, variance=None) -> Template:
    events = np.array(events, float)
    return Template(events, events if variance is None else np.array(variance, float), events.astype(int))


def templates() -> dict:
    """Return templates of two regions: a flat signal, a falling background, jes with rate +-10 % and a slope."""
    falling = np.array([80.0, 60.0, 40.0, 20.0])
    slope = np.array([0.9, 1.0, 1.1, 1.2])
    back = {
        "nominal": template(falling),
        "jesUp": template(falling * slope * 1.1),
        "jesDown": template(falling / slope * 0.9),
    }
    flat = {name: template([5.0, 5.0, 5.0, 5.0]) for name in ("nominal", "jesUp", "jesDown")}
    return {region: {"sig": dict(flat), "bkg": dict(back)} for region in EDGES}


def assemble(modifiers: dict, parts: dict | None = None, **config):
    parts = templates() if parts is None else parts
    observed = {region: [100.0] * 4 for region in parts}
    return assemble_workspace({"poi": "mu", "modifiers": {"mu": MU, **modifiers}, **config}, parts, observed)


def modifiers_of(spec: dict, region: str, sample: str) -> list[dict]:
    channel = next(channel for channel in spec["channels"] if channel["name"] == region)
    return next(one for one in channel["samples"] if one["name"] == sample)["modifiers"]


def expected(spec: dict, **values: float) -> np.ndarray:
    """Return the expected events of pyhf, all channels, at values of parameters."""
    with quiet_pyhf():
        pyhf.schema.validate(spec, "workspace.json")
        model = pyhf.Workspace(spec).model()
    parameters = np.array(model.config.suggested_init())
    for name, value in values.items():
        parameters[model.config.par_slice(name)] = value
    return model.expected_actualdata(parameters)


# Values of another implementation, cabinetry 0.6.0 (smooth_353qh_twice), which follows the same description
@pytest.mark.parametrize(
    ("rough", "smooth"),
    [
        ([1.0, 5.0, 2.0], [2.0, 2.0, 2.0]),
        ([4, 2, 10, 2, 0, 2, 1, 3, 1, 8, 7, 1], [4, 3.5, 2.5, 2, 2, 2, 2, 2.25, 3.75, 6, 7, 7]),
        ([1, 4, 4, 4, 2, 7, 7, 7, 3, 9], [4, 4, 4, 4, 4.75, 6.25, 7, 7, 7, 7]),
    ],
)
def test_smoothing_agrees_with_another_implementation(rough, smooth):
    np.testing.assert_allclose(smooth_353qh_twice(np.array(rough, float)), smooth, atol=1e-12)


@given(EVENTS)
@example(np.array([0.5, 0.93, 1.0, 0.5, 1.0, 0.5]))
def test_smoothing_follows_factors_and_signs(values):
    # medians and means commute with both, up to rounding of numbers up to 1000; so mirrored sides stay mirrored
    smooth = smooth_353qh_twice(values)
    np.testing.assert_allclose(smooth_353qh_twice(-values), -smooth, atol=1e-9)
    np.testing.assert_allclose(smooth_353qh_twice(2 - values), 2 - smooth, atol=1e-9)
    np.testing.assert_allclose(smooth_353qh_twice(2.0**3 * values), 8 * smooth, atol=1e-9)


@given(EVENTS)
def test_smoothing_leaves_lines_alone_and_keeps_integrals(nominal):
    line = np.linspace(0.9, 1.1, len(nominal))
    np.testing.assert_allclose(smooth_353qh_twice(line), line, rtol=1e-12)
    varied = nominal * (1 + 0.1 * np.cos(3.7 * np.arange(len(nominal))))
    assert smooth_variation(nominal, varied).sum() == pytest.approx(varied.sum(), rel=1e-9)
    np.testing.assert_allclose(smooth_variation(nominal, nominal * 1.3), nominal * 1.3, rtol=1e-9)


def test_smoothing_takes_out_a_spike_and_leaves_empty_bins():
    nominal = np.array([100.0, 90, 80, 0, 70, 60, 50, 40])
    varied = nominal * np.array([1.02, 1.02, 1.02, 1, 1.5, 1.02, 1.02, 1.02])
    smooth = smooth_variation(nominal, varied)
    assert smooth[3] == 0
    filled = nominal > 0
    assert np.ptp(smooth[filled] / nominal[filled]) < 1e-12
    assert smooth.sum() == pytest.approx(varied.sum())


def test_symmetrisation_by_hand():
    nominal, up, down = np.array([10.0, 10.0]), np.array([12.0, 25.0]), np.array([9.0, 14.0])
    sides = {how: symmetrise(nominal, up, down, how) for how in ("one_sided", "two_sided", "maximum")}
    # the mirrored second bin would be -5
    np.testing.assert_array_equal(sides["one_sided"], [[12, 25], [8, 0]])
    np.testing.assert_array_equal(sides["two_sided"], [[11.5, 15.5], [8.5, 4.5]])
    np.testing.assert_array_equal(sides["maximum"], [[12, 25], [8, 0]])
    np.testing.assert_array_equal(symmetrise(nominal, nominal, down, "maximum"), [[11, 6], [9, 14]])


def test_mirrored_side_is_reported_with_the_bins_where_it_would_be_negative():
    parts = {"sr": {"sig": {"nominal": template([10, 10]), "jesUp": template([12, 25])}}}
    spec, report = assemble({"jes": {"type": "histosys", "up": "jesUp", "symmetrise": "one_sided"}}, parts)
    assert modifiers_of(spec, "sr", "sig")[1]["data"] == {"hi_data": [12, 25], "lo_data": [8, 0]}
    (row,) = report.rows
    assert row["done"] == ["mirrored", "below zero in bin 1, set to zero"]
    assert row["given"] == {"up": [12, 25], "down": [12, 25]}
    assert row["rate_up"] == pytest.approx(17 / 20)


def test_separate_rate_and_shape_are_the_same_variation():
    together, _ = assemble({"jes": JES})
    apart, report = assemble({"jes": JES | {"separate_rate": True}})
    kinds = [one["type"] for one in modifiers_of(apart, "sr", "bkg") if one["name"] == "jes"]
    assert kinds == ["normsys", "histosys"]
    for value in (-1.0, 0.0, 1.0):
        np.testing.assert_allclose(expected(apart, jes=value), expected(together, jes=value), rtol=1e-9)
    assert all(row["status"] == "kept" for row in report.rows)


def test_pruning_by_hand():
    # signal: nothing changes; background: rate of `up` 1.1 (72 + 60 + 44 + 24) / 200 = 1.1, largest shape 20 %
    spec, report = assemble({"jes": JES}, pruning={"norm": 0.2, "shape": 0.05})
    rows = {(row["region"], row["sample"]): row for row in report.rows}
    assert rows["sr", "bkg"]["rate_up"] == pytest.approx(0.1)
    assert rows["sr", "bkg"]["shape"] == pytest.approx(0.2)
    assert (rows["sr", "sig"]["status"], rows["sr", "bkg"]["status"]) == ("dropped", "shape only")
    assert [one["name"] for one in modifiers_of(spec, "sr", "sig")] == ["mu"]
    (shape,) = modifiers_of(spec, "sr", "bkg")
    assert sum(shape["data"]["hi_data"]) == pytest.approx(200)
    np.testing.assert_allclose(shape["data"]["hi_data"], [72, 60, 44, 24])
    spec, report = assemble({"jes": JES}, pruning={"shape": 0.5})
    (rate,) = modifiers_of(spec, "cr", "bkg")
    assert rate["type"] == "normsys"
    assert rate["data"]["hi"] == pytest.approx(1.1)
    spec, report = assemble({"lumi_like": {"type": "normsys", "up": 1.01, "down": 0.99}}, pruning={"norm": 0.02})
    assert {row["status"] for row in report.rows} == {"dropped"}
    assert modifiers_of(spec, "sr", "bkg") == []


def test_all_seven_modifiers_by_hand():
    modifiers = {
        "jes": JES | {"split": ["regions", "samples"]},
        "rate": {"type": "normsys", "up": 1.2, "down": 0.8, "samples": ["bkg"]},
        "rate_signal": {"type": "normsys", "up": 1.1, "down": 0.9, "samples": ["sig"], "parameter": "rate"},
        "lumi": {"type": "lumi", "sigma": 0.02},
        "stat": {"type": "staterror", "regions": ["cr"]},
        "full": {"type": "shapesys", "statistical": True, "regions": ["sr"]},
        "given": {"type": "shapesys", "uncertainty": {"sr": 0.1, "cr": [0.1, 0.2, 0.3, 0.4]}, "samples": ["bkg"]},
        "free": {"type": "shapefactor", "samples": ["bkg"], "initial": 1.0, "bounds": [0, 5]},
        "column": {"type": "shapesys", "column": "sf_variance", "samples": ["bkg"]},
    }
    parts = templates()
    for samples in parts.values():
        samples["bkg"][VARIANCE + "sf_variance"] = template([80, 60, 40, 20], [4, 9, 16, 25])
    spec, report = assemble(modifiers, parts)
    by_name = {one["name"]: one for region in EDGES for one in modifiers_of(spec, region, "bkg")}
    assert {"jes_sr_bkg", "jes_cr_bkg", "full_sr_bkg", "given_cr_bkg", "stat_cr", "free", "lumi"} <= set(by_name)
    np.testing.assert_allclose(by_name["given_cr_bkg"]["data"], [8, 12, 12, 8])
    np.testing.assert_allclose(by_name["given_sr_bkg"]["data"], [8, 6, 4, 2])
    np.testing.assert_allclose(by_name["full_sr_bkg"]["data"], np.sqrt([80, 60, 40, 20]))
    np.testing.assert_allclose(by_name["column_sr_bkg"]["data"], [2, 3, 4, 5])
    # channels of pyhf are in alphabetical order: cr, then sr
    nominal = expected(spec)
    np.testing.assert_allclose(nominal[:4], [85, 65, 45, 25])
    np.testing.assert_allclose(expected(spec, lumi=1.02), 1.02 * nominal)
    np.testing.assert_allclose(expected(spec, rate=1.0)[:4], np.array([80, 60, 40, 20]) * 1.2 + 5 * 1.1)
    # split: only the background of sr moves
    moved = expected(spec, jes_sr_bkg=1.0)
    np.testing.assert_allclose(moved[:4], nominal[:4])
    np.testing.assert_allclose(moved[4:], np.array([80, 60, 40, 20]) * [0.9, 1, 1.1, 1.2] * 1.1 + 5)
    np.testing.assert_allclose(expected(spec, free=2.0), nominal + np.tile([80, 60, 40, 20], 2))
    settings = {one["name"]: one for one in spec["measurements"][0]["config"]["parameters"]}
    assert settings["lumi"]["sigmas"] == [0.02]
    assert settings["free"]["bounds"] == [[0, 5]] * 4
    assert {row["parameter"] for row in report.rows if row["modifier"] == "rate_signal"} == {"rate"}


def test_same_templates_under_two_names():
    parts = templates()
    for samples in parts.values():
        for known in samples.values():
            known |= {"jecUp": known["jesDown"], "jecDown": known["jesUp"]}
    jec = {"type": "histosys", "up": "jecUp", "down": "jecDown"}
    with pytest.raises(UserError, match=r"'jec' has the same templates as 'jes' \(region cr sample bkg, .*region sr"):
        assemble({"jec": jec, "jes": JES}, parts)
    # one bin more in one region tells them apart
    parts["sr"]["bkg"]["jecUp"] = template([81, 60, 40, 20])
    assemble({"jec": jec, "jes": JES}, parts)


def test_one_sided_systematics():
    parts = templates()
    parts["sr"]["bkg"]["jesDown"] = parts["sr"]["bkg"]["nominal"]
    assemble({"jes": JES}, parts)  # in one of two regions by chance
    parts["cr"]["bkg"]["jesDown"] = parts["cr"]["bkg"]["nominal"]
    with pytest.raises(UserError, match="region sr, cr, sample bkg, modifier jes: side 'down' equals the nominal"):
        assemble({"jes": JES}, parts)
    _, report = assemble({"jes": JES | {"symmetrise": "one_sided"}}, parts)
    assert not report.remarks()[2:]  # the signal changes nothing in two regions
    parts["sr"]["bkg"]["jesDown"] = template([82, 62, 42, 22])
    _, report = assemble({"jes": JES}, parts)
    assert any(
        "modifier jes: one-sided: both sides change the rate by +10 % and +4 %" in one for one in report.remarks()
    )


def test_faults_of_templates_name_region_sample_and_bin():
    def one(**parts):
        return {"sr": {"bkg": {"nominal": template([4, 3, 2, 1])} | parts}}

    with pytest.raises(
        UserError, match=r"region sr, sample bkg, shift jesUp, bin 2 \(2 to 3\): negative \(-1 events\)"
    ):
        require_positive(EDGES, one(jesUp=template([1, 1, -1, 1])))
    with pytest.raises(UserError, match="region sr, sample bkg, shift jesUp: empty template"):
        require_positive(EDGES, one(jesUp=template([0, 0, 0, 0])))
    with pytest.raises(UserError, match=r"bin 1 \(1 to 2\): nan events"):
        require_positive(EDGES, one(nominal=Template(np.array([1, np.nan, 1, 1]), np.ones(4), np.ones(4, int))))
    with pytest.raises(UserError, match=r"region sr, bin 3 \(3 to 4\): no sample expects events"):
        require_positive(EDGES, one(nominal=template([1, 1, 1, 0])))
    with pytest.raises(UserError, match=r"bin 3 \(3 to 4\): no simulated jet"):
        require_filled(EDGES, one(nominal=template([1, 1, 1, 0])))
    bare = one(nominal=template([1, 2, 3, 4], [1, 1, 0, 1]))
    with pytest.raises(
        UserError, match=r"region sr, sample bkg, bin 2 \(2 to 3\): modifier mc: 3 events with zero unc"
    ):
        require_uncertainties(EDGES, bare, {"mc": {"type": "staterror"}})
    require_uncertainties(EDGES, bare, {"mu": MU, "mc": {"type": "staterror", "samples": ["sig"]}})


def test_largest_variations_are_those_that_change_a_bin_most():
    _, report = assemble({"jes": JES, "rate": {"type": "normsys", "up": 1.5, "down": 0.5}})
    shown = largest_variations(report.rows, 6)
    assert [(row["region"], row["sample"]) for row in shown] == [("sr", "bkg"), ("cr", "bkg")]
    # 0.9 / 1.2 - 1 = -25 %, 1.1 * 1.2 - 1 = 32 %
    assert largest_change(shown[0]) == pytest.approx(0.32)
