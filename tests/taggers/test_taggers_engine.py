"""What the engine adds to a plain training loop: subsets, samples larger than memory, schedules, precision, devices."""

import os
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_jets import toy_table, write_toy

from lhcml.common.errors import UserError
from lhcml.common.files import write_parquet
from lhcml.taggers import jets as jets_module
from lhcml.taggers.families import build_network, complete_architecture, default_inputs
from lhcml.taggers.jets import (
    BACKGROUND,
    SIGNAL,
    Jets,
    LabelledJets,
    choose,
    count_jets,
    pack,
    read_batches,
    read_split,
)
from lhcml.taggers.packing import equal_batch, from_padded, in_buckets, is_row, make_batch, segment_sum, to_padded
from lhcml.taggers.scores import SPLITS, score_files
from lhcml.taggers.train_network import scale_epochs, standardisation
from lhcml.taggers.training import Training, choose_device, learning_rate, schedule_factor, split_batches

SETTINGS = {
    "optimiser": "adamw", "learning_rate": 0.003, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1,
    "batch_size": 32, "epochs": 4, "patience": 4, "gradient_clip": 1.0, "precision": "float32",
}  # fmt: skip
INPUTS = ["part_log_pt_rel", "part_deta", "part_dphi"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    return {
        SIGNAL: [write_toy(folder, "top", jets, seed) for jets, seed in ((300, 1), (150, 2))],
        BACKGROUND: [write_toy(folder, "qcd", 600, 3)],
    }


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 60), st.integers(2, 60), st.integers(0, 10**6))
def test_subsets_are_nested_and_of_the_size_asked_for(signal, background, seed):
    counts = {SIGNAL: signal, BACKGROUND: background}
    whole = signal + background
    previous = choose(counts, whole, seed)
    assert sum(int(mask.sum()) for mask in previous.values()) == whole
    for size in range(whole - 1, 0, -1):
        try:
            present = choose(counts, size, seed)
        except UserError as error:
            assert "no " in error.cause  # noqa: PT017
            break
        assert sum(int(mask.sum()) for mask in present.values()) == size
        assert all((previous[label] | ~present[label]).all() for label in counts)
        previous = present


def test_too_large_a_subset():
    with pytest.raises(UserError, match="10 training jets are asked for and there are 9"):
        choose({SIGNAL: 4, BACKGROUND: 5}, 10, 1)


def test_a_subset_is_what_was_chosen(files, tmp_path):
    chosen = choose(count_jets(files, "train"), 100, 7)
    (tmp_path / "all").mkdir()
    everything = read_split(files, INPUTS, "train", tmp_path / "all")
    subset = read_split(files, INPUTS, "train", tmp_path, chosen)
    mask = np.concatenate([chosen[SIGNAL], chosen[BACKGROUND]])
    np.testing.assert_array_equal(subset.labels, everything.labels[mask])
    np.testing.assert_array_equal(subset.jets.lengths, everything.jets.lengths[mask])
    rows = np.repeat(mask, everything.jets.lengths)
    np.testing.assert_array_equal(subset.jets.values, everything.jets.values[rows])


