"""The HEPData submission of the toy data set: fields, numbers, and HEPData's own validator where it is installed."""

import numpy as np
import pytest
import yaml
from unfolded_toy import EDGES, publish_toy

from lhcml.unfolding.dataset import read_dataset, spectrum
from lhcml.unfolding.hepdata import write_submission


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return publish_toy(tmp_path_factory.mktemp("toy"))


def read(folder, name):
    return yaml.safe_load((folder / "hepdata" / name).read_text())


def test_submission_lists_every_table(folder):
    first, *tables = yaml.safe_load_all((folder / "hepdata/submission.yaml").read_text())
    assert "MultiFold" in first["comment"]
    assert [table["data_file"] for table in tables] == ["jet_mass.yaml", "jet_mass_covariance.yaml"]
    for table in tables:
        assert {"name", "description", "keywords", "data_file"} <= table.keys()
        assert len(table["name"]) <= 64
        assert (folder / "hepdata" / table["data_file"]).is_file()


def test_spectrum_is_a_cross_section_with_errors_by_source(folder):
    table = read(folder, "jet_mass.yaml")
    (axis,) = table["independent_variables"]
    assert axis["values"][0] == {"low": 0.0, "high": 10.0}
    measured = table["dependent_variables"][0]
    assert measured["header"] == {"name": "d(sigma)/dx", "units": "pb/GeV"}
    # 2, 0.5, 3 events in bins of 10 GeV at 500 / pb
    assert [point["value"] for point in measured["values"]] == [0.0004, 0.0001, 0.0006]
    errors = {error["label"]: error for error in measured["values"][0]["errors"]}
    assert errors["stat, data"]["symerror"] == 0.0002
    assert errors["sys, jes"]["asymerror"] == {"plus": 0.0002, "minus": -0.0002}
    assert errors["sys, prior"]["asymerror"] == {"plus": 0.0001, "minus": 0.0}
    assert {"stat, data", "stat, simulation", "training", "sys, jes", "sys, prior"} == errors.keys()


def test_covariance_is_that_of_the_data_set(folder):
    table = read(folder, "jet_mass_covariance.yaml")
    dataset = read_dataset(folder)
    result = spectrum(dataset, dataset.column("jet_mass"), EDGES)
    blocks = {block["header"]["name"].rpartition(", ")[2]: block for block in table["dependent_variables"]}
    total = np.array([point["value"] for point in blocks["total"]["values"]]).reshape(3, 3)
    # written with six digits
    np.testing.assert_allclose(total, result.covariance * (1 / 5000) ** 2, rtol=1e-5, atol=1e-20)
    second = table["independent_variables"][1]["values"]
    assert [cell["low"] for cell in second[:4]] == [0.0, 10.0, 20.0, 0.0]


def test_empty_bins_have_no_errors(folder, tmp_path):
    write_with_empty_bin(folder, tmp_path / "hepdata")
    empty, full = read(tmp_path, "jet_mass.yaml")["dependent_variables"][0]["values"]
    assert empty == {"value": 0.0}
    assert len(full["errors"]) == 5


def write_with_empty_bin(folder, out):
    dataset = read_dataset(folder)
    result = spectrum(dataset, dataset.column("jet_mass"), [-10, 0, 10])
    write_submission(out, dataset.manifest, {"jet_mass": result})


# it uses a class that jsonschema will remove, and leaves files open
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_hepdata_validator_accepts_it(folder, tmp_path):
    from hepdata_validator.full_submission_validator import FullSubmissionValidator

    write_with_empty_bin(folder, tmp_path)
    for path in (folder / "hepdata", tmp_path):
        validator = FullSubmissionValidator(schema_version="1.1.1")
        assert validator.validate(directory=str(path)), validator.get_messages()
