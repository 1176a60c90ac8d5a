import json

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, read_parquet
from lhcml.firmware import quantise_network, train_float
from lhcml.firmware.encoding import read_encoding
from lhcml.firmware.input_table import write_inputs
from lhcml.firmware.load_network import load_network
from lhcml.firmware.networks import predict
from lhcml.firmware.samples import areas, choose_training, read_samples
from lhcml.firmware.stimuli import read_stimuli
from lhcml.firmware.train_float import find_amplitudes, object_masks

# Keras' own variables warn when NumPy 2 makes arrays of them
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = ["MET_pt", "MET_eta", "MET_phi", "jet1_pt", "jet1_eta", "jet1_phi"]
BLOCK = {
    "family": "vae", "hidden": [6], "latent": 2, "kl_weight": 0.3, "encoding": {"bits": 8, "integer": 4},
    "training": {"epochs": 3, "batch_size": 128, "learning_rate": 0.003, "patience": 3},
    "quantisation": {"epochs": 2, "batch_size": 128, "learning_rate": 0.003, "distillation": 0.9}, "stimuli": 300,
}  # fmt: skip


def draw_events(count, momentum, seed):
    generator = np.random.default_rng(seed)
    values = np.zeros((count, 6))
    values[:, [0, 3]] = generator.exponential(momentum, (count, 2))
    values[:, 4] = generator.uniform(-3, 3, count)
    values[:, [2, 5]] = generator.uniform(-np.pi, np.pi, (count, 2))
    # every third event has no jet
    values[::3, 3:] = 0
    return values


def write_events(path, values, first=0):
    count = len(values)
    part = {name: np.arange(first, first + count) for name in ("run", "luminosityBlock", "event")}
    part |= {"split": [("train", "train", "validation", "test")[n % 4] for n in range(count)]}
    write_inputs(path, NAMES, [part | {"weight": np.full(count, 0.5), "inputs": values}])
    return path


@pytest.fixture
def files(tmp_path):
    background = write_events(tmp_path / "background.parquet", draw_events(800, 20, 1))
    signal = write_events(tmp_path / "signal.parquet", draw_events(200, 80, 2))
    return [f"qcd={background}"], [f"a4l={signal}"]


def train(folder, files, block=BLOCK, seed=3):
    train_float.main(
        ["--background", *files[0], "--signals", *files[1], "--config", json.dumps(block), "--seed", str(seed),
         "--model", str(folder / "float.keras"), "--description", str(folder / "float.json")]
    )  # fmt: skip
    return load_network(folder / "float.keras"), read_json(folder / "float.json")


def quantise(folder, files, point, block=BLOCK):
    outputs = {
        "model": "model.keras", "encoding": "encoding.json", "quantised": "quantised.json", "stimuli": "stimuli.npz",
        "scores": "scores.parquet",
    }  # fmt: skip
    quantise_network.main(
        ["--background", *files[0], "--signals", *files[1], "--config", json.dumps(block), "--seed", "3",
         "--float-model", str(folder / "float.keras"), "--float-description", str(folder / "float.json"),
         "--point", point, *(word for key, name in outputs.items() for word in (f"--{key}", str(folder / name)))]
    )  # fmt: skip


def test_same_seed_same_weights_and_signals_have_no_say(tmp_path, files):
    first, document = train(tmp_path, files)
    again, _ = train(tmp_path, files)
    # quite another signal
    other = write_events(tmp_path / "other.parquet", draw_events(300, 500, 9))
    blind, blind_document = train(tmp_path, (files[0], [f"a4l={other}"]))
    different, _ = train(tmp_path, files, seed=4)
    for one, two, three in zip(first.get_weights(), again.get_weights(), blind.get_weights(), strict=True):
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)
    assert any(not np.array_equal(a, b) for a, b in zip(first.get_weights(), different.get_weights(), strict=True))
    assert document["history"] == blind_document["history"]
    assert document["encoding"] == blind_document["encoding"]
    assert document["auc"] != blind_document["auc"]
    # the loss has fallen
    assert document["history"][-1]["train_loss"] < document["history"][0]["train_loss"]


