"""Matching of jets by their keys, and changes of a tagger under shifts."""

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_parquet
from lhcml.common.identity import JET_IDENTITY
from lhcml.taggers import list_test_jets
from lhcml.taggers.compute_metrics import main as compute_metrics
from lhcml.taggers.compute_robustness import Sample, compare_samples
from lhcml.taggers.compute_robustness import main as compute_robustness
from lhcml.taggers.matching import identities, positions_of


def keys(events, rank=0):
    events = np.asarray(events, dtype=np.int64)
    return {"run": np.ones_like(events), "luminosityBlock": np.ones_like(events), "event": events,
            "jet_rank": np.full_like(events, rank)}  # fmt: skip


def test_jets_are_found_by_all_keys():
    wanted, available = identities([keys([7, 2, 2**62]), keys([2**62, 7, 5])])
    assert positions_of(wanted, available, "x").tolist() == [1, -1, 0]
    wanted, available = identities([keys([7]), keys([7], rank=1)])
    assert positions_of(wanted, available, "x").tolist() == [-1]
    wanted, available = identities([keys([7]), keys([])])
    assert positions_of(wanted, available, "x").tolist() == [-1]
    with pytest.raises(UserError, match="2 jets of x occur more than once"):
        positions_of(wanted, np.array([1, 1, 1]), "x")


def shifted_pair(jets, noise, seed):
    """Return nominal and shifted samples of the same jets; the shift adds noise to the scores."""
    rng = np.random.default_rng(seed)
    signal = np.arange(jets) < jets // 2
    columns = keys(np.arange(jets)) | {"dataset": (~signal).astype(np.int64)}
    score = rng.normal(2.0 * signal, 1)
    return Sample(columns, score, signal), Sample(columns, score + noise * rng.normal(size=jets), signal)


def test_no_shift_is_no_change_without_error():
    nominal, _ = shifted_pair(2000, 0.0, 1)
    result = compare_samples(nominal, nominal, replicas=10, seed=1)
    for name in ("auc_change", "auc_change_std", "rejection_30_change", "rejection_50_change_std"):
        assert result[name] == 0
    # at least half of 1000 signal jets pass, the last one exactly at the threshold
    assert result["signal_efficiency_50"] == 0.5


def test_noise_lowers_the_auc_as_computed():
    nominal, shifted = shifted_pair(40_000, 0.75, 2)
    result = compare_samples(nominal, shifted, replicas=30, seed=1)
    # Phi(2/sqrt(2)) = .9214 and Phi(2/sqrt(2 * 1.5625)) = .8711; four paired standard deviations
    assert result["auc_change"] == pytest.approx(0.8711 - 0.9214, abs=4 * result["auc_change_std"])
    # eps_B beyond the threshold at 2: 1 - Phi(2) = .02275 becomes 1 - Phi(2/1.25) = .0548
    assert result["rejection_50_change"] == pytest.approx(
        0.02275 / 0.0548 - 1, abs=4 * result["rejection_50_change_std"]
    )


def test_the_error_of_the_change_is_that_of_the_difference():
    # independent test samples scatter by the error that one sample's bootstrap gives; 60 of them know it to 9 %
    changes, errors = [], []
    for seed in range(60):
        result = compare_samples(*shifted_pair(1000, 0.5, seed), replicas=20, seed=seed)
        changes.append(result["auc_change"])
        errors.append(result["auc_change_std"])
    assert np.std(changes) == pytest.approx(np.mean(errors), rel=0.35)


def test_jets_may_leave_the_selection():
    nominal, shifted = shifted_pair(2000, 0.3, 5)
    kept = np.arange(2000) % 10 != 0
    part = Sample(
        {name: values[kept] for name, values in shifted.keys.items()}, shifted.score[kept], shifted.signal[kept]
    )
    result = compare_samples(nominal, part, replicas=10, seed=1)
    assert (result["n_signal"], result["n_background"]) == (900, 900)


def test_command_lines(tmp_path):
    """Table of test jets from features, metrics with masses, and robustness, from files laid out as the rules do."""
    rng = np.random.default_rng(1)
    features = []
    for dataset, centre in (("top", 2.0), ("qcd", 0.0)):
        for chunk in (0, 1):
            columns = keys(np.arange(300)) | {"luminosityBlock": np.full(300, chunk)}
            columns["split"] = np.where(rng.random(300) < 0.5, "test", "validation")
            jets = {name: rng.exponential(100, 300) for name in ("jet_pt", "jet_eta", "jet_mass")}
            features.append(tmp_path / "features" / dataset / "nominal" / f"{chunk}.parquet")
            write_parquet(features[-1], columns | jets)
            for shift in ("nominal", "jesUp"):
                path = tmp_path / "scores" / dataset / f"{shift}{chunk}.parquet"
                write_parquet(path, columns | {"score": 1 / (1 + np.exp(-rng.normal(centre, 1, 300)))})
    table = tmp_path / "test_jets.parquet"
    list_test_jets.main(["--features", *map(str, features), "--signal", "top", "--output", str(table)])
    # the score files of the two chunks, as if they were files of one class
    files = {
        name: [str(tmp_path / f"scores/{name}/nominal{chunk}.parquet") for chunk in (0, 1)] for name in ("top", "qcd")
    }
    given = ["--signal", *files["top"], "--background", *files["qcd"], "--jets", str(table)]
    output = ["--output", str(tmp_path / "m.json")]
    compute_metrics([*given, "--split", "test", "--replicas", "5", "--calibrate-on", "validation", *output])
    result = read_json(tmp_path / "m.json")
    assert result["n_signal"] + result["n_background"] == len(read_table(table)["label"])
    assert 0 < result["sculpting"]["jsd_50"] < 1
    assert 0.5 < result["calibration"]["temperature"] < 5
    with pytest.raises(UserError, match=r"jets of .* are not in"):
        compute_metrics(given)

    for dataset in ("top", "qcd"):
        for shift in ("nominal", "jesUp"):
            (tmp_path / "scores" / dataset / f"{shift}0.parquet").rename(tmp_path / f"scores/{dataset}/{shift}.parquet")
    given = ["--folder", str(tmp_path / "scores"), "--signal", "top", "--background", "qcd", "--shifts", "jesUp"]
    compute_robustness([*given, "--replicas", "5", "--output", str(tmp_path / "r.json")])
    assert set(read_json(tmp_path / "r.json")) == {"jesUp"}


def read_table(path):
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    assert {"dataset", *JET_IDENTITY, "label", "jet_mass"} <= set(table.column_names)
    return table.to_pydict()
