"""The whole measurement on toy files: build, fit, yields, and bad input."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import awkward as ak
import inference_toys
import numpy as np
import pyhf
import pytest
from inference_toys import MEASUREMENT, build, load, measurement

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.inference import tabulate_yields
from lhcml.inference.read_rows import read_features, read_normalisation
from lhcml.inference.read_workspace import quiet_pyhf, read_problem
from lhcml.inference.templates import fill_template


def test_workspace_is_valid_and_has_its_digest(made):
    spec = load(made, "workspace.json")
    with quiet_pyhf():
        pyhf.schema.validate(spec, "workspace.json")
    assert (made / "digest.txt").read_text().strip() == pyhf.utils.digest(spec) == load(made, "meta.json")["digest"]


def test_templates_add_up_to_the_cross_section_in_the_bins(made, toys):
    # nominal events of a sample over both regions: cross section * luminosity * share selected and inside the bins
    spec = load(made, "workspace.json")
    generated, cross_section, _ = inference_toys.DATASETS["qcd"]
    files = [toys / "features/qcd/nominal" / f"{chunk}.parquet" for chunk in (0, 1)]
    qcd = read_features(files, toys / "scores/qcd/nominal.parquet", ["jet_mass"])
    test = qcd.split == "test"
    inside = test & (qcd.columns["jet_mass"] >= 50) & (qcd.columns["jet_mass"] <= 300)
    expected = cross_section / generated * 300 * len(qcd) * inside.sum() / test.sum()
    total = sum(sum(s["data"]) for c in spec["channels"] for s in c["samples"] if s["name"] == "qcd")
    assert total == pytest.approx(expected, rel=1e-9)


def test_shifted_templates_come_from_shifted_jets_and_weights(made, toys):
    spec, meta = load(made, "workspace.json"), load(made, "meta.json")
    channel = next(channel for channel in spec["channels"] if channel["name"] == "fail")
    sample = next(sample for sample in channel["samples"] if sample["name"] == "qcd")
    modifiers = {modifier["name"]: modifier["data"] for modifier in sample["modifiers"]}
    generated, cross_section, _ = inference_toys.DATASETS["qcd"]
    threshold, bins = meta["working_point"]["threshold"], MEASUREMENT["regions"]["fail"]["bins"]
    for name, shift, weight in (("jes", "jesUp", "nominal"), ("fsr", "nominal", "fsrUp")):
        files = [toys / "features/qcd" / shift / f"{chunk}.parquet" for chunk in (0, 1)]
        qcd = read_features(
            files, toys / "scores/qcd" / f"{shift}.parquet", ["jet_mass"], [weight] if weight != "nominal" else []
        )
        test = qcd.split == "test"
        scale = cross_section / generated * 300 * len(qcd) / test.sum()
        template = fill_template(qcd, test & (qcd.columns["score"] < threshold), "jet_mass", bins, weight, scale)
        np.testing.assert_allclose(modifiers[name]["hi_data"], template.events, rtol=1e-12)
    # the uncertainty of a bin is that of its raw count where weights are one
    raw = np.array(meta["raw_counts"]["fail"]["qcd"])
    np.testing.assert_allclose(np.array(modifiers["mc_stat_fail"]) / sample["data"], 1 / np.sqrt(raw), rtol=1e-9)


def test_weight_shifts_are_normalised_to_the_generated_sum(tmp_path):
    blocks = {"top": {"weight_to_pb": 0.5, "sum_weight": {"nominal": 100.0, "isrUp": 125.0}}}
    (tmp_path / "cutflow.json").write_text(json.dumps({"datasets": blocks}))
    factors = read_normalisation(tmp_path / "cutflow.json", ["top"], ["isrUp", "isrDown"], {"top": 2.0})
    assert factors == {"top": {"nominal": 1.0, "isrUp": 0.8}}


def test_fit_finds_the_injected_rate(made):
    fit = load(made, "fit.json")
    assert fit["valid"]
    assert fit["poi"]["name"] == "mu"
    # seeded pseudo-data: within three standard deviations
    assert abs(fit["poi"]["value"] - fit["injected"]) < 3 * fit["poi"]["uncertainty"]
    assert 0.03 < fit["poi"]["uncertainty"] < 0.3
    assert fit["goodness_of_fit"]["degrees_of_freedom"] == 12 - 3
    assert 0.001 < fit["goodness_of_fit"]["p_value"] < 0.999
    names = fit["correlations"]["parameters"]
    matrix = np.array(fit["correlations"]["matrix"])
    assert len(names) == len(fit["parameters"])
    np.testing.assert_allclose(np.diag(matrix), 1)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)


def test_yields_by_hand_and_after_the_fit(made):
    yields = load(made, "yields.json")
    spec = load(made, "workspace.json")
    for channel in spec["channels"]:
        block = yields[channel["name"]]
        for sample in channel["samples"]:
            np.testing.assert_allclose(block["prefit"]["samples"][sample["name"]]["bins"], sample["data"], rtol=1e-9)
        total = np.sum([sample["data"] for sample in channel["samples"]], axis=0)
        np.testing.assert_allclose(block["prefit"]["total"]["bins"], total, rtol=1e-9)
        # free normalisations fit the sum of a region to its data, within its statistical uncertainty
        observed = sum(block["observed"])
        assert abs(block["postfit"]["total"]["sum"] - observed) < 2 * np.sqrt(observed)
        assert block["postfit"]["total"]["sum_uncertainty"] < 1.5 * np.sqrt(observed)
    lines = (made / "yields.csv").read_text().splitlines()
    assert lines[0].startswith("region,sample,prefit")
    assert len(lines) == 1 + 2 * 4


def test_prefit_uncertainty_by_hand():
    # one bin, 100 events with a factor of 1.1 / 0.9 and 5 statistical: sqrt(10^2 + 5^2), near enough symmetric at 0
    spec = {
        "version": "1.0.0",
        "channels": [
            {
                "name": "a",
                "samples": [
                    {"name": "s", "data": [10.0], "modifiers": [{"name": "mu", "type": "normfactor", "data": None}]},
                    {
                        "name": "b",
                        "data": [100.0],
                        "modifiers": [
                            {"name": "rate", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}},
                            {"name": "stat", "type": "staterror", "data": [5.0]},
                        ],
                    },
                ],
            }
        ],
        "observations": [{"name": "a", "data": [110.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }
    from lhcml.inference.read_workspace import make_problem

    table = tabulate_yields.tabulate_yields(make_problem(spec, "w"), None, {"a": {"bins": [0, 1]}})
    background = table["a"]["prefit"]["samples"]["b"]
    assert background["sum_uncertainty"] == pytest.approx(np.hypot(10, 5), rel=0.02)
    assert table["a"]["prefit"]["samples"]["s"]["sum_uncertainty"] == 0  # a free factor has no width before the fit
    assert table["a"]["postfit"] is None


def test_fit_of_another_workspace_is_refused(made):
    problem = read_problem(made / "workspace.json")
    with pytest.raises(UserError, match="digests differ"):
        tabulate_yields.fitted_parameters(problem, load(made, "fit.json") | {"digest": "0"})


def test_same_seed_same_workspace_other_seed_other_data(toys, tmp_path, made):
    digests = []
    for name, seed in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        digests.append(build(toys, tmp_path / name, MEASUREMENT, seed)["digest"])
    assert digests[0] == load(made, "meta.json")["digest"]
    assert digests[1] != digests[0]


def test_injected_rate_scales_the_signal_of_the_pseudo_data(toys, tmp_path, made):
    description = build(toys, tmp_path, measurement(injected=0.2))
    nominal = load(made, "meta.json")
    for dataset, share in (("top_pseudodata", 0.2), ("qcd_pseudodata", 1.0)):
        ratio = description["data"][dataset]["used"] / nominal["data"][dataset]["used"]
        assert ratio == pytest.approx(share, abs=0.03)


def test_recorded_collisions_count_one_each(toys, tmp_path):
    root = tmp_path / "in"
    shutil.copytree(toys, root)
    for path in (root / "features/qcd_pseudodata/nominal").iterdir():
        rows = ak.from_parquet(path)
        write_parquet(path, {name: rows[name] for name in rows.fields if not name.startswith("weight")})
    data = {"datasets": ["qcd_pseudodata"], "signal": [], "simulated": False}
    description = build(root, tmp_path, measurement(data=data))
    assert description["data"]["qcd_pseudodata"]["used"] == description["data"]["qcd_pseudodata"]["jets"] == 10000


def test_bin_without_simulated_jets_names_region_sample_and_bin(toys, tmp_path):
    regions = {"pass": {"tagged": True, "bins": [0, 5, 180, 300]}, "fail": MEASUREMENT["regions"]["fail"]}
    with pytest.raises(UserError, match=r"region pass, sample top, bin 0 \(0 to 5\): no simulated jet") as caught:
        build(toys, tmp_path, measurement(regions=regions))
    assert "merge these bins" in caught.value.fix
    assert not (tmp_path / "workspace.json").exists()


def test_empty_template_is_told_once_per_template(toys, tmp_path):
    regions = {"pass": {"tagged": True, "bins": [5000, 6000, 7000]}}
    modifiers = {"mu": MEASUREMENT["modifiers"]["mu"], "mc_stat": {"type": "staterror"}}
    with pytest.raises(
        UserError, match=r"region pass, sample qcd: empty template: no simulated jet in any bin"
    ) as caught:
        build(toys, tmp_path, measurement(regions=regions, modifiers=modifiers))
    assert "bin 0" not in caught.value.cause


def test_luminosity_beyond_the_pseudo_data(toys, tmp_path):
    with pytest.raises(UserError, match=r"pseudo-data from .*too small for 100/fb"):
        build(toys, tmp_path, measurement(luminosity=100.0))


def spoiled(toys: Path, tmp_path: Path, file: str, change) -> Path:
    """Return a copy of the toys with the columns of one file changed."""
    root = tmp_path / "in"
    shutil.copytree(toys, root)
    rows = ak.from_parquet(root / file)
    columns = {name: rows[name] for name in rows.fields}
    change(columns)
    write_parquet(root / file, columns)
    return root


def test_scores_in_another_order_are_refused(toys, tmp_path):
    def reverse(columns):
        for name in columns:
            columns[name] = columns[name][::-1]

    root = spoiled(toys, tmp_path, "scores/qcd/jesUp.parquet", reverse)
    with pytest.raises(
        UserError, match=r"row 0 of .*qcd/jesUp and of .*jesUp.parquet are different jets: event is 0 and 9999"
    ):
        build(root, tmp_path, MEASUREMENT)


def test_scores_of_fewer_jets_are_refused(toys, tmp_path):
    def shorten(columns):
        for name in columns:
            columns[name] = columns[name][:-1]

    root = spoiled(toys, tmp_path, "scores/top/nominal.parquet", shorten)
    with pytest.raises(UserError, match=r"has 3000 jets, .*top/nominal.parquet has 2999"):
        build(root, tmp_path, MEASUREMENT)


def test_nan_in_a_score_is_refused(toys, tmp_path):
    def spoil(columns):
        score = ak.to_numpy(columns["score"]).copy()
        score[3] = np.nan
        columns["score"] = score

    root = spoiled(toys, tmp_path, "scores/top/nominal.parquet", spoil)
    with pytest.raises(UserError, match=r"1 of 3000 values of column score in .*top/nominal.parquet are NaN"):
        build(root, tmp_path, MEASUREMENT)


def test_missing_column_is_named(toys, tmp_path):
    root = spoiled(toys, tmp_path, "features/qcd/nominal/1.parquet", lambda columns: columns.pop("weight_fsrUp"))
    with pytest.raises(UserError, match=r"qcd/nominal/1.parquet has no column weight_fsrUp"):
        build(root, tmp_path, MEASUREMENT)


def test_unknown_observable_is_named(toys, tmp_path):
    with pytest.raises(UserError, match="has no column jet_masss"):
        build(toys, tmp_path, measurement(observable="jet_masss"))


def test_truncated_file_is_named(toys, tmp_path):
    root = tmp_path / "in"
    shutil.copytree(toys, root)
    path = root / "features/top/jerDown/0.parquet"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(UserError, match=r"cannot read .*top/jerDown/0.parquet as Parquet"):
        build(root, tmp_path, MEASUREMENT)


@pytest.mark.parametrize("factor", [None, 0.0, -1.0])
def test_dataset_without_cross_section(toys, tmp_path, factor):
    root = tmp_path / "in"
    shutil.copytree(toys, root)
    cutflow = json.loads((root / "cutflow.json").read_text())
    cutflow["datasets"]["qcd"]["weight_to_pb"] = factor
    (root / "cutflow.json").write_text(json.dumps(cutflow))
    with pytest.raises(UserError, match="dataset 'qcd' has no cross section") as caught:
        build(root, tmp_path, MEASUREMENT)
    assert "datasets.qcd.cross_section" in caught.value.fix


def test_weight_shift_without_a_sum(toys, tmp_path):
    root = tmp_path / "in"
    shutil.copytree(toys, root)
    cutflow = json.loads((root / "cutflow.json").read_text())
    del cutflow["datasets"]["top"]["sum_weight"]["isrDown"]
    (root / "cutflow.json").write_text(json.dumps(cutflow))
    with pytest.raises(UserError, match="dataset top has no sum of weights 'isrDown'"):
        build(root, tmp_path, MEASUREMENT)