def test_reading_some_rows_at_a_time_changes_nothing(files):
    path = files[SIGNAL][0]
    whole = pack(next(read_batches(path, INPUTS)), INPUTS, "x")
    parts = [pack(table, INPUTS, "x") for table in read_batches(path, INPUTS, rows=7)]
    assert len(parts) == -(-300 // 7)
    np.testing.assert_array_equal(np.concatenate([p.values for p in parts]), whole.values)
    np.testing.assert_array_equal(np.concatenate([p.lengths for p in parts]), whole.lengths)


def test_a_column_of_lists_gives_as_many_inputs(tmp_path):
    table = toy_table("top", 20, 1)
    polynomials = np.arange(60.0).reshape(20, 3)
    write_parquet(
        tmp_path / "x.parquet", {"jet_efp": ak.to_regular(ak.Array(polynomials)), "jet_mass": table["jet_mass"]}
    )
    read = next(read_batches(tmp_path / "x.parquet", ["jet_efp", "jet_mass"]))
    jets = pack(read, ["jet_efp", "jet_mass"], "x")
    np.testing.assert_array_equal(jets.values[:, :3], polynomials)
    np.testing.assert_array_equal(jets.values[:, 3], table["jet_mass"].astype(np.float32))
    np.testing.assert_array_equal(jets.lengths, np.ones(20))


def test_missing_values_are_an_error(tmp_path):
    ak.to_parquet(ak.zip({"jet_mass": ak.Array([1.0, None, 2.0])}, depth_limit=1), tmp_path / "x.parquet")
    with pytest.raises(UserError, match="jet_mass in x has missing values"):
        pack(next(read_batches(tmp_path / "x.parquet", ["jet_mass"])), ["jet_mass"], "x")


def test_momenta_are_those_of_the_constituents():
    columns = {"part_pt": 3.0, "part_eta": np.arcsinh(4 / 3), "part_phi": np.pi / 2, "part_mass": 12.0}
    table = ak.zip({name: ak.Array([[value]]) for name, value in columns.items()}, depth_limit=1)
    # pz = pt sinh(eta) = 4, p = 5, E = 13
    jets = pack(table, ["part_energy", "part_px", "part_py", "part_pz"], "x")
    np.testing.assert_allclose(jets.values, [[13.0, 0.0, 3.0, 4.0]], atol=1e-6)


def test_standardisation_in_parts():
    values = np.random.default_rng(2).normal([5, -1, 0], [2, 1e-3, 0], size=(1003, 3)).astype(np.float32)
    mean, scale = standardisation(Jets(values, np.array([1003])), rows=100)
    np.testing.assert_allclose(mean, values.mean(axis=0, dtype=float), rtol=1e-6)
    # the deviation of a constant is set to 1
    np.testing.assert_allclose(scale, [*values[:, :2].std(axis=0, dtype=float), 1.0], rtol=1e-6)


MEMORY = """
import sys, tempfile
from pathlib import Path
from lhcml.taggers.jets import read_split

def anonymous():
    return next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("RssAnon")) / 1024

files = {1: [Path(sys.argv[1])] * int(sys.argv[3]), 0: [Path(sys.argv[2])] * int(sys.argv[3])}
with tempfile.TemporaryDirectory() as folder:
    read_split(files, ["part_deta"], "validation", Path(folder))
    before = anonymous()
    jets = read_split(files, ["part_log_pt_rel", "part_deta", "part_dphi"], "train", Path(folder))
    checksum = jets.digest()
    print(anonymous() - before, jets.jets.values.nbytes / 2**20)
"""


def test_memory_does_not_grow_with_the_sample(tmp_path):
    paths = [write_toy(tmp_path, kind, 20_000, 1) for kind in ("top", "qcd")]
    source = str(Path(jets_module.__file__).parents[2])

    def growth(times):
        """Return by how many MB the memory grew, and the size of the inputs, for each file read so many times."""
        result = subprocess.run(
            [sys.executable, "-c", MEMORY, *map(str, paths), str(times)],
            env={**os.environ, "PYTHONPATH": source},
            capture_output=True,
            text=True,
            check=True,
        )
        return np.array(list(map(float, result.stdout.split())))

    memory, inputs = growth(9) - growth(3)
    # 120,000 more jets of 27 constituents with three inputs of 4 bytes
    assert inputs > 35
    # lengths and labels are 2 MB of it; the rest is the allocator's scatter
    assert memory < inputs / 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("constant", {0: 1, 0.5: 1, 1: 1}),
        ("cosine", {0: 1, 0.5: 0.5, 1: 0}),
        ("one_cycle", {0: 0.1, 0.2: 0.55, 0.4: 1, 0.8: 0.1, 1: 1e-4}),
        ("flat_exponential", {0: 1, 0.7: 1, 0.85: 0.1, 1: 0.01}),
    ],
)
def test_schedules_by_hand(name, expected):
    for done, factor in expected.items():
        assert schedule_factor(done, name) == pytest.approx(factor, abs=1e-12)
    # after a warm-up of a tenth the schedule has the other nine
    step = learning_rate(54, 100, {"learning_rate": 2.0, "warmup": 0.1, "schedule": name})
    assert step == pytest.approx(2.0 * schedule_factor(0.5, name))


