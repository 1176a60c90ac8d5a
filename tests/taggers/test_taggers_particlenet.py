"""ParticleNet on packed jets against a plain padded one, and its symmetries."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.taggers.graphs import EdgeNetwork, Graph
from lhcml.taggers.models.particlenet import ARCHITECTURE, INPUTS, build_model, neighbour_graph
from lhcml.taggers.packing import make_batch

TINY = {"neighbours": 4, "edge_convs": [[6, 5], [7, 7, 7], [7, 7]], "dense": [9, 8], "dropout": 0.1}
LITE = {"neighbours": 7, "edge_convs": [[32] * 3, [64] * 3], "dense": [128], "dropout": 0.1}


def tiny_model(seed=1, **changes):
    """Return a small network in double precision with running moments and gains unlike those of a new one."""
    torch.manual_seed(seed)
    model = build_model(TINY | changes, INPUTS, torch.full((7,), 0.3), torch.full((7,), 1.5)).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def random_batch(lengths, seed=0):
    lengths = torch.tensor(lengths, dtype=torch.int64)
    generator = torch.Generator().manual_seed(seed)
    return make_batch(torch.randn(int(lengths.sum()), 7, generator=generator, dtype=torch.float64), lengths)


def normalise(norm, values, exists):
    """Batch norm over what exists; `values` (..., width), `exists` (...)."""
    if norm.training and exists.sum() > 1:
        chosen = values[exists]
        mean, variance = chosen.mean(0), chosen.var(0, unbiased=False)
    else:
        mean, variance = norm.running_mean, norm.running_var
    return (values - mean) / torch.sqrt(variance + norm.eps) * norm.weight + norm.bias


def reference(model, batch, neighbours):
    """The network as in the paper, on (jets, longest, longest) arrays with masks: no factorised layer, no packing."""
    jets, longest = len(batch.lengths), max(1, batch.longest)
    mask = torch.arange(longest) < batch.lengths[:, None]
    dense = torch.zeros(jets, longest, 7, dtype=torch.float64)
    dense[mask] = batch.values
    points = dense[:, :, :2]
    x = normalise(model.input_norm, (dense - model.mean) / model.scale, mask)
    for block in model.edge_convs:
        pairs = mask[:, :, None] & mask[:, None, :] & ~torch.eye(longest, dtype=torch.bool)
        distance = (points[:, :, None] - points[:, None]).square().sum(-1).masked_fill(~pairs, torch.inf)
        rank = distance.argsort(-1).argsort(-1)
        edges = pairs & (rank < neighbours)
        own = x[:, :, None].expand(-1, -1, longest, -1)
        y = block.first(torch.cat([own, x[:, None] - own], -1))
        y = torch.relu(normalise(block.norms[0], y, edges))
        for layer, norm in zip(block.deeper, block.norms[1:], strict=True):
            y = torch.relu(normalise(norm, layer(y), edges))
        mean = (y * edges[..., None]).sum(2) / edges.sum(2).clamp(min=1)[..., None]
        if isinstance(block.shortcut, torch.nn.Identity):
            shortcut = x
        else:
            shortcut = normalise(block.shortcut[1], block.shortcut[0](x), mask)
        x = points = torch.relu(mean + shortcut)
    pooled = (x * mask[..., None]).sum(1) / batch.lengths.clamp(min=1)[:, None]
    return model.head(pooled)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=20), st.integers(0, 1000), st.booleans())
def test_agrees_with_the_padded_network(lengths, seed, training):
    model, batch = tiny_model(seed, dropout=0.0).train(training), random_batch(lengths, seed)
    expected = reference(model, batch, TINY["neighbours"])
    # double precision: only the order of sums differs
    torch.testing.assert_close(model(batch), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("training", [True, False])
def test_gradients_agree_with_the_padded_network(training):
    model, batch = tiny_model(dropout=0.0).train(training), random_batch([9, 0, 1, 3, 20, 2])
    weights = torch.randn(6, 2, dtype=torch.float64)

    def gradients(logits):
        return torch.autograd.grad((logits * weights).sum(), list(model.parameters()))

    expected = gradients(reference(model, batch, TINY["neighbours"]))
    for name, found, wanted in zip(dict(model.named_parameters()), gradients(model(batch)), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-9, msg=name)


def test_running_moments_are_those_of_torch():
    batch = random_batch([9, 4, 12])
    model = tiny_model(dropout=0.0).train()
    norm = model.edge_convs[0].norms[0]
    twin = torch.nn.BatchNorm1d(6).double()
    twin.load_state_dict(norm.state_dict())
    graph = neighbour_graph(batch.values[:, :2], batch, 4)
    x = model.input_norm((batch.values - model.mean) / model.scale)
    twin(model.edge_convs[0].first(torch.cat([x[graph.centre], x[graph.neighbour] - x[graph.centre]], 1)))
    model(batch)
    torch.testing.assert_close(norm.running_mean, twin.running_mean)
    torch.testing.assert_close(norm.running_var, twin.running_var)


@pytest.mark.parametrize("piece", [7, 2**18])
@pytest.mark.parametrize("training", [True, False])
def test_edge_network_gradcheck(training, piece, monkeypatch):
    # also in a piece for each jet, of unequal numbers of edges, with rows that have none
    monkeypatch.setattr("lhcml.taggers.graphs.PIECE", piece)
    torch.manual_seed(2)
    ends = torch.tensor([[0, 1], [0, 2], [1, 0], [3, 5], [3, 4], [5, 3], [6, 7]])
    graph = Graph(ends[:, 0], ends[:, 1], torch.tensor([3, 0, 3, 2]))
    shapes = [(16, 3), (3,), (2,), (3,), (2,), (2, 3)]
    tensors = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    moments = None if training else [(torch.randn(n).double(), torch.rand(n).double() + 0.5) for n in (3, 2)]
    assert torch.autograd.gradcheck(lambda table, *rest: EdgeNetwork.apply(table, graph, moments, *rest)[0], tensors)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40), st.integers(0, 1000))
def test_order_of_constituents_does_not_matter(length, seed):
    model, batch = tiny_model().eval(), random_batch([length], seed)
    shuffled = make_batch(batch.values[torch.randperm(length)], batch.lengths)
    torch.testing.assert_close(model(shuffled), model(batch), rtol=1e-8, atol=1e-8)


def test_jets_do_not_see_each_other():
    model = tiny_model().eval()
    lengths = [5, 0, 1, 7, 2, 30, 3]
    batch = random_batch(lengths)
    together = model(batch)
    for jet, length in enumerate(lengths):
        alone = make_batch(batch.values[batch.jet == jet], torch.tensor([length]))
        torch.testing.assert_close(model(alone)[0], together[jet], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("lengths", [[0], [1], [0, 0], [1, 1, 0], [2], [2, 1]])
def test_jets_of_few_constituents(lengths):
    for training in (True, False):
        model = tiny_model(dropout=0.0).train(training)
        logits = model(random_batch(lengths))
        assert torch.isfinite(logits).all()
        logits.sum().backward()
        assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
        assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())


def test_neighbours_by_hand():
    # on a line at 0, 1, 3, 7 and, in a second jet, 0, 1; the two nearest of each
    points = torch.tensor([[0.0], [1.0], [3.0], [7.0], [0.0], [1.0]])
    graph = neighbour_graph(points, make_batch(points, torch.tensor([4, 0, 2])), 2)
    found = sorted(zip(graph.centre.tolist(), graph.neighbour.tolist(), strict=True))
    assert found == [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (3, 1), (3, 2), (4, 5), (5, 4)]


def test_constituents_at_the_same_place_are_neighbours():
    points = torch.tensor([[0.5, 0.5], [0.5, 0.5], [9.0, 9.0]])
    graph = neighbour_graph(points, make_batch(points, torch.tensor([3])), 1)
    assert graph.neighbour[:2].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("architecture", "expected"),
    [
        # 366k and 26k in the paper; the same as weaver-core's ParticleNet with use_fts_bn and without use_fusion
        (ARCHITECTURE, 366_160),
        (LITE, 26_416),
    ],
)
def test_published_number_of_parameters(architecture, expected):
    model = build_model(architecture, INPUTS, torch.zeros(7), torch.ones(7))
    assert sum(p.numel() for p in model.parameters()) == expected


def test_coordinates_are_required():
    with pytest.raises(UserError, match="part_dphi"):
        build_model(ARCHITECTURE, ["part_deta", "part_dr"], torch.zeros(2), torch.ones(2))


def test_bfloat16_changes_little():
    model, batch = tiny_model(dropout=0.0).float().train(), random_batch([9, 0, 20, 3])
    batch = make_batch(batch.values.float(), batch.lengths)
    full = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(batch).float()
    low.sum().backward()
    # three dense layers with 8 significant bits
    torch.testing.assert_close(low, full, rtol=0.03, atol=0.03)
    assert all(p.grad.isfinite().all() for p in model.parameters())
