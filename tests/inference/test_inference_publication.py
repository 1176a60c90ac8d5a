"""Publications of likelihoods: complete, the same each time, and reproduced by their own script from a copy alone."""

from __future__ import annotations

import copy
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyhf
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from inference_models import EVERY_MODIFIER

from lhcml.common.errors import UserError
from lhcml.common.files import write_json
from lhcml.inference import (
    check_publication,
    fit_workspace,
    publish_grid,
    publish_measurement,
    scan_limit,
    tabulate_yields,
)
from lhcml.inference.describe_parameters import describe_parameters
from lhcml.inference.hepdata_tables import MOST_CORRELATED, fit_tables, result_tables, yields_tables
from lhcml.inference.publication import read_results, validate_submission, write_archive, write_submission
from lhcml.inference.read_workspace import quiet_pyhf
from lhcml.inference.split_signal import make_patchset, split_signal, verify_patches, why_not_separable

EXAMPLE = Path(__file__).with_name("published") / "2bin_2channel.json"
LIMIT = {"level": 0.05, "points": 5, "test": 1.0}
CONFIG = {"poi": "mu", "limit": LIMIT, "fit": {}, "label": "Mass [GeV]", "publication": {"title": "An example"}}
# hepdata-validator uses a class that jsonschema will remove, and leaves files open
pytestmark = pytest.mark.filterwarnings(
    "ignore:jsonschema:DeprecationWarning",
    "ignore::ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
)


def make_results(folder: Path, workspace: Any, config: dict[str, Any]) -> None:
    """Write workspace, description, fit, yields and limit of a measurement into a folder."""
    folder.mkdir(parents=True)
    write_json(folder / "workspace.json", workspace)
    regions = {part["name"]: {"bins": list(range(len(part["data"]) + 1))} for part in workspace["observations"]}
    write_json(folder / "workspace.meta.json", {"regions": regions, "remarks": []})
    arguments = ["--workspace", str(folder / "workspace.json"), "--config", json.dumps(config)]
    fit_workspace.main([*arguments, "--output", str(folder / "fit.json")])
    scan_limit.main([*arguments, "--output", str(folder / "limit.json")])
    tabulate_yields.main(
        [*arguments, "--fit", str(folder / "fit.json"), "--description", str(folder / "workspace.meta.json"),
         "--json", str(folder / "yields.json"), "--csv", str(folder / "yields.csv")]
    )  # fmt: skip


def publish(folder: Path, bundle: Path, config: dict[str, Any]) -> None:
    """Publish what `make_results` wrote."""
    figure = folder / "limit.png"
    figure.write_bytes(b"a figure")
    publish_measurement.main(
        ["--workspace", str(folder / "workspace.json"), "--description", str(folder / "workspace.meta.json"),
         "--results", *(str(folder / f"{name}.json") for name in ("fit", "limit", "yields")),
         "--figures", str(figure), "--config", json.dumps(config), "--name", "example", "--seed", "7",
         "--output", str(bundle / "README.md")]
    )  # fmt: skip


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    workspace: dict[str, Any] = json.loads(EXAMPLE.read_text())
    return workspace