@pytest.mark.parametrize(
    ("family", "point"), [("vae", "post8"), ("vae", "ebops250"), ("autoencoder", "aware6"), ("dense", "post6_pruned50")]
)
def test_all_outputs_of_a_point_fit_each_other(tmp_path, files, family, point):
    block = BLOCK | {"family": family, "quantisation": BLOCK["quantisation"] | {"epochs": 5 if "ebops" in point else 1}}
    train(tmp_path, files, block)
    quantise(tmp_path, files, point, block)
    model = load_network(tmp_path / "model.keras")
    encoding = read_encoding(tmp_path / "encoding.json")
    stimuli = read_stimuli(tmp_path / "stimuli.npz")
    document = read_json(tmp_path / "quantised.json")
    scores = read_parquet(tmp_path / "scores.parquet")
    # all 250 test events, and a fifth of the 300 asked for over the whole grid
    assert stimuli.inputs.shape == (310, 6)
    assert stimuli.events == scores.split.to_list().count("test") == 250
    assert np.array_equal(predict(model, stimuli.inputs)[0], stimuli.outputs)
    assert np.array_equal(encoding.round(stimuli.inputs), stimuli.inputs)
    assert document["input"] == {"bits": 8, "integer": 4}
    assert document["parameters"] == sum(np.prod(w.shape) for n, w in weights_of(model))
    assert list(document["saturated"]) == NAMES
    # a few steps of training on a tiny budget end anywhere
    assert document["rank_correlation"] > (-1.0 if "ebops" in point else 0.5)
    kernels = np.concatenate([w.ravel() for n, w in weights_of(model) if n == "kernel"])
    assert document["zero_share"] == pytest.approx(np.mean(kernels == 0))
    if document["pruned"]:
        assert document["zero_share"] >= 0.5
    if document["method"] == "ebops":
        assert document["ebops"] <= 250
    # validation and test of 800 and 200 events
    assert len(scores) == 500
    assert set(scores.split.to_list()) == {"validation", "test"}
    assert scores.label.to_numpy().sum() == 100
    assert set(scores.dataset.to_list()) == {"qcd", "a4l"}
    # the scores are those of the model on the events of that row
    raw = draw_events(800, 20, 1)[np.array(scores.event)[:400]].astype(np.float32)
    words, _ = encoding.encode(raw)
    assert np.array_equal(predict(model, words)[0][:, 0], np.array(scores.score)[:400])


def weights_of(model):
    for layer in model.layers:
        if hasattr(layer, "kq"):
            yield "kernel", np.array(layer.qkernel.detach())
            yield "bias", np.array(layer.qbias.detach())


def test_nan_is_told_with_its_name(tmp_path, files):
    values = draw_events(40, 20, 5)
    values[7, 3] = np.nan
    bad = write_events(tmp_path / "bad.parquet", values)
    with pytest.raises(UserError, match="jet1_pt"):
        train(tmp_path, ([*files[0], f"w={bad}"], files[1]))


def test_samples_without_events_are_told(tmp_path, files):
    few = write_events(tmp_path / "few.parquet", draw_events(3, 20, 5))
    with pytest.raises(UserError, match="validation split"):
        train(tmp_path, ([f"w={few}"], files[1]))
    samples = read_samples([("w", few)], [])
    assert areas(samples, np.zeros(3), "test") == {}


def test_inputs_of_another_kind_are_told(tmp_path, files):
    other = tmp_path / "other.parquet"
    part = {name: [1] for name in ("run", "luminosityBlock", "event")} | {"split": ["train"], "weight": [1.0]}
    write_inputs(other, ["MET_pt"], [part | {"inputs": [[1.0]]}])
    with pytest.raises(UserError, match="not the same"):
        train(tmp_path, ([*files[0], f"w={other}"], files[1]))


def test_weights_have_mean_one_and_classes_the_same_sum(tmp_path, files):
    pairs = [[(text.split("=")[0], text.split("=")[1]) for text in group] for group in files]
    samples = read_samples(*pairs)
    anomaly = choose_training(samples, "vae", "train")
    assert set(anomaly.dataset) == {"qcd"}
    assert anomaly.weight.mean() == pytest.approx(1)
    both = choose_training(samples, "dense", "train")
    assert both.weight.mean() == pytest.approx(1)
    assert both.weight[both.label == 0].sum() == pytest.approx(both.weight[both.label == 1].sum())


def test_absent_objects_are_masked_and_angles_bounded():
    values = np.array([[5.0, 0.0, 1.0, 0.0, 0.0, 0.0], [5.0, 0.0, -3.0, 2.0, -2.5, 1.5]])
    assert object_masks(NAMES, values).tolist() == [[True] * 3 + [False] * 3, [True] * 6]
    assert find_amplitudes(NAMES, values).tolist() == [0, 0, 3.0, 0, 2.5, 1.5]
    names = ["jet1_pt", "jet1_eta", "jet2_pt", "jet2_eta"]
    # jets share theirs
    assert find_amplitudes(names, np.array([[1.0, -0.5, 9.0, 2.0]])).tolist() == [0, 2.0, 0, 2.0]
