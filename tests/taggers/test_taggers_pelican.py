"""PELICAN: symmetries, agreement with a plain implementation of the 15 maps, sizes."""

import pytest
import torch
from momentum_jets import boost, momentum_batch, rotation, transformed

from lhcml.common.errors import UserError
from lhcml.taggers.families import complete_architecture
from lhcml.taggers.models.pelican import INPUTS, build_model
from lhcml.taggers.packing import make_batch

LENGTHS = [5, 0, 1, 12, 2, 5, 0, 30]


def make_model(**settings):
    """A small network with all parameters and running statistics away from their initial values."""
    torch.manual_seed(2)
    small = {"blocks": 2, "message": 7, "equivariant": 5, "label": 3, "typical_length": 9.0}
    architecture = complete_architecture("pelican", {**small, **settings})
    model = build_model(architecture, INPUTS, torch.zeros(4), torch.ones(4))
    for parameter in model.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 4.0)
    return model.double().eval()


def logits(model, batch):
    with torch.inference_mode():
        return model(batch)


def scaled(values, n, power):
    return values * (n / 9.0) ** power


def fifteen_maps(block, matrix):
    """The equivariant layer of one jet, map by map: matrix (n, n, before) -> (n, n, after)."""
    n, before = len(matrix), matrix.shape[2]
    one, eye = torch.ones(n, dtype=torch.float64), torch.eye(n, dtype=torch.float64)
    diagonal = torch.stack([matrix[i, i] for i in range(n)])
    columns, rows = matrix.mean(0), matrix.mean(1)
    trace, total = diagonal.mean(0), matrix.mean((0, 1))

    def at_i(vector):
        return torch.einsum("ic,j->ijc", vector, one)

    def at_j(vector):
        return torch.einsum("jc,i->ijc", vector, one)

    def on_diagonal(vector):
        return torch.einsum("ic,ij->ijc", vector, eye)

    maps = [matrix, matrix.transpose(0, 1)]
    maps += [at_i(diagonal), at_j(diagonal), on_diagonal(diagonal)]
    power = iter(block.powers)
    for vector in (columns, rows):
        maps += [scaled(spread(vector), n, next(power)) for spread in (at_i, at_j, on_diagonal)]
    for number in (trace, total):
        everywhere = number.expand(n, n, before)
        maps += [scaled(everywhere, n, next(power)), scaled(on_diagonal(number.expand(n, before)), n, next(power))]
    result = block.bias[0] + on_diagonal(block.bias[1].expand(n, -1))
    for b in range(15):
        for d in range(len(block.bias[0])):
            for c in range(before):
                coefficient = block.of_input[b, c] * block.mix[0, d, c] + block.of_output[b, d] * block.mix[1, d, c]
                result[:, :, d] += coefficient * maps[b][:, :, c]
    return torch.nn.functional.leaky_relu(result)


def reference(model, batch):
    """Jet by jet; label channels from the five maps of vectors to matrices."""
    results = []
    for constituents in batch.values.split(batch.lengths.tolist()):
        p = torch.cat((torch.tensor([[0, 0, 1, 1], [0, 0, -1, 1]], dtype=torch.float64), constituents))
        n = len(p)
        metric = torch.diag(torch.tensor([-1.0, -1.0, -1.0, 1.0], dtype=torch.float64))
        product = (p @ metric @ p.T).clamp(min=0)
        power = model.roots**2 + 1e-6
        encoded = ((1 + product[:, :, None]) ** power - 1) / power
        label = torch.zeros(n, 2, dtype=torch.float64)
        label[:2, 0] = label[2:, 1] = 1
        eye = torch.eye(n, dtype=torch.float64)[:, :, None]
        maps = [label[:, None].expand(n, n, 2), label[None].expand(n, n, 2), eye * label[None]]
        maps += [label.mean(0).expand(n, n, 2), eye * label.mean(0)]
        channels = model.labels.bias
        for weight, exponent, values in zip(model.labels.weights, model.labels.powers, maps, strict=True):
            channels = channels + scaled(values, n, exponent) @ weight.T
        values = torch.cat((encoded, channels), 2)
        for message, block in zip(model.messages, model.equivariant, strict=True):
            values = fifteen_maps(block, message(values.flatten(0, 1)).unflatten(0, (n, n)))
        values = model.last_message(values.flatten(0, 1)).unflatten(0, (n, n))
        means = [values.mean((0, 1)), torch.stack([values[i, i] for i in range(n)]).mean(0)]
        means = [scaled(mean, n, exponent) for mean, exponent in zip(means, model.powers, strict=True)]
        results.append(model.out(model.invariant(torch.nn.functional.leaky_relu(torch.cat(means)))))
    return torch.stack(results)


