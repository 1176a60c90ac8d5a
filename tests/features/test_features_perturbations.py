"""Smeared and lost constituents: the same jets, changed by what was asked for, the same for the same seed."""

import json

import awkward as ak
import numpy as np
import pytest
from feature_toys import CONFIG, jet_momentum, skim_columns, toy_jet, write_skim
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet
from lhcml.features import build_features
from lhcml.features.perturbations import LEAST_FACTOR, follow_constituents, perturb, sum_of

NAMES = ("pt", "eta", "phi", "mass")
NO_CHANGE = {"smear": {"pt": 0.0, "eta": 0.0, "phi": 0.0}, "drop": {"probability": 0.0}}


def toy(counts, seed=0):
    """Constituents, counts and jets; the jets calibrated to 1.1 times the sum of their constituents."""
    rng = np.random.default_rng(seed)
    table = np.concatenate([toy_jet(rng, n) for n in counts], axis=1)
    parts = dict(zip(NAMES, table, strict=True)) | {"charge": rng.integers(-1, 2, table.shape[1])}
    counts = np.array(counts)
    jets = sum_of(parts, counts)
    return parts, counts, jets | {"pt": 1.1 * jets["pt"] + (counts == 0), "mass": 1.1 * jets["mass"]}


def run(counts, shift, seed=0, **more):
    parts, counts, jets = toy(counts)
    return perturb(
        parts, counts, jets, shift=shift, settings=CONFIG["perturbations"][shift] | more,
        random=np.random.default_rng(seed),
    )  # fmt: skip


def test_widths_of_smearing():
    parts, _, _ = toy([40] * 500)
    changed, counts, _ = run([40] * 500, "smear")
    assert (counts == 40).all()
    assert (changed["charge"] == parts["charge"]).all()
    assert (changed["mass"] == parts["mass"]).all()
    n = len(parts["pt"])
    differences = {
        "pt": (changed["pt"] / parts["pt"] - 1, 0.1),
        "eta": (changed["eta"] - parts["eta"], 0.005),
        "phi": ((changed["phi"] - parts["phi"] + np.pi) % (2 * np.pi) - np.pi, 0.005),
    }
    for name, (difference, width) in differences.items():
        # five standard deviations of mean and width of n Gaussian numbers
        assert abs(difference.mean()) < 5 * width / np.sqrt(n), name
        assert difference.std() == pytest.approx(width, rel=5 / np.sqrt(2 * n)), name
    correlation = np.corrcoef([difference for difference, _ in differences.values()])
    assert np.abs(correlation - np.eye(3)).max() < 5 / np.sqrt(n)


def test_wide_smearing_leaves_momenta_positive():
    parts, _, _ = toy([50] * 50)
    changed, _, _ = run([50] * 50, "smear", pt=0.5)
    # a Gaussian of width 0.5 is below 0 for 2 % of 2500
    assert (changed["pt"] / parts["pt"]).min() == pytest.approx(LEAST_FACTOR)


def test_fraction_of_lost_constituents():
    parts, _, _ = toy([40] * 500)
    changed, counts, _ = run([40] * 500, "drop")
    n = len(parts["pt"])
    assert counts.sum() == len(changed["pt"])
    assert len(changed["pt"]) / n == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / n))
    # those that stay are what they were
    assert np.isin(changed["pt"], parts["pt"]).all()


def test_the_hardest_stays():
    counts = [0, 1, 2, 3, 0, 4]
    parts, _, jets = toy(counts)
    changed, left, new = run(counts, "drop", probability=1 - 1e-12)
    assert list(left) == [0, 1, 1, 1, 0, 1]
    starts = np.cumsum(counts) - counts
    hardest = [parts["pt"][s : s + n].max() for s, n in zip(starts, counts, strict=True) if n]
    assert list(changed["pt"]) == hardest
    for name in NAMES:
        assert (new[name][[0, 4]] == jets[name][[0, 4]]).all(), name
    assert new["pt"][[1, 2, 3, 5]] == pytest.approx(1.1 * np.array(hardest))


def test_jet_follows_by_hand():
    # 60 and 40 GeV, massless, 0.3 apart in azimuth, in a jet calibrated by 1.2; the second is lost
    before = {
        "pt": np.array([60.0, 40.0]),
        "eta": np.zeros(2),
        "phi": np.array([3.0, 3.3 - 2 * np.pi]),
        "mass": np.zeros(2),
    }
    after = {name: values[:1] for name, values in before.items()}
    total = np.hypot(60 + 40 * np.cos(0.3), 40 * np.sin(0.3))
    mass = np.sqrt(2 * 60 * 40 * (1 - np.cos(0.3)))
    jets = {
        "pt": np.array([1.2 * total]),
        "eta": np.array([0.1]),
        "phi": np.array([3.1]),
        "mass": np.array([1.2 * mass]),
    }
    new = follow_constituents(jets, (before, np.array([2])), (after, np.array([1])))
    assert new["pt"] == pytest.approx([1.2 * 60])
    assert new["eta"] == pytest.approx([0.1])
    assert new["phi"] == pytest.approx([3.1 - np.arctan2(40 * np.sin(0.3), 60 + 40 * np.cos(0.3))])
    # differences of squares of 100 GeV
    assert new["mass"] == pytest.approx([0], abs=1e-5)


