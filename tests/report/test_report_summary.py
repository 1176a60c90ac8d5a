"""The page of the figures of merit."""

import json

from lhcml.common.files import write_json
from lhcml.report.write_summary import describe_measurement, describe_searches, main, with_error


def test_numbers_without_value_or_error():
    assert with_error(None, 0.1, 2) == "-"
    assert with_error(1.234, None, 2) == "1.23"
    assert with_error(1.234, 0.056, 2) == "1.23 ± 0.06"


def test_searches_of_the_anomaly_stage(tmp_path):
    row = {
        "mixture": "injected", "method": "cathode", "auc": 0.8, "auc_std": None, "max_sic": 2.06, "max_sic_std": 0.3,
        "published": 14.0, "z_local": 5.27, "xsec_5sigma": None,
    }  # fmt: skip
    assert describe_searches([row])[1].split() == [
        "injected",
        "cathode",
        "0.800",
        "2.1",
        "±",
        "0.3",
        "14.0",
        "5.3",
        "-",
    ]
    autoencoder = {
        "label": "NAE", "trained_on": "qcd", "found": "top", "auc": 0.927, "auc_std": 0.011, "published": {"auc": 0.91}
    }  # fmt: skip
    write_json(tmp_path / "anomaly.json", {"rows": [row]})
    write_json(tmp_path / "autoencoders.json", {"rows": [autoencoder, autoencoder | {"published": None}]})
    text, table = tmp_path / "summary.txt", tmp_path / "summary.json"
    main(
        ["--anomaly", str(tmp_path / "anomaly.json"), "--autoencoders", str(tmp_path / "autoencoders.json"),
         "--text", str(text), "--json", str(table)]
    )  # fmt: skip
    lines = text.read_text().splitlines()
    assert any(line.startswith("injected") for line in lines)
    assert sum("trained on qcd" in line and "AUC 0.927 ± 0.011 (published 0.91)" in line for line in lines) == 1
    assert sum("(published -)" in line for line in lines) == 1
    assert json.loads(table.read_text())["anomaly"] == [row]


def test_measurements(tmp_path):
    fit = {"valid": True, "poi": {"name": "mu", "value": 1.0325, "uncertainty": 0.0724}}
    limit = {"valid": True, "poi": "mu", "observed": 1.1557, "expected_median": None, "level": 0.05}
    folder = tmp_path / "results/inference/boosted_top"
    for name, block in (("fit", fit), ("limit", limit)):
        write_json(folder / f"{name}.json", block)
    text, table = tmp_path / "summary.txt", tmp_path / "summary.json"
    arguments = [f"--inference={folder / name}.json" for name in ("fit", "limit")]
    main([*arguments, "--text", str(text), "--json", str(table)])
    lines = text.read_text().splitlines()
    position = lines.index("boosted_top")
    assert lines[position + 1 : position + 3] == [
        "  mu = 1.032 ± 0.072",
        "  mu < 1.156 at 95% CL (- expected without signal)",
    ]
    assert json.loads(table.read_text())["inference"] == {"boosted_top": {"fit": fit, "limit": limit}}


def test_a_result_that_is_not_valid_is_no_number():
    lines = describe_measurement("m", {"fit": {"valid": False, "poi": {"name": "mu", "value": 3.0}}})
    assert lines == ["m", "  FIT IS NOT VALID, do not use it: see the file"]
    assert "call limit" in describe_measurement("m", {"scan": {"valid": False, "reasons": ["call limit"]}})[1]


def test_a_publication_that_pyhf_does_not_reproduce_is_told():
    check = {"reproduced": False, "reason": "values differ"}
    assert describe_measurement("m", {"publication.check": check})[1].endswith(
        "NOT reproduced by pyhf alone: values differ"
    )
    assert "NOT" not in describe_measurement("m", {"publication.check": {"reproduced": True, "reason": None}})[1]
