"""The command that makes the spectrum of any observable from a published data set."""

import csv
import json

import numpy as np
import pytest
import yaml
from unfolded_toy import CONFIG, MASS, PT, WEIGHTS, publish_toy

from lhcml.common.errors import UserError
from lhcml.unfolding.histogram_observable import main

RATIO = np.float64(np.float32(MASS)) / np.float64(np.float32(PT))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return publish_toy(tmp_path_factory.mktemp("toy"))


def histogram(folder, out, *options):
    main(["--dataset", str(folder), *options, "--json", str(out / "out.json")])
    return json.loads((out / "out.json").read_text())


def test_ratio_with_a_cut_in_every_format(folder, tmp_path, capsys):
    result = histogram(
        folder, tmp_path, "--observable", "jet_mass / jet_pt", "--edges", "0", "0.06", "0.2", "0.4",
        "--cut", "jet_pt > 120", "--csv", str(tmp_path / "out.csv"),
        "--plot", str(tmp_path / "out.png"), "--hepdata", str(tmp_path / "hepdata"),
        "--name", "ratio", "--label", "m / pt",
    )  # fmt: skip
    keep = np.array(PT) > 120
    expected = np.histogram(
        RATIO[keep], [0, 0.06, 0.2, 0.4], weights=np.array(WEIGHTS["nominal"]["weight_nominal"])[keep]
    )
    assert result["nominal"] == expected[0].tolist()
    # 1 event of weight 1 in the first bin; replicas 1, 2, 3
    assert result["uncertainties"]["statistical_data"][0] == 1
    assert (result["cut"], result["expression"]) == ("jet_pt > 120", "jet_mass / jet_pt")
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["value"]) for row in rows] == result["nominal"]
    assert [float(row["jes_up"]) for row in rows] == result["systematics"]["jes"]["up"]
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 4
    assert [float(line.split()[2]) for line in printed[1:]] == result["nominal"]
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"out.{suffix}").stat().st_size > 10_000
    table = yaml.safe_load((tmp_path / "hepdata/ratio.yaml").read_text())
    qualifiers = table["dependent_variables"][0]["qualifiers"]
    assert {"name": "PHASE SPACE", "value": "jet_pt > 120"} in qualifiers
    assert table["independent_variables"][0]["header"] == {"name": "m / pt"}


def test_density_of_a_column(folder, tmp_path):
    result = histogram(folder, tmp_path, "--observable", "jet_mass", "--bins", "3", "0", "30", "--density",
                       "--hepdata", str(tmp_path / "hepdata"))  # fmt: skip
    assert (result["label"], result["unit"], result["name"]) == ("m [GeV]", "GeV", "jet_mass")
    assert result["nominal"] == pytest.approx(np.array([2, 0.5, 3]) / 55, rel=1e-15)
    # the unit area takes one degree of freedom
    assert result["covariance_rank"] == 2
    header = yaml.safe_load((tmp_path / "hepdata/jet_mass.yaml").read_text())["dependent_variables"][0]["header"]
    assert header == {"name": "(1/sigma) d(sigma)/dx", "units": "1/GeV"}


def test_default_bins_hold_the_weights_in_range(folder, tmp_path):
    result = histogram(folder, tmp_path, "--observable=-jet_mass", "--bins", "4", "-35", "5")
    assert sum(result["nominal"]) + result["underflow"] + result["overflow"] == 6.5
    assert result["underflow"] == 1
    assert result["name"] == "jet_mass"


def test_data_set_without_uncertainties_and_empty_bins_are_drawn(tmp_path):
    bare = publish_toy(tmp_path, CONFIG | {"systematics": {}, "label": ""}, weights={"nominal": WEIGHTS["nominal"]})
    result = histogram(bare, tmp_path, "--observable", "jet_mass", "--bins", "4", "-10", "30",
                       "--plot", str(tmp_path / "out.png"))  # fmt: skip
    assert result["nominal"] == [0, 2, 0.5, 3]
    assert result["uncertainty"] == [0] * 4
    assert result["covariance_rank"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--observable", "jet_mas", "--bins", "2", "0", "1"], "did you mean 'jet_mass'"),
        (["--observable", "weight_nominal", "--bins", "2", "0", "1"], "not defined"),
        (["--observable", "jet_mass", "--bins", "2.5", "0", "1"], "no number of bins"),
        (["--observable", "jet_mass", "--bins", "2", "1", "0"], "no bin edges"),
        (["--observable", "jet_mass", "--edges", "1"], "no bin edges"),
        (["--observable", "jet_mass", "--bins", "2", "0", "1", "--cut", "jet_pt"], "not a condition"),
        (["--observable", "jet_mass", "--bins", "2", "0", "1", "--cut", "jet_pt > 1000"], "no event passes"),
        (["--observable", "log(-jet_mass)", "--bins", "2", "0", "1"], "NaN for 5 of 5"),
        (["--observable", "jet_mass", "--bins", "2", "50", "60", "--density"], "no density"),
        (["--observable", "jet_mass", "--bins", "2", "0", "1", "--name", "../x"], "no file name"),
    ],
)
def test_bad_requests_are_refused(folder, tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        histogram(folder, tmp_path, *options)
    assert not list(tmp_path.iterdir())
