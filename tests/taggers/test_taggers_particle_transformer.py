"""The packed Particle Transformer against a padded one in double precision, and its pair features by hand."""

import math

import pytest
import torch
from momentum_jets import momenta

from lhcml.common.errors import UserError
from lhcml.taggers.families import complete_architecture
from lhcml.taggers.models.particle_transformer import INPUTS, PUBLISHED_SCALING, build_model, pair_features
from lhcml.taggers.packing import make_batch

SMALL = {"embedding": [8, 12, 16], "pair_embedding": [6, 5], "heads": 4, "blocks": 2, "class_blocks": 2}


def jets(lengths, seed=0, dtype=torch.float64):
    momentum, lengths = momenta(lengths, seed)
    features = torch.randn(len(momentum), 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return make_batch(torch.cat((features, momentum), 1).to(dtype), lengths)


def small_model(**settings):
    """A small network with all parameters and running statistics away from their trivial initial values."""
    torch.manual_seed(1)
    architecture = complete_architecture("particle_transformer", {**SMALL, **settings})
    model = build_model(architecture, INPUTS, torch.zeros(len(INPUTS)), torch.ones(len(INPUTS)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 4.0)
    return model


@pytest.fixture(scope="module")
def model():
    return small_model().double().eval()


def by_hand(first, second):
    """ln kT, ln z, ln dR, ln m^2 in plain Python."""
    pt1, pt2 = math.hypot(first[0], first[1]), math.hypot(second[0], second[1])
    y1, y2 = (0.5 * math.log((p[3] + p[2]) / (p[3] - p[2])) for p in (first, second))
    dphi = abs(math.atan2(first[1], first[0]) - math.atan2(second[1], second[0]))
    distance = math.hypot(y1 - y2, min(dphi, 2 * math.pi - dphi))
    total = [a + b for a, b in zip(first, second, strict=True)]
    mass2 = total[3] ** 2 - total[0] ** 2 - total[1] ** 2 - total[2] ** 2
    softer = min(pt1, pt2)
    return [math.log(max(x, 1e-8)) for x in (softer * distance, softer / (pt1 + pt2), distance, mass2)]


def test_pair_features_by_hand():
    # massless, pT 3 and 1, one at rapidity 0 and azimuth pi - 0.1, the other at ln 2 and -pi + 0.2
    def massless(pt, y, phi):
        return [pt * math.cos(phi), pt * math.sin(phi), pt * math.sinh(y), pt * math.cosh(y)]

    first, second = massless(3.0, 0.0, math.pi - 0.1), massless(1.0, math.log(2), -math.pi + 0.2)
    found = pair_features(torch.tensor(first).double(), torch.tensor(second).double())
    distance = math.hypot(math.log(2), 0.3)
    # m^2 = 2 pT1 pT2 (cosh dy - cos dphi), and cosh ln 2 = 5/4
    expected = [math.log(distance), math.log(1 / 4), math.log(distance), math.log(6 * (1.25 - math.cos(0.3)))]
    # the momenta went through single precision
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_pair_features_agree_with_plain_python():
    values, _ = momenta([12], seed=5)
    for first in values.tolist():
        for second in values.tolist():
            pair = torch.tensor([first, second], dtype=torch.float64)
            # mass of light pairs: 1e-16 of E^2 about 1e4 against masses of 1e-2
            assert pair_features(pair[0], pair[1]).tolist() == pytest.approx(
                by_hand(first, second), rel=1e-6, abs=1e-6
            ) or (first == second)


def layer_norm(x, layer):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], layer.weight, layer.bias)


def reference(model, batch):
    """The published network jet by jet, in the order of equations of the paper, with all pairs (i, j)."""
    logits = []
    for values in batch.values.split(batch.lengths.tolist()):
        scaled = values[:, :7].clone()
        for column, name in enumerate(INPUTS[:7]):
            shift, factor = PUBLISHED_SCALING[name]
            scaled[:, column] = (scaled[:, column] - shift) * factor
        x = model.embedding(model.input_norm(scaled.clamp(-5, 5)))
        n, heads = len(x), 4
        bias = torch.zeros(n, n, heads, dtype=torch.float64)
        for i in range(n):
            for j in range(n):
                bias[i, j] = model.pairs(pair_features(values[i, 7:], values[j, 7:])[None])[0]
        for block in model.blocks:
            x = block_reference(block, x, layer_norm(x, block.norm), layer_norm(x, block.norm), bias)
        token = model.token
        for block in model.class_blocks:
            both = layer_norm(torch.cat((token, x)), block.norm)
            token = block_reference(block, token, token, both, torch.zeros(1, n + 1, heads, dtype=torch.float64))
        logits.append(model.out(layer_norm(token, model.norm)))
    return torch.cat(logits)