@pytest.mark.parametrize("shift", ["smear", "drop"])
def test_no_change_changes_nothing(shift):
    counts = [0, 1, 2, 30]
    parts, _, jets = toy(counts)
    changed, left, new = run(counts, shift, **NO_CHANGE[shift])
    assert list(left) == counts
    for name in NAMES:
        assert changed[name] == pytest.approx(parts[name], rel=1e-14), name
        # masses are roots of differences of squares of up to 10 TeV
        assert new[name] == pytest.approx(jets[name], rel=1e-12, abs=1e-9), name


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(st.integers(0, 8), min_size=2, max_size=12), st.integers(1, 10), st.sampled_from(["smear", "drop"]))
def test_cutting_into_pieces_does_not_matter(counts, cut, shift):
    parts, counts, jets = toy(counts)
    cut = min(cut, len(counts))
    whole = run(counts, shift, seed=4)
    random = np.random.default_rng(4)
    pieces, first = [], int(counts[:cut].sum())
    for rows, jet in ((slice(None, first), slice(None, cut)), (slice(first, None), slice(cut, None))):
        part, one = {k: v[rows] for k, v in parts.items()}, {k: v[jet] for k, v in jets.items()}
        configured = CONFIG["perturbations"][shift]
        pieces.append(perturb(part, counts[jet], one, shift=shift, settings=configured, random=random))
    assert list(whole[1]) == [n for piece in pieces for n in piece[1]]
    for index in (0, 2):
        for name in NAMES:
            assert list(whole[index][name]) == [x for piece in pieces for x in piece[index][name]], name


@pytest.fixture(scope="module")
def skim(tmp_path_factory):
    rng = np.random.default_rng(3)
    jets = [[toy_jet(rng, n) for n in event] for event in ((30, 1), (20,), (), (2,), (40, 3, 50))] * 4
    return write_skim(tmp_path_factory.mktemp("perturbations") / "skim.root", skim_columns(jets))


def build(skim, shift, *seed):
    output = skim.with_name("features.parquet")
    command = ["--input", str(skim), "--shift", shift, "--config", json.dumps(CONFIG), "--output", str(output)]
    build_features.main([*command, *(["--seed", str(seed[0])] if seed else [])])
    return read_parquet(output)


@pytest.mark.parametrize("shift", ["smear", "drop"])
def test_file(skim, shift):
    nominal, first, again, other = (
        build(skim, *arguments) for arguments in (("nominal",), (shift, 1), (shift, 1), (shift, 2))
    )
    assert first.to_list() == again.to_list()
    assert first.jet_mass.to_list() != other.jet_mass.to_list()
    assert first.fields == nominal.fields
    for name in ("run", "luminosityBlock", "event", "jet_rank", "split", "weight_nominal"):
        assert first[name].to_list() == nominal[name].to_list(), name
    multiplicity = ak.to_numpy(first.jet_multiplicity)
    assert (multiplicity == ak.to_numpy(ak.num(first.part_pt))).all()
    assert (multiplicity >= 1).all()
    if shift == "drop":
        assert multiplicity.sum() < ak.sum(nominal.jet_multiplicity)
    # everything follows: here the jet is the sum of its constituents (single precision), and they are ordered
    for row in first:
        table = np.array([row[f"part_{name}"].to_list() for name in NAMES])
        pt, eta, phi, mass = jet_momentum(table)
        assert [row.jet_pt, row.jet_eta] == pytest.approx([pt, eta], rel=1e-4, abs=1e-5)
        assert np.cos(row.jet_phi - phi) == pytest.approx(1, abs=1e-8)
        # of one particle, rounding of squares of 1 TeV in single precision
        assert row.jet_mass == pytest.approx(mass, rel=1e-3, abs=1.0)
        assert (np.diff(table[0]) <= 0).all()
        assert np.exp(row.part_log_pt_rel).to_list() == pytest.approx(list(table[0] / row.jet_pt), rel=1e-4)
    changed = ak.to_numpy(first.jet_tau21 != nominal.jet_tau21)
    assert changed[ak.to_numpy(nominal.jet_multiplicity) > 10].mean() > 0.9


def test_without_seed(skim):
    with pytest.raises(UserError, match="no seed"):
        build(skim, "smear")