def test_no_batch_of_a_single_jet():
    def sizes(jets, size):
        batches = split_batches(torch.arange(jets), size)
        assert torch.equal(torch.cat(batches), torch.arange(jets))
        return [len(batch) for batch in batches]

    assert sizes(10, 4) == [4, 4, 2]
    assert sizes(9, 4) == [4, 5]
    assert sizes(1, 4) == [1]


def test_epochs_scale_with_the_sample():
    scaled = scale_epochs(SETTINGS, 5.0)
    assert (scaled["epochs"], scaled["patience"]) == (20, SETTINGS["patience"])
    assert scaled["batch_size"] == SETTINGS["batch_size"]
    assert scale_epochs(SETTINGS, 0.01)["epochs"] == 1


def toy_training(family, architecture, settings, seed=5, inputs=None):
    """Return a training on random jets with a difference between the classes."""
    inputs = inputs or default_inputs(family)
    rng = np.random.default_rng(1)

    def sample(jets):
        labels = rng.integers(0, 2, size=jets)
        lengths = rng.integers(0, 12, size=jets)
        values = rng.normal(size=(int(lengths.sum()), len(inputs))) + 0.7 * np.repeat(labels, lengths)[:, None]
        return LabelledJets(Jets(values.astype(np.float32), lengths.astype(np.int64)), labels.astype(np.int64))

    torch.manual_seed(seed)
    zero, one = torch.zeros(len(inputs)), torch.ones(len(inputs))
    model = build_network(family, complete_architecture(family, architecture), inputs, zero, one)
    return Training(model, sample(256), sample(128), SETTINGS | settings, seed)


PFN = ("pfn", {"phi": [16], "f": [16]})


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"precision": "bfloat16"},
        # every sixth step goes half-way back, so it wants larger ones
        {"optimiser": "ranger", "learning_rate": 0.02, "warmup": 0.0, "epochs": 30, "patience": 30},
        {"schedule": "one_cycle"},
    ],
)
def test_settings_train(change):
    state = toy_training(*PFN, {"epochs": 8, "patience": 8} | change).run()
    # an eighth of the jets is empty or nearly so; the rest is easily told apart
    assert max(row["validation_auc"] for row in state.history) > 0.85
    assert state.training_seconds > 0


def test_precision_and_lookahead_change_the_weights():
    def weights(change):
        return toy_training(*PFN, {"epochs": 1} | change).run().best["f.0.weight"]

    plain = weights({})
    assert torch.equal(plain, weights({}))
    assert not torch.equal(plain, weights({"precision": "bfloat16"}))


def test_lookahead_by_hand():
    training = toy_training(*PFN, {"optimiser": "ranger"})
    parameters = list(training.model.parameters())
    slow = [torch.zeros_like(parameter) for parameter in parameters]
    before = [parameter.detach().clone() for parameter in parameters]
    training.look_back(slow)
    for parameter, average, fast in zip(parameters, slow, before, strict=True):
        torch.testing.assert_close(parameter.detach(), fast / 2)
        torch.testing.assert_close(average, fast / 2)


def test_a_gpu_that_is_not_there():
    assert choose_device(0).type == "cpu"
    if torch.cuda.is_available():
        assert choose_device(1).type == "cuda"
    else:
        with pytest.raises(UserError, match="torch finds none"):
            choose_device(1)


