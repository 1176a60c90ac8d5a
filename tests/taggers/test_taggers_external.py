"""Scores made elsewhere: matched by keys, and what is refused."""

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet, write_parquet
from lhcml.taggers import import_scores


def jets(dataset, events):
    count = len(events)
    numbers = {"run": np.ones(count, int), "luminosityBlock": np.full(count, 2), "event": np.asarray(events)}
    return {"dataset": np.full(count, dataset), **numbers, "jet_rank": np.zeros(count, int)}


def joined(*tables):
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


@pytest.fixture
def known_jets(tmp_path):
    """The table of five test jets; jet 4 is in both datasets."""
    columns = joined(jets("top", [1, 2, 4]), jets("qcd", [3, 4]))
    write_parquet(tmp_path / "test_jets.parquet", columns)
    return columns


def submit(folder, columns, suffix=".parquet"):
    path = folder / f"mine{suffix}"
    if suffix == ".csv":
        rows = zip(*(columns[name] for name in columns), strict=True)
        path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]))
    else:
        write_parquet(path, columns)
    outputs = [folder / dataset / "nominal.parquet" for dataset in ("top", "qcd")]
    import_scores.main(["--scores", str(path), "--jets", str(folder / "test_jets.parquet"), "--tagger", "mine",
                        "--output", *map(str, outputs), "--meta", str(folder / "meta.json")])  # fmt: skip
    return [read_parquet(output) for output in outputs]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_scores_find_their_jets(tmp_path, known_jets, suffix):
    given = joined(known_jets, jets("qcd", [99]))
    score = np.array([0.1, 0.2, 0.4, 0.3, 0.5, 0.99])
    shuffled = np.array([5, 3, 0, 4, 2, 1])
    top, qcd = submit(tmp_path, {name: c[shuffled] for name, c in (given | {"score": score}).items()}, suffix)
    assert (top["event"].tolist(), top["score"].tolist()) == ([1, 2, 4], [0.1, 0.2, 0.4])
    assert (qcd["event"].tolist(), qcd["score"].tolist()) == ([3, 4], [0.3, 0.5])
    assert set(qcd["split"].tolist()) == {"test"}
    meta = read_json(tmp_path / "meta.json")
    assert (meta["family"], meta["rows_left_out"], meta["n_train"]) == ("external", 1, None)


def test_the_dataset_is_needed_only_where_keys_are_shared(tmp_path, known_jets):
    given = {name: column for name, column in known_jets.items() if name != "dataset"} | {"score": np.full(5, 0.5)}
    with pytest.raises(UserError, match=r"add to .* a column `dataset`"):
        submit(tmp_path, given)
    write_parquet(tmp_path / "test_jets.parquet", joined(jets("top", [1, 2]), jets("qcd", [3])))
    top, qcd = submit(tmp_path, {name: column[:4] for name, column in given.items()})
    assert (len(top), len(qcd)) == (2, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: {n: v[1:] for n, v in c.items()}, "no score for 1 of 5 test jets, the first: dataset top, run 1"),
        (lambda c: {n: v[[0, 0, 1, 2, 3, 4]] for n, v in c.items()}, "1 jets of .* more than once"),
        (lambda c: c | {"score": np.array([0.1, np.nan, 0.2, 0.3, np.inf])}, "2 scores .* NaN or infinite"),
        (lambda c: c | {"score": np.array([0.1, 3.5, 0.2, -1.0, 0.2])}, "between -1 and 3.5"),
        (lambda c: c | {"event": c["event"] + 0.5}, "column event of .* is of type float64"),
        (lambda c: {n: v for n, v in c.items() if n != "jet_rank"}, "no column jet_rank"),
    ],
)
def test_what_is_refused(tmp_path, known_jets, change, message):
    with pytest.raises(UserError, match=message):
        submit(tmp_path, change(known_jets | {"score": np.full(5, 0.5)}))
    assert not (tmp_path / "meta.json").exists()
