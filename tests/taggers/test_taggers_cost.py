"""Cost of scoring: operations by hand, for trees and for a network trained on toys."""

import numpy as np
import pytest
from toy_jets import HIGH_LEVEL, write_toy

from lhcml.common.errors import UserError
from lhcml.common.files import read_json, write_json
from lhcml.taggers import cost_bdt, cost_network
from lhcml.taggers.costs import sample_jets


def test_depths_by_hand():
    #     0
    #   1   2
    #  3 4
    tree = {"left_children": [1, 3, -1, -1, -1], "right_children": [2, 4, -1, -1, -1]}
    assert cost_bdt.node_depths(tree).tolist() == [0, 1, 1, 2, 2]


def test_operations_of_a_pfn_by_hand(tmp_path):
    import torch
    from safetensors.torch import save_file

    from lhcml.taggers.families import build_network

    inputs = ["part_log_pt_rel", "part_deta", "part_dphi"]
    settings = {"phi": [7, 5], "f": [4]}
    mean, scale = torch.zeros(3), torch.ones(3)
    model = build_network("pfn", settings, inputs, mean, scale)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    meta = {"tagger": "mine", "family": "pfn", "inputs": inputs, "scaling": {"mean": [0.0] * 3, "scale": [1.0] * 3},
            "settings": {"architecture": settings}}  # fmt: skip
    write_json(tmp_path / "meta.json", meta)
    features = [write_toy(tmp_path, kind, 60, 1, lengths=np.full(60, 20)) for kind in ("top", "qcd")]
    cost_network.main(["--model", str(tmp_path / "model.safetensors"), "--meta", str(tmp_path / "meta.json"),
                       "--features", *map(str, features), "--output", str(tmp_path / "cost.json")])  # fmt: skip
    cost = read_json(tmp_path / "cost.json")
    # two operations a weight: Phi on each of 20 constituents, F once a jet
    assert cost["operations_per_jet"] == 2 * (20 * (3 * 7 + 7 * 5) + 5 * 4 + 4 * 2)
    assert (cost["mean_multiplicity"], cost["batch"], cost["threads"]) == (20, 128, 1)
    assert cost["jets_per_second"] > 0


def random_network(family, settings):
    """Return a network with its default inputs, and jets of 20 constituents with random inputs in angles of 0.2."""
    import torch

    from lhcml.taggers.families import build_network, complete_architecture, default_inputs
    from lhcml.taggers.jets import Jets
    from lhcml.taggers.packing import PackedJets

    inputs = default_inputs(family)
    mean, scale = torch.zeros(len(inputs)), torch.ones(len(inputs))
    model = build_network(family, complete_architecture(family, settings), inputs, mean, scale)
    values = np.abs(np.random.default_rng(1).normal(scale=0.2, size=(60, len(inputs)))).astype(np.float32)
    return model, PackedJets(Jets(values, np.full(3, 20))), len(inputs)


def test_operations_of_an_lstm_by_hand():
    model, jets, inputs = random_network("recurrent", {"state": 5, "f": []})
    # four gates a step, each a product of 5 x (inputs + state); two outputs from the last state
    assert cost_network.count_operations(model, jets) == 3 * 2 * (20 * 4 * 5 * (inputs + 5) + 5 * 2)


def test_operations_of_networks_with_gradients_of_their_own():
    model, jets, _ = random_network("particle_transformer", {})
    weights = sum(tensor.numel() for tensor in model.parameters())
    # most weights act once on each of 20 constituents, those of the pairs more often and the class token's less
    assert 0.3 < cost_network.count_operations(model, jets) / (3 * 2 * 20 * weights) < 3


def test_comparisons_of_trees(tmp_path):
    import xgboost

    features = [write_toy(tmp_path, kind, 200, 1) for kind in ("top", "qcd")]
    jets = sample_jets(features, HIGH_LEVEL)
    matrix = xgboost.DMatrix(jets.values, np.random.default_rng(1).integers(0, 2, len(jets)), feature_names=HIGH_LEVEL)
    # with max_depth 2 and no limit on the gain each jet makes at most two comparisons a tree, at least one
    booster = xgboost.train({"max_depth": 2, "objective": "binary:logistic", "nthread": 1}, matrix, 7)
    booster.save_model(tmp_path / "model.json")
    write_json(tmp_path / "meta.json", {"tagger": "trees", "inputs": list(HIGH_LEVEL)})
    cost_bdt.main(["--model", str(tmp_path / "model.json"), "--meta", str(tmp_path / "meta.json"),
                   "--features", *map(str, features), "--output", str(tmp_path / "cost.json")])  # fmt: skip
    cost = read_json(tmp_path / "cost.json")
    # an independent count: XGBoost's dump says how many conditions stand above a leaf
    frame = booster.trees_to_dataframe().set_index("ID")
    leaves = booster.predict(matrix, pred_leaf=True).astype(int)
    above = {}
    for tree in range(7):
        stack = [(f"{tree}-0", 0)]
        while stack:
            node, depth = stack.pop()
            above[node] = depth
            if frame.loc[node, "Feature"] != "Leaf":
                stack += [(frame.loc[node, side], depth + 1) for side in ("Yes", "No")]
    expected = np.mean([sum(above[f"{tree}-{leaf}"] for tree, leaf in enumerate(row)) for row in leaves])
    assert cost["operations_per_jet"] == pytest.approx(expected)


def test_no_test_jets(tmp_path):
    with pytest.raises(UserError, match="no test jet"):
        sample_jets([write_toy(tmp_path, "top", 0, 1)], HIGH_LEVEL)