@pytest.fixture(scope="module")
def measured(example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "example"
    make_results(folder, example, CONFIG)
    return folder


@pytest.fixture(scope="module")
def bundle(measured: Path) -> Path:
    publish(measured, measured / "publication", CONFIG)
    return measured / "publication"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def table(bundle: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((bundle / "hepdata" / name).read_text())
    return found


# signal and background


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(3)))
def test_patch_gives_the_workspace_back_wherever_the_signal_stands(order):
    workspace = {
        "version": "1.0.0",
        "channels": [{"name": "a", "samples": []}],
        "observations": [{"name": "a", "data": [3.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": []}}],
    }
    factor = {"name": "mu", "type": "normfactor", "data": None}
    samples = [("signal", [factor]), ("more_signal", [factor]), ("background", [])]
    for index in order:
        name, modifiers = samples[index]
        workspace["channels"][0]["samples"].append({"name": name, "data": [1.0 + index], "modifiers": modifiers})
    with quiet_pyhf():
        background, patchset = split_signal(workspace, "mu", "signal", "text")
        patched = pyhf.PatchSet(patchset).apply(background, "signal")
    assert [sample["name"] for sample in background["channels"][0]["samples"]] == ["background"]
    assert dict(patched) == workspace


def test_every_kind_of_modifier_survives_the_split():
    observed = [{"name": part["name"], "data": part["samples"][0]["data"]} for part in EVERY_MODIFIER["channels"]]
    measurement = {"name": "m", "config": {"poi": "mu", "parameters": EVERY_MODIFIER["parameters"]}}
    workspace = {"version": "1.0.0", "channels": EVERY_MODIFIER["channels"], "observations": observed}
    workspace["measurements"] = [measurement]
    before = copy.deepcopy(workspace)
    with quiet_pyhf():
        background, patchset = split_signal(workspace, "mu", "signal", "text", "ins1234567")
        assert pyhf.utils.digest(pyhf.PatchSet(patchset).apply(background, "signal")) == pyhf.utils.digest(workspace)
    assert workspace == before
    assert patchset["metadata"]["references"] == {"hepdata": "ins1234567"}
    assert '"mu"' not in json.dumps(background["channels"])


@pytest.mark.parametrize(
    ("modifiers", "reason"),
    [
        ([[{"name": "mu", "type": "normfactor", "data": None}]], "all samples of region a scale with mu"),
        ([[], [{"name": "mu", "type": "normsys", "data": {"hi": 1.1, "lo": 0.9}}]], "mu is a normsys of sample s1"),
        ([[], []], "no sample has the normfactor mu"),
    ],
)
def test_signal_that_cannot_be_separated(modifiers, reason):
    samples = [{"name": f"s{index}", "data": [1.0], "modifiers": part} for index, part in enumerate(modifiers)]
    assert reason in str(why_not_separable({"channels": [{"name": "a", "samples": samples}]}, "mu"))


def test_patch_of_another_workspace_is_refused(example):
    with quiet_pyhf():
        background, patchset = split_signal(example, "mu", "signal", "text")
        other = copy.deepcopy(example)
        other["observations"][0]["data"][0] += 1
        with pytest.raises(UserError, match=r"not .* that was fitted"):
            verify_patches(background, patchset, {"signal": other})
        with pytest.raises(UserError, match="of another background"):
            verify_patches(other, patchset, {})


def test_parameters_in_words():
    rows = {row["name"]: row for row in describe_parameters(EVERY_MODIFIER)}
    assert rows["mu"]["kind"] == "free factor"
    # a parameter that is shape and rate at once, on two samples
    assert rows["jes"]["kind"].startswith("shape and rate")
    assert "rate, interpolated exponentially" in rows["jes"]["kind"]
    assert rows["stat_b"]["acts on"] == "background in b; signal in b"


# one measurement


def test_files_of_a_bundle(bundle, example):
    names = set(contents(bundle))
    assert names >= {
        "README.md", "workspace.json", "digest.txt", "signal/background.json", "signal/patchset.json",
        "results/fit.json", "results/limit.json", "results/yields.json", "reproduce_limit.py", "requirements.txt",
        "provenance.json", "hepdata/submission.yaml", "hepdata/submission.tar.gz", "hepdata/likelihood.tar.gz",
        "hepdata/limit.png",
    }  # fmt: skip
    assert json.loads((bundle / "workspace.json").read_text()) == example
    assert (bundle / "digest.txt").read_text().strip() == pyhf.utils.digest(example)
    about = json.loads((bundle / "provenance.json").read_text())
    assert about["seed"] == 7
    assert about["configuration"] == CONFIG
    assert f"pyhf=={about['versions']['pyhf']}\n" in (bundle / "requirements.txt").read_text()
    with tarfile.open(bundle / "hepdata/submission.tar.gz") as archive:
        assert {f"hepdata/{name}" for name in archive.getnames()} == {
            name for name in names if name.startswith("hepdata/") and not name.endswith("submission.tar.gz")
        }


def test_tables_hold_the_results(bundle):
    results = {name: json.loads((bundle / f"results/{name}.json").read_text()) for name in ("fit", "limit", "yields")}
    limits = [point["value"] for point in table(bundle, "upper_limits.yaml")["dependent_variables"][0]["values"]]
    # tables have six significant digits
    assert limits == pytest.approx([results["limit"]["observed"], *results["limit"]["expected"]], rel=1e-5)
    cls = table(bundle, "cls.yaml")["dependent_variables"][1]["values"][1]
    low, middle, high = (results["limit"]["scan"][1]["cls_expected"][band] for band in (1, 2, 3))
    assert cls["errors"][0]["label"] == "1 s.d."
    assert cls["errors"][0]["asymerror"]["minus"] == pytest.approx(low - middle, rel=1e-5)
    assert cls["errors"][0]["asymerror"]["plus"] == pytest.approx(high - middle, rel=1e-5)
    events = table(bundle, "events_in_signal.yaml")
    assert events["independent_variables"][0]["header"] == {"name": "Mass", "units": "GeV"}
    assert [point["value"] for point in events["dependent_variables"][0]["values"]] == [110, 155]
    total = results["yields"]["signal"]["postfit"]["total"]
    assert events["dependent_variables"][1]["values"][0]["value"] == pytest.approx(total["bins"][0], rel=1e-5)
    assert events["dependent_variables"][1]["values"][0]["errors"][0]["symerror"] == pytest.approx(
        total["bin_uncertainties"][0], rel=1e-5
    )


def test_names_of_tables_are_file_names_and_differ(tmp_path):
    region = {"edges": [0, 1], "observed": [3.0], "postfit": None}
    region["prefit"] = {"total": {"bins": [2.0], "bin_uncertainties": [0.0]}, "samples": {}}
    # the first 64 characters are the same, and a slash is no part of a file name
    tables = yields_tables({f"SR/{'x' * 60}_{number}": region for number in "ab"}, "Bin", "", [])
    write_submission(tmp_path / "hepdata", "text", tables, {}, [EXAMPLE])
    documents = list(yaml.safe_load_all((tmp_path / "hepdata/submission.yaml").read_text()))[1:]
    assert len({part["name"] for part in documents}) == len({part["data_file"] for part in documents}) == 2


def test_many_parameters_have_their_large_correlations_only():
    names = [f"p{index:03d}" for index in range(MOST_CORRELATED + 1)]
    matrix = np.eye(len(names))
    matrix[0, 1] = matrix[1, 0] = -0.5
    matrix[2, 3] = matrix[3, 2] = 0.01
    part = {"value": 0.0, "uncertainty": 1.0, "start": 0.0, "prefit_uncertainty": 1.0}
    fit = {"valid": True, "parameters": dict.fromkeys(names, part)}
    fit["correlations"] = {"parameters": names, "matrix": matrix.tolist()}
    first, second, value = fit_tables(fit)[1].variables
    assert (first.values, second.values, value.values) == (["p000"], ["p001"], [-0.5])


def test_ranking_scan_and_significance():
    known = {"name": "a", "value": 0.1, "uncertainty": 0.9, "postfit": {"up": 0.2, "down": -0.3}}
    failed = known | {"name": "failed", "postfit": {"up": None, "down": -0.3}}
    breakdown = {"total": 0.5, "statistics": {"impact": 0.3}, "groups": {"rates": {"impact": None}}}
    ranking = {"valid": True, "poi": {"name": "mu"}, "parameters": [known, failed], "breakdown": breakdown}
    impacts, sources = result_tables({"ranking": ranking})
    assert [column.values for column in impacts.variables] == [["a"], [0.1], [0.2], [-0.3]]
    assert [column.values for column in sources.variables] == [["total", "statistics"], [0.5, 0.3]]
    scan = {"parameters": {"mu": {"values": [0.0, 1.0, 2.0], "rise": [1.0, 0.0, None]}}}
    assert [column.values for column in result_tables({"scan": scan})[0].variables] == [[0.0, 1.0], [1.0, 0.0]]
    assert result_tables({"ranking": {"valid": False}, "significance": {"valid": False}}) == []


def test_same_bytes_each_time(measured, bundle, tmp_path):
    publish(measured, tmp_path, CONFIG)
    assert contents(tmp_path) == contents(bundle)


def test_validator_finds_a_missing_table(bundle, tmp_path):
    shutil.copytree(bundle / "hepdata", tmp_path / "hepdata")
    (tmp_path / "hepdata/submission.tar.gz").unlink()
    validate_submission(tmp_path / "hepdata")
    (tmp_path / "hepdata/cls.yaml").unlink()
    with pytest.raises(UserError, match=r"cls\.yaml"):
        validate_submission(tmp_path / "hepdata")


def test_archive_knows_no_time(tmp_path):
    file = tmp_path / "a.txt"
    for name in ("one", "two"):
        file.write_text("content")
        write_archive(tmp_path / f"{name}.tar.gz", {"a.txt": file})
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as archive:
        assert archive.getmember("a.txt").mtime == 0


def test_results_of_another_workspace_are_refused(measured):
    with pytest.raises(UserError, match=r"limit\.json is of another workspace"):
        read_results([measured / "limit.json"], "0" * 64)


# the script of a bundle


def test_limit_is_reproduced_from_a_copy_alone(bundle, tmp_path):
    output = tmp_path / "publication.check.json"
    check_publication.main(["--bundle", str(bundle), "--bands", "--output", str(output)])
    found = json.loads(output.read_text())
    assert found["reproduced"] is True
    assert found["other_versions"] == {}
    assert len(found["results"]) == 6
    # both stop where 2 ln L is known to 1e-6 or better, that is 1e-4 of a limit
    assert max(row["difference"] for row in found["results"]) < 2e-4


def test_wrong_limit_is_found_out(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    limit = json.loads((bundle / "results/limit.json").read_text())
    # 1 %: twice the tolerance
    write_json(tmp_path / "bundle/results/limit.json", limit | {"observed": 1.01 * limit["observed"]})
    found = check_publication.check_publication(tmp_path / "bundle", [])
    assert found["reproduced"] is False
    assert [row["agrees"] for row in found["results"]] == [False, True]
    assert found["results"][0]["reproduced"] == pytest.approx(limit["observed"], rel=2e-4)


def test_limit_of_a_negative_fit_is_reproduced(example, tmp_path):
    """q~ compares with no signal then, although the model admits a negative signal."""
    workspace = copy.deepcopy(example)
    workspace["observations"][0]["data"] = [85.0, 130.0]
    workspace["measurements"][0]["config"]["parameters"] = [{"name": "mu", "bounds": [[-5, 10]], "inits": [1.0]}]
    make_results(tmp_path / "example", workspace, CONFIG)
    assert json.loads((tmp_path / "example/fit.json").read_text())["poi"]["value"] < -0.2
    publish(tmp_path / "example", tmp_path / "bundle", CONFIG)
    assert check_publication.check_publication(tmp_path / "bundle", [])["reproduced"] is True


def test_broken_bundle_is_an_error(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle/workspace.json").write_text("{")
    with pytest.raises(UserError, match=r"reproduce_limit\.py .* failed: .*JSON"):
        check_publication.run_script(tmp_path / "bundle", [])


def test_slow_script_is_told(bundle):
    # 0.01 s, when Python itself has not started
    assert check_publication.run_script(bundle, [], minutes=0.01 / 60)["reproduced"] is None


# blinded


def test_blinded_data_are_nowhere(example, tmp_path):
    config = CONFIG | {"fit": {"blinded": ["signal"]}}
    secret = copy.deepcopy(example)
    # counts that nothing else has
    secret["observations"][0]["data"] = [113.0, 157.0]
    assert secret["observations"][0]["name"] == "signal"
    make_results(tmp_path / "example", secret, config)
    publish(tmp_path / "example", tmp_path / "bundle", config)
    published = json.loads((tmp_path / "bundle/workspace.json").read_text())
    assert published["observations"][1] == secret["observations"][1]
    assert published["observations"][0]["data"] != secret["observations"][0]["data"]
    for name, content in contents(tmp_path / "bundle").items():
        assert b"113.0" not in content, name
        assert b"157.0" not in content, name
    assert "**Blinded.** The data of signal" in (tmp_path / "bundle/README.md").read_text()
    # plain pyhf finds the blinded limit from the published workspace
    assert check_publication.check_publication(tmp_path / "bundle", [])["reproduced"] is True


# grids


@pytest.fixture(scope="module")
def grid(example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with background, patchset and results of two signals, one twice the other."""
    folder = tmp_path_factory.mktemp("grid")
    with quiet_pyhf():
        background, patchset = split_signal(example, "mu", "m1", "text")
        operations = patchset["patches"][0]["patch"]
        double = copy.deepcopy(operations)
        double[0]["value"]["data"] = [2 * value for value in double[0]["value"]["data"]]
        patchset = make_patchset(background, [("m1", [1], operations), ("m2", [2], double)], ["mass"], "text", None)
        patches = pyhf.PatchSet(patchset)
        for name in ("m1", "m2"):
            make_results(folder / "patches" / name, patches.apply(background, name), CONFIG)
    write_json(folder / "background.json", background)
    write_json(folder / "patchset.json", patchset)
    return folder


def publish_two(grid: Path, bundle: Path, config: dict[str, Any]) -> None:
    publish_grid.main(
        ["--background", str(grid / "background.json"), "--patchset", str(grid / "patchset.json"), "--folder",
         str(grid / "patches"), "--patches", '["m1", "m2"]', "--results", '["limit"]', "--config", json.dumps(config),
         "--name", "grid", "--seed", "7", "--output", str(bundle / "README.md")]
    )  # fmt: skip


def test_grid(grid, tmp_path):
    publish_two(grid, tmp_path, CONFIG)
    values = table(tmp_path, "upper_limits_over_the_grid.yaml")
    assert [point["value"] for point in values["independent_variables"][0]["values"]] == [1, 2]
    first, second = (point["value"] for point in values["dependent_variables"][1]["values"])
    # the same limit on the number of events
    assert first == pytest.approx(2 * second, rel=1e-4)
    found = check_publication.check_publication(tmp_path, ["--patch", "m2"])
    assert found["reproduced"] is True
    assert found["patch"] == "m2"


def test_grid_with_results_of_another_patch_is_refused(grid, tmp_path):
    shutil.copytree(grid, tmp_path / "grid")
    shutil.copyfile(grid / "patches/m1/limit.json", tmp_path / "grid/patches/m2/limit.json")
    with pytest.raises(UserError, match=r"limit\.json of patch m2 is of another workspace"):
        publish_two(tmp_path / "grid", tmp_path / "bundle", CONFIG)


def test_blinded_grid_is_refused(grid, tmp_path):
    with pytest.raises(UserError, match="has blinded regions"):
        publish_two(grid, tmp_path, CONFIG | {"fit": {"blinded": ["signal"]}})
