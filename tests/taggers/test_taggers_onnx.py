"""Export to ONNX and scoring with ONNX models, ours and another's."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import yaml
from toy_jets import write_toy

from lhcml.common.errors import UserError
from lhcml.taggers import describe_onnx, export_onnx, score_network, score_onnx, train_network
from lhcml.taggers.families import MODELS, build_network, complete_architecture, default_inputs
from lhcml.taggers.jets import Jets

TRAINING = {
    "optimiser": "adamw", "learning_rate": 0.002, "weight_decay": 0.01, "schedule": "cosine", "warmup": 0.1,
    "batch_size": 64, "epochs": 2, "patience": 2, "gradient_clip": 1.0, "precision": "float32",
}  # fmt: skip
# The exporter and the tree of its arguments are noisy about their own future
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    lengths = np.random.default_rng(5).integers(0, 30, size=400)
    lengths[:3] = 0
    return [write_toy(folder, "top", 400, 1, lengths=np.maximum(lengths, 1)), write_toy(folder, "qcd", 400, 2)]


@pytest.fixture(scope="module")
def trained(toys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    config = {
        "family": "pfn", "inputs": default_inputs("pfn"), "architecture": {"phi": [20, 30], "f": [20]},
        "training": TRAINING,
    }  # fmt: skip
    train_network.main(
        ["--signal", str(toys[0]), "--background", str(toys[1]), "--config", json.dumps(config), "--tagger", "pfn",
         "--seed", "3", "--output", str(folder / "model.safetensors"), "--meta", str(folder / "model.meta.json")]
    )  # fmt: skip
    export_onnx.main(
        ["--model", str(folder / "model.safetensors"), "--meta", str(folder / "model.meta.json"), "--features",
         str(toys[0]), "--output", str(folder / "model.onnx"), "--parity", str(folder / "model.onnx.json")]
    )  # fmt: skip
    return folder


def scores(path):
    import pyarrow.parquet as pq

    return pq.read_table(path)["score"].to_numpy()


def test_parity_is_recorded_for_every_length(trained):
    parity = json.loads((trained / "model.onnx.json").read_text())
    assert list(parity["largest_deviation"]) == [str(length) for length in range(1, 201)]
    assert max(parity["largest_deviation"].values()) <= parity["tolerance"]


def test_scores_of_onnx_are_those_of_torch(toys, trained, tmp_path):
    features = [str(path) for path in toys]
    score_network.main(
        ["--model", str(trained / "model.safetensors"), "--meta", str(trained / "model.meta.json"), "--features",
         *features, "--output", str(tmp_path / "torch.parquet")]
    )  # fmt: skip
    score_onnx.main(
        ["--model", str(trained / "model.onnx"), "--features", *features, "--output", str(tmp_path / "onnx.parquet")]
    )
    # float32 in another order of sums, after a sigmoid
    np.testing.assert_allclose(scores(tmp_path / "onnx.parquet"), scores(tmp_path / "torch.parquet"), atol=1e-4)


def test_empty_jets_get_what_torch_gives(trained):
    session = score_onnx.open_model(trained / "model.onnx", 1)
    described = json.loads(session.get_modelmeta().custom_metadata_map["lhcml"])
    model = score_network.load_network(
        trained / "model.safetensors", json.loads((trained / "model.meta.json").read_text())
    )
    from lhcml.taggers.packing import PackedJets
    from lhcml.taggers.training import predict

    jets = Jets(np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32), np.array([0, 3, 0, 2]))
    ours = score_onnx.equal_lengths(session, jets, described["margin_of_empty_jet"])
    np.testing.assert_allclose(ours, predict(model, PackedJets(jets)), rtol=1e-4, atol=1e-4)


def test_a_model_that_differs_is_not_written(toys, trained, tmp_path, monkeypatch):
    def wrong(model, example, one_row, path):
        with torch.no_grad():
            model.f[-1].bias[1] += 0.01
        original(model, example, one_row, path)
        with torch.no_grad():
            model.f[-1].bias[1] -= 0.01

    original = export_onnx.export
    monkeypatch.setattr(export_onnx, "export", wrong)
    with pytest.raises(UserError, match=r"differs from torch by 0\.0"):
        export_onnx.main(
            ["--model", str(trained / "model.safetensors"), "--meta", str(trained / "model.meta.json"), "--features",
             str(toys[0]), "--output", str(tmp_path / "model.onnx"), "--parity", str(tmp_path / "parity.json")]
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


PREPROCESS = {
    "output_names": ["qcd", "top", "w"],
    "input_names": ["points", "mask"],
    "points": {
        "var_names": ["deta", "part_dphi"],
        "var_length": 4,
        "var_infos": {
            "deta": {"median": 0.1, "norm_factor": 2.0, "lower_bound": -0.5, "upper_bound": 0.5, "pad": 7.0},
            "part_dphi": {"median": 0, "norm_factor": 1.0, "lower_bound": -1e32, "upper_bound": 1e32, "pad": 0},
        },
    },
    "mask": {
        "var_names": ["pfcand_mask"],
        "var_length": 4,
        "var_infos": {
            "pfcand_mask": {"median": 0, "norm_factor": 1, "lower_bound": -1e32, "upper_bound": 1e32, "pad": 0}
        },
    },
}


def test_inputs_of_another_model_by_hand():
    values = np.array([[0.2, 1.0], [1.1, 2.0], [-0.9, 3.0], [0.1, 4.0], [0.1, 5.0], [0.3, 6.0]], dtype=np.float32)
    jets = Jets(values, np.array([5, 0, 1]))
    columns = {"deta": "part_deta"}
    assert score_onnx.foreign_inputs(PREPROCESS, columns) == ["part_deta", "part_dphi"]
    points = score_onnx.pad_input(PREPROCESS["points"], ["part_deta", "part_dphi"], columns, jets)
    # (x - 0.1) * 2 clipped to +-0.5, cut to four constituents, padded with 7
    expected = [[0.2, 0.5, -0.5, 0.0], [7, 7, 7, 7], [0.4, 7, 7, 7]]
    np.testing.assert_allclose(points[:, 0], expected, atol=1e-6)
    np.testing.assert_array_equal(points[:, 1], [[1, 2, 3, 4], [0, 0, 0, 0], [6, 0, 0, 0]])
    mask = score_onnx.pad_input(PREPROCESS["mask"], ["part_deta", "part_dphi"], columns, jets)
    np.testing.assert_array_equal(mask[:, 0], [[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]])


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Write a padded model that torch did not make: masked sums x, y over constituents, and logits x, y, x - y."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    folder = tmp_path_factory.mktemp("foreign")
    shape = {"points": ["jets", 2, 4], "mask": ["jets", 1, 4]}
    constants = {"axis": np.array([2]), "matrix": np.array([[1, 0, 1], [0, 1, -1]], dtype=np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["points", "mask"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axis"], ["sums"], keepdims=0),
            helper.make_node("MatMul", ["sums", "matrix"], ["output"]),
        ],
        "foreign",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in shape.items()],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["jets", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save_model(model, folder / "foreign.onnx")
    (folder / "preprocess.json").write_text(json.dumps(PREPROCESS))
    return folder


def test_another_model_is_applied(toys, foreign, tmp_path):
    import awkward as ak

    from lhcml.common.files import read_parquet

    score_onnx.main(
        ["--model", str(foreign / "foreign.onnx"), "--preprocess", str(foreign / "preprocess.json"), "--columns",
         '{"deta": "part_deta"}', "--signal", "1", "2", "--features", str(toys[1]), "--output",
         str(tmp_path / "s.parquet")]
    )  # fmt: skip
    table = read_parquet(toys[1])
    clipped = ak.unflatten(
        np.clip((ak.to_numpy(ak.flatten(table["part_deta"])) - 0.1) * 2, -0.5, 0.5), ak.num(table["part_deta"])
    )
    eta = ak.to_numpy(ak.sum(clipped[:, :4], axis=1))
    phi = ak.to_numpy(ak.sum(table["part_dphi"][:, :4], axis=1))
    classes = np.exp(np.stack([eta, phi, eta - phi], axis=1))
    # a softmax is put on what are not probabilities; float32
    np.testing.assert_allclose(
        scores(tmp_path / "s.parquet"), classes[:, 1:].sum(axis=1) / classes.sum(axis=1), rtol=1e-5
    )


def test_failures_name_their_cause(toys, foreign, tmp_path):
    options = ["--features", str(toys[0]), "--output", str(tmp_path / "s.parquet")]
    with pytest.raises(UserError, match="does not say what its inputs are"):
        score_onnx.main(["--model", str(foreign / "foreign.onnx"), *options])
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="onnxruntime cannot use"):
        score_onnx.main(["--model", str(tmp_path / "bad.onnx"), *options])
    with pytest.raises(UserError, match="not an ONNX model"):
        describe_onnx.read_model(tmp_path / "bad.onnx")
    with pytest.raises(UserError, match="lacks 'var_length'"):
        score_onnx.foreign_inputs({"input_names": ["x"], "x": {"var_names": ["part_pt"], "var_infos": {}}}, {})


def test_description_counts_weights(trained, tmp_path):
    describe_onnx.main(
        ["--model", str(trained / "model.onnx"), "--tagger", "x", "--seed", "1", "--meta", str(tmp_path / "meta.json")]
    )
    meta = json.loads((tmp_path / "meta.json").read_text())
    # phi: 3x20+20, 20x30+30; f: 30x20+20, 20x2+2; the scaling: 3+3
    assert meta["parameters"] == 80 + 630 + 620 + 42 + 6
    assert meta["n_train"] is None


def physical_jets(inputs, lengths, seed=0):
    """Return jets whose inputs are those of particles near an axis, with a tree of declusterings."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths, dtype=np.int64)
    rows = int(lengths.sum())
    position = np.arange(rows) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    pt, eta, phi = 0.5 + 10 * rng.exponential(size=rows), rng.normal(0, 0.2, rows), rng.normal(0, 0.2, rows)
    columns = {
        "part_pt": pt, "part_px": pt * np.cos(phi), "part_py": pt * np.sin(phi), "part_pz": pt * np.sinh(eta),
        "part_energy": np.sqrt((pt * np.cosh(eta)) ** 2 + 0.02), "part_deta": eta, "part_dphi": phi,
        "part_dr": np.hypot(eta, phi), "aligned_deta": eta, "aligned_dphi": phi,
        # the parent of a declustering comes before it
        "lund_parent": np.floor(rng.random(rows) * position) - (position == 0),
    }  # fmt: skip
    values = [columns.get(name, rng.normal(size=rows)) for name in inputs]
    return Jets(np.stack(values, axis=1).astype(np.float32), lengths)


