"""LundNet on packed trees against a plain network with adjacency matrices, and its symmetries."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.taggers.models.lundnet import ARCHITECTURE, INPUTS, build_model, tree_graph
from lhcml.taggers.packing import make_batch

TINY = {"edge_convs": [[6, 5], [5, 5], [7, 7]], "fusion": 8, "dense": [9], "dropout": 0.0}


def tiny_model(seed=1):
    """Return a small network in double precision with running moments and gains unlike those of a new one."""
    torch.manual_seed(seed)
    model = build_model(TINY, INPUTS, torch.full((6,), 0.3), torch.full((6,), 1.5)).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def random_tree(nodes, generator):
    """Return parents of a random binary tree: each node takes a free branch of an earlier one."""
    parents, free = [-1], [0, 0]
    for node in range(1, nodes):
        parents.append(free.pop(int(torch.randint(len(free), (), generator=generator))))
        free += [node, node]
    return parents[:nodes]


def random_batch(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parents = [parent for nodes in lengths for parent in random_tree(nodes, generator)]
    values = torch.randn(len(parents), 6, generator=generator, dtype=torch.float64)
    values[:, 5] = torch.tensor(parents, dtype=torch.float64)
    return make_batch(values, torch.tensor(lengths, dtype=torch.int64))


def normalise(norm, values, training):
    """Batch norm over rows."""
    mean, variance = norm.running_mean, norm.running_var
    if training and len(values) > 1:
        mean, variance = values.mean(0), values.var(0, unbiased=False)
    return (values - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


def reference(model, batch):
    """The network with one adjacency matrix of all nodes of the batch and a loop over jets."""
    training = model.training
    rows = len(batch.values)
    joined = torch.zeros(rows, rows, dtype=torch.bool)
    start = 0
    for length in batch.lengths.tolist():
        for node in range(length):
            parent = int(batch.values[start + node, 5])
            if parent >= 0:
                joined[start + node, start + parent] = joined[start + parent, start + node] = True
        start += length
    centre, neighbour = joined.nonzero(as_tuple=True)
    x = normalise(model.input_norm, (batch.values[:, :5] - 0.3) / 1.5, training)
    results = []
    for block in model.edge_convs:
        y = block.first(torch.cat([x[centre], x[neighbour] - x[centre]], 1))
        y = torch.relu(normalise(block.norms[0], y, training))
        y = torch.relu(normalise(block.norms[1], block.deeper[0](y), training))
        mean = torch.zeros(rows, y.shape[1], dtype=y.dtype)
        for row in range(rows):
            if (centre == row).any():
                mean[row] = y[centre == row].mean(0)
        if isinstance(block.shortcut, torch.nn.Identity):
            x = torch.relu(mean + x)
        else:
            x = torch.relu(mean + normalise(block.shortcut[1], block.shortcut[0](x), training))
        results.append(x)
    x = normalise(model.fusion[2], torch.relu(model.fusion[0](torch.cat(results, 1))), training)
    pooled = [part.mean(0) if len(part) else x.new_zeros(x.shape[1]) for part in x.split(batch.lengths.tolist())]
    return model.head(torch.stack(pooled))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(0, 1000), st.booleans())
def test_agrees_with_adjacency_matrices(lengths, seed, training):
    model, batch = tiny_model(seed).train(training), random_batch(lengths, seed)
    expected = reference(model, batch)
    # double precision: only the order of sums differs
    torch.testing.assert_close(model(batch), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_agree_with_adjacency_matrices(training):
    model, batch = tiny_model().train(training), random_batch([9, 0, 1, 3, 12, 2])
    weights = torch.randn(6, 2, dtype=torch.float64)

    def gradients(logits):
        return torch.autograd.grad((logits * weights).sum(), list(model.parameters()))

    expected = gradients(reference(model, batch))
    for name, found, wanted in zip(dict(model.named_parameters()), gradients(model(batch)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9, msg=name)


def test_tree_by_hand():
    # a root with two splittings below it, the second of which has one; then a jet with one declustering
    batch = make_batch(torch.zeros(5, 1), torch.tensor([4, 0, 1]))
    graph = tree_graph(torch.tensor([-1, 0, 0, 2, -1]), batch)
    found = list(zip(graph.centre.tolist(), graph.neighbour.tolist(), strict=True))
    assert sorted(found) == [(0, 1), (0, 2), (1, 0), (2, 0), (2, 3), (3, 2)]
    assert graph.centre.tolist() == sorted(graph.centre.tolist())


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(0, 1000))
def test_numbering_of_nodes_does_not_matter(nodes, seed):
    model, batch = tiny_model().eval(), random_batch([nodes], seed)
    order = torch.randperm(nodes)
    values = batch.values[order]
    # where each node went; the root keeps its -1
    place = torch.argsort(order)
    values[:, 5] = torch.where(values[:, 5] < 0, -1.0, place[values[:, 5].long()].double())
    torch.testing.assert_close(model(make_batch(values, batch.lengths)), model(batch), rtol=1e-8, atol=1e-8)


def test_the_tree_matters():
    model, batch = tiny_model().eval(), random_batch([6])
    values = batch.values.clone()
    values[:, 5] = torch.tensor([-1.0, 0, 1, 2, 3, 4])
    chain = model(make_batch(values, batch.lengths))
    assert (chain - model(batch)).abs().max() > 1e-6


def test_jets_do_not_see_each_other():
    model = tiny_model().eval()
    lengths = [5, 0, 1, 7, 2, 30, 3]
    batch = random_batch(lengths)
    together = model(batch)
    for jet, length in enumerate(lengths):
        alone = make_batch(batch.values[batch.jet == jet], torch.tensor([length]))
        torch.testing.assert_close(model(alone)[0], together[jet], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("lengths", [[0], [1], [0, 0], [1, 1, 0], [2], [2, 1]])
def test_jets_of_few_declusterings(lengths):
    for training in (True, False):
        model = tiny_model().train(training)
        logits = model(random_batch(lengths))
        assert torch.isfinite(logits).all()
        logits.sum().backward()
        assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        # counted for the authors' code: 10 + 1,696 + 3,200 + 10,624 + 12,544 + 41,728 + 49,664 + 173,184 + 98,560 + 514
        (INPUTS, 391_724),
        # two inputs fewer: 2 (2 x 32 of the first layer + 32 of the shortcut) + 4 of the norm less
        (["lund_ln_z", "lund_ln_delta", "lund_ln_kt", "lund_parent"], 391_528),
    ],
)
def test_number_of_parameters(inputs, expected):
    model = build_model(ARCHITECTURE, inputs, torch.zeros(len(inputs)), torch.ones(len(inputs)))
    assert sum(p.numel() for p in model.parameters()) == expected


def test_parent_is_required_and_not_scaled():
    with pytest.raises(UserError, match="lund_parent"):
        build_model(TINY, ["lund_ln_z"], torch.zeros(1), torch.ones(1))
    batch = random_batch([6, 9])
    logits = []
    for shift, width in ((0.0, 1.0), (30.0, 20.0)):
        torch.manual_seed(1)
        mean, scale = torch.tensor([0.0] * 5 + [shift]), torch.tensor([1.0] * 5 + [width])
        logits.append(build_model(TINY, INPUTS, mean, scale).double().eval()(batch))
    assert torch.equal(*logits)
