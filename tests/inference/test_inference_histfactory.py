"""HistFactory XML with ROOT histograms: the example of the ROOT tutorials, and files that are not right."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import uproot

from lhcml.common.errors import UserError
from lhcml.inference import import_workspace
from lhcml.inference.histfactory import list_files, read_histfactory

# After the HistFactory example of ROOT (tutorials/histfactory), with blanks and line ends as people write them
TOP = """<!DOCTYPE Combination SYSTEM 'HistFactorySchema.dtd'>
<Combination OutputFilePrefix="./results/example">
  <Input> ./config/channel.xml
  </Input>
  <Measurement Name="GaussExample" Lumi="1." LumiRelErr="0.1" BinLow="0" BinHigh="2">
    <POI> SigXsecOverSM </POI>
    <ParamSetting Const="True">Lumi
      alpha_syst1</ParamSetting>
  </Measurement>
  <Measurement Name="LogNormExample" Lumi="1." LumiRelErr="0.2" BinLow="0" BinHigh="2">
    <POI>SigXsecOverSM</POI>
    <ConstraintTerm Type="LogNormal" RelativeUncertainty="1.5">syst2</ConstraintTerm>
  </Measurement>
</Combination>
"""
CHANNEL = """<!DOCTYPE Channel SYSTEM 'HistFactorySchema.dtd'>
<Channel Name="channel1" InputFile="./data/example.root">
  <Data HistoName="data"/>
  <StatErrorConfig RelErrorThreshold="0.05" ConstraintType="Poisson"/>
  <Sample Name="signal" HistoName="signal">
    <OverallSys Name="syst1" High="1.05" Low="0.95"/>
    <NormFactor Name="SigXsecOverSM" Val="1" Low="0." High="3."/>
  </Sample>
  <Sample Name="background1" HistoName="background1" NormalizeByTheory="True">
    <StatError Activate="True"/>
    <OverallSys Name="syst2" Low="0.95" High="1.05"/>
  </Sample>
</Channel>
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the top XML file of the example, with its channel and its histograms in folders beside."""
    for folder in ("config", "data"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config/example.xml").write_text(TOP)
    (tmp_path / "config/channel.xml").write_text(CHANNEL)
    edges = np.array([1.0, 1.5, 2.0])
    with uproot.recreate(tmp_path / "data/example.root") as file:
        for name, values in {"data": [122.0, 112.0], "signal": [20.0, 10.0], "background1": [100.0, 100.0]}.items():
            file[name] = (np.array(values), edges)
    return tmp_path / "config/example.xml"


def run(model: Path, **config) -> tuple[dict, dict]:
    """Import the model and return workspace and description."""
    out = model.parent.parent
    import_workspace.main(
        ["--input", str(model), "--config", json.dumps({"histfactory": str(model)} | config),
         "--workspace", str(out / "w.json"), "--digest", str(out / "d.txt"), "--description", str(out / "m.json")]
    )  # fmt: skip
    return json.loads((out / "w.json").read_text()), json.loads((out / "m.json").read_text())


def test_example_is_read(model):
    spec, about = run(model, measurement="GaussExample")
    assert spec["observations"] == [{"name": "channel1", "data": [122.0, 112.0]}]
    signal, background = spec["channels"][0]["samples"]
    assert signal["data"] == [20.0, 10.0]
    assert {part["name"]: part["type"] for part in signal["modifiers"]} == {
        "syst1": "normsys", "SigXsecOverSM": "normfactor",
    }  # fmt: skip
    kinds = {part["name"]: part for part in background["modifiers"]}
    assert kinds["lumi"]["type"] == "lumi"
    # the uncertainty of an unweighted histogram is the root of its content
    assert kinds["staterror_channel1"]["data"] == [10.0, 10.0]
    assert about["poi"] == "SigXsecOverSM"
    assert about["measurement"] == "GaussExample"
    assert about["regions"] == {"channel1": {"bins": [0, 1, 2]}}
    # names that stand on several lines of a ParamSetting are fixed all
    settings = {block["name"]: block for block in spec["measurements"][0]["config"]["parameters"]}
    assert settings["syst1"]["fixed"]
    assert settings["lumi"]["fixed"]
    assert settings["SigXsecOverSM"]["bounds"] == [[0.0, 3.0]]


def test_measurements_can_be_chosen(model):
    _, about = run(model, measurement="LogNormExample")
    assert about["measurement"] == "LogNormExample"


def test_what_pyhf_does_not_take_over_is_told(model):
    _, about = run(model)
    for text in ("constraint terms are those of pyhf", "Gaussian in pyhf, Poisson in the XML", "RelErrorThreshold"):
        assert any(text in remark for remark in about["remarks"])


@pytest.mark.parametrize("folder", [".", "config"])
def test_all_files_are_inputs_of_the_rule(model, folder, monkeypatch):
    monkeypatch.chdir(model.parent.parent / folder)
    files = list_files(Path("config/example.xml" if folder == "." else "example.xml"))
    assert [Path(file).name for file in files] == ["example.xml", "channel.xml", "example.root"]
    assert all(Path(file).is_file() for file in files)


def test_missing_files_are_left_to_the_job(tmp_path):
    assert list_files(tmp_path / "no.xml") == [str(tmp_path / "no.xml")]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("example.xml", "./config/channel.xml", "./config/other.xml", "other.xml is neither beside it nor in a folder"),
        ("example.xml", "Combination", "Channel", "not the top file of a HistFactory model"),
        ("example.xml", "</Combination>", "", "is not valid XML"),
        ("example.xml", "<POI> SigXsecOverSM </POI>", "", "missing POI"),
        ("channel.xml", 'HistoName="signal"', 'HistoName="sig"', "not found: Both sig and"),
        ("channel.xml", "example.root", "missing.root", r"missing.root.* is missing\n.*paths start from"),
        ("channel.xml", 'Val="1" ', "", "not found: Val"),
        ("channel.xml", '<Data HistoName="data"/>', "", "missing data"),
        ("channel.xml", 'High="1.05" Low="0.95"', 'High="x" Low="0.95"', "cannot read the model: could not convert"),
        ("channel.xml", 'Low="0.95" High="1.05"', 'Low="0.0" High="1.05"', "syst2: factor lo = 0.0 is not positive"),
    ],
)
def test_bad_model_is_told(model, file, old, new, message):
    path = model.parent / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=message):
        run(model)


def test_json_is_no_histfactory_model(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match="is not valid XML"):
        read_histfactory(tmp_path / "a.json")
