"""The table of methods: what it reads, spreads, and the gain over the inclusive search."""

import json
import shutil

import pytest

from lhcml.anomaly.compare_searches import compare, main, read_published, spread, table_text
from lhcml.common.errors import UserError
from lhcml.common.files import write_json

WINDOW = "3300-3700"
METHODS = {"inclusive": {}, "cathode": {"label": "CATHODE", "published": "cathode"}}
MIXTURES = {"benchmark": {"seeds": [1, 2], "methods": ["inclusive", "cathode"], "signal_to_background": 0.006}}


def write_results(folder, method: str, seed: int, **values) -> None:
    cell = folder / "benchmark" / str(seed) / method / WINDOW
    write_json(cell / "metrics.json", {"auc": values["auc"], "max_sic": values["sic"], "min_background": 25})
    write_json(cell / "search.json", {"z_local": values["z"]})


@pytest.fixture
def results(tmp_path):
    for seed, sic, z in ((1, 8.0, 3.0), (2, 10.0, 4.0)):
        write_results(tmp_path, "cathode", seed, auc=0.9, sic=sic, z=z)
        write_results(tmp_path, "inclusive", seed, auc=0.5, sic=1.0, z=None)
    write_json(tmp_path / "search/cathode.json", {"xsec_5sigma": 10.0})
    write_json(tmp_path / "search/inclusive.json", {"xsec_5sigma": 45.0})
    return tmp_path


def test_rows_by_hand(results):
    inclusive, cathode = compare(results, METHODS, MIXTURES, WINDOW)
    assert cathode["max_sic"] == 9.0
    assert cathode["max_sic_std"] == pytest.approx(2**0.5)
    assert (cathode["auc"], cathode["auc_std"]) == (0.9, 0.0)
    assert cathode["z_local"] == 3.5
    assert cathode["gain"] == pytest.approx(4.5)
    assert cathode["published"] == read_published()["cathode"]["max_sic"]
    assert inclusive["z_local"] is None
    assert inclusive["gain"] == 1.0
    assert inclusive["published"] is None


def test_a_search_without_5_sigma_has_no_gain(results):
    write_json(results / "search/cathode.json", {"xsec_5sigma": None})
    assert compare(results, METHODS, MIXTURES, WINDOW)[1]["gain"] is None


def test_an_improvement_that_cannot_be_measured_is_left_out(results):
    write_results(results, "cathode", 2, auc=0.8, sic=None, z=1.0)
    row = compare(results, METHODS, MIXTURES, WINDOW)[1]
    assert (row["max_sic"], row["max_sic_std"]) == (8.0, None)


def test_a_missing_search_is_an_error(results):
    (results / "benchmark/2/cathode" / WINDOW / "search.json").unlink()
    with pytest.raises(UserError, match=r"search\.json"):
        compare(results, METHODS, MIXTURES, WINDOW)


def test_collision_data_have_no_scan_of_injections(results):
    shutil.rmtree(results / "search")
    mixtures = {"benchmark": MIXTURES["benchmark"] | {"signal_to_background": None}}
    row = compare(results, METHODS, mixtures, WINDOW)[1]
    assert (row["z_local"], row["xsec_5sigma"], row["gain"]) == (3.5, None, None)
    with pytest.raises(UserError, match="cannot read"):
        compare(results, METHODS, MIXTURES, WINDOW)


def test_an_unknown_published_row_is_an_error(results):
    methods = {"inclusive": {}, "cathode": {"published": "cathod"}}
    with pytest.raises(UserError, match="did you mean 'cathode'"):
        compare(results, methods, MIXTURES, WINDOW)


def test_spread():
    assert spread([]) == (None, None)
    assert spread([2.0]) == (2.0, None)
    assert spread([1.0, 3.0]) == (2.0, pytest.approx(2**0.5))


def test_files(results):
    config = json.dumps({"methods": METHODS, "mixtures": MIXTURES})
    out = [str(results / name) for name in ("comparison.json", "comparison.csv")]
    main(["--folder", str(results), "--window", WINDOW, "--config", config, "--json", out[0], "--csv", out[1]])
    written = json.loads((results / "comparison.json").read_text())
    assert not written["published"]["verified"]
    assert [row["method"] for row in written["rows"]] == ["inclusive", "cathode"]
    lines = (results / "comparison.csv").read_text().splitlines()
    assert lines == table_text(written["rows"]).splitlines()
    assert lines[2].startswith("cathode,benchmark,2,0.9,0,9,1.414,25,3.5,10,45,4.5,14")