def test_agrees_with_a_plain_implementation():
    model, batch = make_model(), momentum_batch([4, 0, 1, 7, 4])
    with torch.inference_mode():
        torch.testing.assert_close(model(batch), reference(model, batch), rtol=1e-8, atol=1e-8)


def transformations(beams):
    """What leaves the output as it is, and what does not: beams along z stay the same under rotations about z only."""
    rotations = [rotation(2, 0.7), rotation(2, -2.0)]
    others = [rotation(0, 0.5), boost(1, 0.3), boost(2, -1.1), boost(0, 0.8) @ rotation(1, 1.0)]
    return (rotations, others) if beams else (rotations + others, [])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 5e-4)])
@pytest.mark.parametrize("beams", [True, False])
def test_lorentz_invariance(beams, dtype, tolerance):
    # products up to 1e4 GeV^2 round by 1e-12 and 1e-3 GeV^2, and enter as powers of 1 + product
    model, batch = make_model(beams=beams).to(dtype), momentum_batch(LENGTHS, dtype=dtype)
    symmetries, broken = transformations(beams)
    before = logits(model, batch)
    for matrix in symmetries:
        torch.testing.assert_close(logits(model, transformed(batch, matrix)), before, rtol=tolerance, atol=tolerance)
    for matrix in broken:
        # beams break these: the test above could not fail otherwise
        assert (logits(model, transformed(batch, matrix)) - before).abs().max() > 1e-3


def test_order_of_constituents_does_not_matter():
    model, batch = make_model(), momentum_batch([11])
    shuffled = make_batch(batch.values[torch.randperm(11)], batch.lengths)
    torch.testing.assert_close(logits(model, shuffled), logits(model, batch), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("beams", [True, False])
def test_jets_do_not_see_each_other(beams):
    model, batch = make_model(beams=beams), momentum_batch(LENGTHS)
    together = logits(model, batch)
    for position, values in enumerate(batch.values.split(batch.lengths.tolist())):
        alone = logits(model, make_batch(values, batch.lengths[position : position + 1]))
        torch.testing.assert_close(alone[0], together[position], rtol=1e-9, atol=1e-9)
    assert together.isfinite().all()
    assert logits(model, momentum_batch([0, 0])).isfinite().all()


@pytest.mark.parametrize(
    ("message", "equivariant", "label", "parameters"),
    [(132, 78, 10, 208498), (25, 15, 10, 11262), (10, 6, 6, 2912), (5, 3, 3, 1192)],
)
def test_sizes(message, equivariant, label, parameters):
    """The published 208k, 11k and 3k, and the 1k."""
    settings = {"message": message, "equivariant": equivariant, "label": label}
    model = build_model(complete_architecture("pelican", settings), INPUTS, torch.zeros(4), torch.ones(4))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_all_parameters_learn():
    model = make_model(dropout=0.0).train()
    model(momentum_batch(LENGTHS)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_settings_and_inputs_are_checked():
    with pytest.raises(UserError, match="labels"):
        make_model(label=7)
    with pytest.raises(UserError, match="part_pz"):
        build_model({}, ["part_px", "part_py", "part_energy"], torch.zeros(3), torch.ones(3))
