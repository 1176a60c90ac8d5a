"""LorentzNet: symmetries, agreement with a plain implementation, size."""

import pytest
import torch
from momentum_jets import boost, momentum_batch, rotation, transformed

from lhcml.common.errors import UserError
from lhcml.taggers.families import complete_architecture
from lhcml.taggers.models.lorentznet import INPUTS, build_model
from lhcml.taggers.packing import make_batch

LENGTHS = [5, 0, 1, 12, 2, 5, 0, 30]


def make_model(**settings):
    """A small network with all parameters and running statistics away from their initial values."""
    torch.manual_seed(2)
    architecture = complete_architecture("lorentznet", {"layers": 3, "width": 8, **settings})
    model = build_model(architecture, INPUTS, torch.zeros(4), torch.ones(4))
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=0.1 if "move" in name else 0.3)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm1d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 4.0)
    return model.double().eval()


def logits(model, batch):
    with torch.inference_mode():
        return model(batch)


def minkowski(p, q):
    return p[3] * q[3] - p[0] * q[0] - p[1] * q[1] - p[2] * q[2]


def psi(value):
    return torch.sign(value) * torch.log(1 + value.abs())


def reference(model, batch):
    """Jet by jet and pair by pair, with undivided layers as in the paper."""
    results = []
    for constituents in batch.values.split(batch.lengths.tolist()):
        beams = torch.tensor([[0, 0, 1, 2**0.5], [0, 0, -1, 2**0.5]], dtype=torch.float64)
        x = torch.cat((beams, constituents))
        n = len(x)
        scalars = torch.zeros(n, 2, dtype=torch.float64)
        for i in range(n):
            scalars[i, 1 if i < 2 else 0] = minkowski(x[i], x[i]).clamp(min=0).sqrt()
        h = model.embedding(scalars)
        for layer in model.layers:
            new_x, messages = x.clone(), torch.zeros_like(h)
            for i in range(n):
                for j in range(n):
                    if i == j:
                        continue
                    difference = x[i] - x[j]
                    invariants = torch.stack((psi(minkowski(difference, difference)), psi(minkowski(x[i], x[j]))))
                    message = torch.cat((h[i], h[j], invariants))[None]
                    message = layer.message_norm(layer.message_in(message)).relu()
                    message = layer.message_out(message).relu()
                    message = message * layer.gate(message).sigmoid()
                    messages[i] += message[0]
                    if not layer.last:
                        move = (difference * layer.move(message)[0]).clamp(-100, 100)
                        new_x[i] += layer.coordinate_step * move / (n - 1)
            x, h = new_x, h + layer.update(torch.cat((h, messages, scalars), 1))
        results.append(model.out(h.mean(0)))
    return torch.stack(results)


def test_agrees_with_a_plain_implementation():
    model, batch = make_model(), momentum_batch([4, 0, 1, 7, 4])
    with torch.inference_mode():
        # squares of light particles: 1e-16 of E^2 about 1e4, whose root enters: 1e-6
        torch.testing.assert_close(model(batch), reference(model, batch), rtol=1e-6, atol=1e-6)


def transformations(beams):
    """What leaves the output as it is, and what does not: beams along z stay the same under rotations about z only."""
    rotations = [rotation(2, 0.7), rotation(2, -2.0)]
    others = [rotation(0, 0.5), boost(1, 0.3), boost(2, -1.1), boost(0, 0.8) @ rotation(1, 1.0)]
    return (rotations, others) if beams else (rotations + others, [])


@pytest.mark.parametrize("beams", [True, False])
def test_lorentz_invariance(beams):
    model, batch = make_model(beams=beams), momentum_batch(LENGTHS)
    symmetries, broken = transformations(beams)
    before = logits(model, batch)
    for matrix in symmetries:
        # massless particles get masses of 1e-6 GeV from rounding
        torch.testing.assert_close(logits(model, transformed(batch, matrix)), before, rtol=1e-6, atol=1e-6)
    for matrix in broken:
        # beams break these, though random weights hardly look at them: the loop above could not fail otherwise
        assert (logits(model, transformed(batch, matrix)) - before).abs().max() > 3e-5


@pytest.mark.parametrize("beams", [True, False])
def test_lorentz_invariance_in_single_precision(beams):
    model = make_model(beams=beams).float()
    batch = momentum_batch(LENGTHS, dtype=torch.float32)
    before = logits(model, batch)
    for matrix in transformations(beams)[0]:
        # E^2 up to 1e4 rounds by 1e-3 GeV^2: masses of light particles change by up to some 1e-2 GeV
        torch.testing.assert_close(logits(model, transformed(batch, matrix)), before, rtol=0.01, atol=0.01)


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


def test_published_size():
    """The layers of the published network have 224,072 parameters, the "224k" of the paper."""
    model = build_model(complete_architecture("lorentznet", {}), INPUTS, torch.zeros(4), torch.ones(4))
    assert sum(parameter.numel() for parameter in model.parameters()) == 224072


def test_all_parameters_learn():
    model = make_model(dropout=0.0).train()
    model(momentum_batch(LENGTHS)).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    # a bias before batch normalisation has none; all other parameters matter
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad.abs().max() > 0, name


def test_momenta_are_needed():
    with pytest.raises(UserError, match="part_pz"):
        build_model({}, ["part_px", "part_py", "part_energy"], torch.zeros(3), torch.ones(3))