# Batch norm keeps running moments, dropout draws random numbers, Ranger has slow weights: all must survive
LITE = {"neighbours": 3, "edge_convs": [[8, 8], [8]], "dense": [8], "dropout": 0.2}


@pytest.mark.parametrize("optimiser", ["adamw", "ranger"])
@pytest.mark.parametrize("family", [("particlenet", LITE), PFN])
def test_resumed_training_ends_identically(family, optimiser, tmp_path, monkeypatch):
    change = {"optimiser": optimiser}
    expected = toy_training(*family, change).run()
    checkpoint = tmp_path / "last.ckpt"
    interrupted = toy_training(*family, change)
    original = interrupted.step
    steps = 0

    def killed_in_the_third_epoch(chosen):
        nonlocal steps
        steps += 1
        if steps == 2 * 8 + 3:
            raise KeyboardInterrupt
        return original(chosen)

    monkeypatch.setattr(interrupted, "step", killed_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(checkpoint, "same")
    resumed = toy_training(*family, change).run(checkpoint, "same")
    assert [row["epoch"] for row in resumed.history] == [1, 2, 3, 4]
    assert resumed.history == expected.history
    for name, tensor in expected.best.items():
        assert torch.equal(resumed.best[name], tensor), name


lengths_of_jets = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(lengths_of_jets, st.integers(0, 1000))
def test_padding_and_back(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    batch = make_batch(torch.randn(sum(lengths), 2, generator=generator), torch.tensor(lengths))
    dense = to_padded(batch.values, batch)
    assert dense.shape == (len(lengths), max(lengths), 2)
    torch.testing.assert_close(from_padded(dense, batch), batch.values)
    assert torch.equal(is_row(batch).sum(dim=1), batch.lengths)
    assert dense[~is_row(batch)].abs().sum() == 0
    torch.testing.assert_close(dense.sum(dim=1), segment_sum(batch.values, batch))


@settings(max_examples=40, deadline=None)
@given(lengths_of_jets, st.integers(1, 6), st.integers(0, 1000))
def test_buckets_change_nothing(lengths, buckets, seed):
    generator = torch.Generator().manual_seed(seed)
    batch = make_batch(torch.randn(sum(lengths), 2, generator=generator), torch.tensor(lengths))

    def function(part):
        return torch.cat([segment_sum(part.values, part), part.lengths[:, None].float()], dim=1)

    torch.testing.assert_close(in_buckets(function, batch, buckets), function(batch))


@pytest.mark.parametrize("rows", [1, 5])
def test_a_batch_of_equal_lengths_is_an_ordinary_one(rows):
    values = torch.randn(3, rows, 2)
    equal, ordinary = equal_batch(values), make_batch(values.flatten(0, 1), torch.full((3,), rows))
    for name in ("values", "lengths", "jet", "position"):
        assert torch.equal(getattr(equal, name), getattr(ordinary, name))
    assert equal.longest == ordinary.longest
    torch.testing.assert_close(segment_sum(equal.values, equal), segment_sum(ordinary.values, ordinary))
    assert torch.equal(from_padded(to_padded(equal.values, equal), equal), values.flatten(0, 1))


def test_only_the_splits_asked_for_are_scored(files, tmp_path):
    from lhcml.common.files import read_parquet

    def score(jets):
        return np.bincount(np.repeat(np.arange(len(jets)), jets.lengths), minlength=len(jets)) / 100

    for name, splits in (("all", SPLITS), ("some", ["validation", "test"])):
        count = score_files(files[SIGNAL], INPUTS, score, tmp_path / f"{name}.parquet", splits)
        assert count == len(read_parquet(tmp_path / f"{name}.parquet"))
    everything, some = (read_parquet(tmp_path / f"{name}.parquet") for name in ("all", "some"))
    assert len(everything) == 450
    assert ak.array_equal(some, everything[ak.Array([split != "train" for split in everything["split"].to_list()])])