def block_reference(block, residual, queries, keys, bias):
    width, heads = residual.shape[1], bias.shape[2]
    size = width // heads
    weight, offset = block.query_key_value.weight, block.query_key_value.bias
    query = queries @ weight[:width].T + offset[:width]
    key = keys @ weight[width : 2 * width].T + offset[width : 2 * width]
    value = keys @ weight[2 * width :].T + offset[2 * width :]
    result = torch.zeros_like(query)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = query[:, part] @ key[:, part].T / math.sqrt(size) + bias[:, :, head]
        result[:, part] = torch.softmax(scores, 1) @ value[:, part]
    result = block.out(result)
    for head in range(heads):
        result[:, head * size : (head + 1) * size] *= block.head_scale[head]
    x = residual + layer_norm(result, block.attended_norm)
    hidden = torch.nn.functional.gelu(block.hidden(layer_norm(x, block.hidden_in_norm)))
    return block.residual_scale * x + block.hidden_out(layer_norm(hidden, block.hidden_norm))


def test_agrees_with_a_plain_implementation(model):
    # more jets than one bucket takes, empty ones and single constituents among them
    batch = jets([3, 0, 1, 9, 2, 0, 5, *range(1, 15)])
    with torch.inference_mode():
        # the network of pairs sees m^2 of light pairs with relative errors up to 1e-10; logits are of order 1
        torch.testing.assert_close(model(batch), reference(model, batch), rtol=1e-8, atol=1e-8)


def test_order_of_constituents_does_not_matter(model):
    batch = jets([11])
    shuffled = make_batch(batch.values[torch.randperm(11)], batch.lengths)
    with torch.inference_mode():
        torch.testing.assert_close(model(shuffled), model(batch), rtol=1e-8, atol=1e-8)


def test_jets_do_not_see_each_other(model):
    batch = jets([5, 0, 1, 7, 0, 40])
    with torch.inference_mode():
        together = model(batch)
        for position, values in enumerate(batch.values.split(batch.lengths.tolist())):
            alone = model(make_batch(values, batch.lengths[position : position + 1]))
            torch.testing.assert_close(alone[0], together[position], rtol=1e-8, atol=1e-8)
    assert together.isfinite().all()


def test_only_empty_jets(model):
    with torch.inference_mode():
        logits = model(jets([0, 0, 0]))
    assert logits.isfinite().all()
    assert torch.equal(logits, logits[:1].expand(3, 2))


def test_published_size():
    """ParticleTransformer of weaver-core 0.5.3 at its defaults, 7 features and 2 classes: 2,141,134 parameters."""
    architecture = complete_architecture("particle_transformer", {})
    model = build_model(architecture, INPUTS, torch.zeros(len(INPUTS)), torch.ones(len(INPUTS)))
    assert sum(parameter.numel() for parameter in model.parameters()) == 2141134


def test_gradients_reach_all_parameters_and_agree_with_finite_differences():
    model = small_model(dropout=0.0).double().train()
    batch = jets([6, 0, 1, 9, 4])
    weight = model.pairs.layers[1].weight

    def loss():
        # new statistics each time: those of the batch are used
        return model(batch)[:, 1].sin().sum()

    loss().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    values = []
    with torch.no_grad():
        for step in (1e-6, -1e-6):
            weight[2, 1] += step
            values.append(loss().item())
            weight[2, 1] -= step
    assert weight.grad[2, 1].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_momenta_are_needed():
    with pytest.raises(UserError, match="part_energy"):
        build_model({}, INPUTS[:-1], torch.zeros(10), torch.ones(10))
