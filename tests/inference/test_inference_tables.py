"""Models from tables of events and from cuts on columns, without a tagger."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from inference_toys import MEASUREMENT, build, measurement

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.inference import build_workspace
from lhcml.inference.check_measurements import check_measurements
from lhcml.inference.read_rows import read_features, read_levels, table_files

SHIFTS = ["jesUp", "jesDown", "isrUp", "isrDown"]
Z_JETS = {
    "channel": "zjets",
    "table": "levels",
    "observable": "reco_jet_pt",
    "luminosity": 0.2,
    "factors": {},
    "regions": {
        "central": {"bins": [100, 200, 300], "cuts": {"reco_jet_eta": {"min": -1, "max": 1}}},
        "forward": {"bins": [0, 40, 80], "cuts": {"reco_jet_eta": {"min": 1.5}}, "observable": "reco_jet_mass"},
    },
    "samples": {"z": {"datasets": ["nominal"], "split": "test"}},
    "data": {"datasets": ["pseudodata"], "signal": ["pseudodata"], "simulated": True},
    "injected": 1.0,
    "poi": "z_norm",
    "modifiers": {
        "z_norm": {"type": "normfactor", "initial": 1, "bounds": [0, 10]},
        "jes": {"type": "histosys", "source": "features", "up": "jesUp", "down": "jesDown"},
        "isr": {"type": "histosys", "source": "weights", "up": "isrUp", "down": "isrDown", "symmetrise": "two_sided"},
        "trigger": {"type": "shapesys", "column": "trigger_variance"},
        "mc_stat": {"type": "staterror"},
    },
    "smoothing": {"modifiers": ["jes"]},
    "pruning": {"norm": 0.0, "shape": 0.0},
}
GENERATED, CROSS_SECTION = 4000, 10.0


def write_levels(root: Path) -> None:
    """Write levels of 4000 events, of which half pass, and their normalisation."""
    datasets = {}
    for number, dataset in enumerate(("nominal", "pseudodata")):
        generator = np.random.default_rng(number)
        pt = 100 + generator.exponential(80, GENERATED)
        columns = {
            "run": np.ones(GENERATED, np.int64), "luminosityBlock": np.ones(GENERATED, np.int64),
            "event": np.arange(GENERATED), "pass_reco": np.arange(GENERATED) % 2 == 0,
            "weight_nominal": np.ones(GENERATED), "weight_isrUp": 1 + pt / 5000, "weight_isrDown": 1 - pt / 5000,
            "reco_jet_eta": generator.uniform(-2, 2, GENERATED), "reco_jet_mass": generator.uniform(0, 80, GENERATED),
            "trigger_variance": np.full(GENERATED, 0.04),
        }  # fmt: skip
        # levels that an event does not pass hold NaN
        columns["reco_jet_mass"][1::2] = np.nan
        for shift, factor in (("nominal", 1.0), ("jesUp", 1.02), ("jesDown", 0.98)):
            for chunk, rows in enumerate(np.array_split(np.arange(GENERATED), 2)):
                path = root / "features" / dataset / shift / "levels" / f"{chunk}.parquet"
                write_parquet(path, {k: v[rows] for k, v in (columns | {"reco_jet_pt": pt * factor}).items()})
        sums = {"nominal": GENERATED, "isrUp": GENERATED * 1.036, "isrDown": GENERATED * 0.964}
        datasets[dataset] = {"weight_to_pb": CROSS_SECTION / GENERATED, "sum_weight": sums}
    (root / "cutflow.json").write_text(json.dumps({"datasets": datasets}))


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("levels")
    write_levels(root)
    return root


def build_levels(root: Path, out: Path, config: dict) -> tuple[dict, dict]:
    """Run the command line without scores and return workspace and description."""
    build_workspace.main(
        ["--features", str(root / "features"), "--cutflow", str(root / "cutflow.json"), "--chunks",
         json.dumps({"nominal": 2, "pseudodata": 2}), "--config", json.dumps(config), "--seed", "1", "--workspace",
         str(out / "workspace.json"), "--digest", str(out / "digest.txt"), "--description", str(out / "meta.json")]
    )  # fmt: skip
    return tuple(json.loads((out / name).read_text()) for name in ("workspace.json", "meta.json"))  # type: ignore[return-value]


def test_events_of_levels_by_hand(levels, tmp_path):
    check_measurements({"z": Z_JETS}, {"zjets": {"selection": {"shifts": SHIFTS}}})
    spec, meta = build_levels(levels, tmp_path, Z_JETS)
    channels = {channel["name"]: channel["samples"][0] for channel in spec["channels"]}
    files = table_files(levels / "features", "nominal", "nominal", 2, "levels")
    rows = read_levels(files, ["reco_jet_pt", "reco_jet_eta", "reco_jet_mass"], ["isrUp"])
    assert len(rows) == GENERATED / 2
    pt, eta, mass = (rows.columns[f"reco_jet_{name}"] for name in ("pt", "eta", "mass"))
    # every event stands for 10 pb * 200 / pb / 4000 = 0.5 events
    central, forward = np.abs(eta) <= 1, eta >= 1.5
    counts = np.histogram(pt[central], [100, 200, 300])[0]
    np.testing.assert_allclose(channels["central"]["data"], 0.5 * counts)
    np.testing.assert_allclose(channels["forward"]["data"], 0.5 * np.histogram(mass[forward], [0, 40, 80])[0])
    modifiers = {one["name"]: one["data"] for one in channels["central"]["modifiers"]}
    shifted = 0.5 * np.histogram(1.02 * pt[central], [100, 200, 300])[0]
    np.testing.assert_allclose(modifiers["jes"]["hi_data"], shifted)
    np.testing.assert_allclose(modifiers["mc_stat_central"], 0.5 * np.sqrt(counts))
    # a variance of 0.04 a row, of weights that count 0.5 events
    np.testing.assert_allclose(modifiers["trigger_central_z"], 0.5 * np.sqrt(0.04 * counts))
    isr = np.array([modifiers["isr"]["hi_data"], modifiers["isr"]["lo_data"]])
    np.testing.assert_allclose(isr.mean(axis=0), channels["central"]["data"])
    # two bins are too few to smooth: the variation stays, which is not counted as a change
    assert meta["regions"]["forward"]["observable"] == "reco_jet_mass"
    assert "working_point" not in meta
    done = {row["modifier"]: row["done"] for row in meta["systematics"] if row["region"] == "forward"}
    assert done == {"isr": ["symmetrised"], "jes": ["too few bins to smooth"]}


def test_pseudo_data_of_levels_are_drawn_from_events(levels, tmp_path):
    spec, meta = build_levels(levels, tmp_path, Z_JETS)
    drawn = meta["data"]["pseudodata"]
    assert drawn["jets"] == 2000
    # probability 0.5 of 2000 events: 1000 +- 22
    assert drawn["used"] == pytest.approx(1000, abs=90)
    assert all(float(value).is_integer() for block in spec["observations"] for value in block["data"])


def test_jets_without_a_tagger(toys, tmp_path):
    files = table_files(toys / "features", "qcd", "nominal", 2, "features")
    assert set(read_features(files, None, ["jet_mass"]).columns) == {"jet_mass", "weight_nominal"}
    whole = measurement(
        regions={"all": {"bins": [50, 140, 200, 300]}}, modifiers={"mu": MEASUREMENT["modifiers"]["mu"]}
    )
    for key in ("tagger", "tagger_seed", "working_point"):
        del whole[key]
    check_measurements({"m": whole}, {"toptag": {}})
    meta = build(toys, tmp_path, whole)
    # all jets in the bins, whatever their score
    assert sum(meta["raw_counts"]["all"]["top"]) > 1300
    assert "working_point" not in meta


def test_region_by_a_cut_on_the_score_and_sample_in_some_regions(toys, tmp_path):
    regions = {
        "tight": {"bins": [50, 140, 200, 300], "cuts": {"score": {"min": 0.7}}},
        "loose": {"bins": [50, 140, 200, 300], "cuts": {"score": {"min": 0.4, "max": 0.7}}},
    }
    samples = {
        "top": {"datasets": ["top"], "split": "test", "regions": ["tight"]},
        "qcd": {"datasets": ["qcd"], "split": "test"},
    }
    modifiers = {name: MEASUREMENT["modifiers"][name] for name in ("mu", "fsr", "mc_stat")}
    meta = build(toys, tmp_path, measurement(regions=regions, samples=samples, modifiers=modifiers))
    assert set(meta["raw_counts"]["loose"]) == {"qcd"}
    assert sum(meta["raw_counts"]["tight"]["qcd"]) < sum(meta["raw_counts"]["loose"]["qcd"])
    assert meta["regions"]["tight"]["cuts"] == {"score": {"min": 0.7}}


def test_unknown_column_of_a_cut_is_named(levels, tmp_path):
    regions = {"z": {"bins": [100, 200], "cuts": {"reco_jet_phii": {"min": 0}}}}
    with pytest.raises(UserError, match="has no column reco_jet_phii"):
        build_levels(levels, tmp_path, Z_JETS | {"regions": regions})