QUICK = yaml.safe_load((Path(__file__).parents[2] / "config/quick.yaml").read_text())["taggers"]["models"]
ARCHITECTURES = {block["family"]: block.get("architecture", {}) for block in QUICK.values() if "family" in block}
FAMILIES = sorted(path.stem for path in MODELS.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_the_same_in_onnx(family, tmp_path):
    from lhcml.taggers.packing import make_batch

    # flat columns: a jet has one row
    flat = default_inputs(family)[0].startswith("jet_")
    inputs = ["jet_efp"] * 5 if family == "efp" else default_inputs(family)
    jets = physical_jets(inputs, [1] * 300 if flat else [60] * 30)
    torch.manual_seed(2)
    mean = torch.from_numpy(jets.values.mean(axis=0))
    scale = torch.from_numpy(jets.values.std(axis=0))
    model = build_network(family, complete_architecture(family, ARCHITECTURES.get(family, {})), inputs, mean, scale)
    with torch.no_grad():
        for parameter in model.parameters():
            # away from zeros, with which some layers begin
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.eval()
    export_onnx.export(model, export_onnx.jets_of_length(jets, 1 if flat else 5, 3), flat, tmp_path / "model.onnx")
    # the same file in every folder
    assert str(Path(export_onnx.__file__).parent).encode() not in (tmp_path / "model.onnx").read_bytes()
    scatters = [node for node in onnx.load(tmp_path / "model.onnx").graph.node if "Scatter" in node.op_type]
    # onnxruntime adds scattered numbers up from several threads at once, and loses some: 29 instead of 0 with eight
    assert all(part.s == b"none" for node in scatters for part in node.attribute if part.name == "reduction")
    session = score_onnx.open_model(tmp_path / "model.onnx", 1)
    for length in [1] if flat else [1, 2, 3, 4, 7, 16, 17, 50, 199, 200]:
        values = export_onnx.jets_of_length(jets, length, 4)
        with torch.inference_mode():
            expected = model(make_batch(torch.from_numpy(values).flatten(0, 1), torch.full((4,), length))).numpy()
        deviation = export_onnx.largest_deviation(expected, session.run(None, {"values": values})[0])
        # a tenth of what the gate allows
        assert deviation < 0.1 * export_onnx.TOLERANCE, f"{deviation} at {length}"
