"""Jets given by four-momenta, for the families that compare constituents with each other."""

import math

import torch

from lhcml.taggers.packing import make_batch

MOMENTUM = ["part_px", "part_py", "part_pz", "part_energy"]


def momenta(lengths, seed=0):
    """Return px, py, pz, E of collimated jets, float64, shape (rows, 4), and their lengths."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.as_tensor(lengths)
    rows = int(lengths.sum())

    def normal(width):
        return width * torch.randn(rows, generator=generator, dtype=torch.float64)

    # azimuths around pi: differences must wrap; masses of a pion and of a photon
    pt, eta, phi = 1 + normal(20.0).abs(), 0.5 + normal(0.3), torch.pi + normal(0.3)
    mass = torch.where(normal(1.0) > 0, 0.14, 0.0)
    px, py, pz = pt * phi.cos(), pt * phi.sin(), pt * eta.sinh()
    return torch.stack((px, py, pz, torch.sqrt(px**2 + py**2 + pz**2 + mass**2)), 1), lengths


def momentum_batch(lengths, seed=0, dtype=torch.float64):
    """Return a batch with four-momenta as inputs."""
    values, lengths = momenta(lengths, seed)
    return make_batch(values.to(dtype), lengths)


def rotation(axis, angle):
    """Return the 4x4 matrix that rotates (px, py, pz, E) about axis 0, 1 or 2."""
    matrix = torch.eye(4, dtype=torch.float64)
    a, b = (i for i in range(3) if i != axis)
    cos, sin = math.cos(angle), math.sin(angle)
    matrix[a, a], matrix[a, b], matrix[b, a], matrix[b, b] = cos, -sin, sin, cos
    return matrix


def boost(axis, rapidity):
    """Return the 4x4 matrix that boosts (px, py, pz, E) along axis 0, 1 or 2."""
    matrix = torch.eye(4, dtype=torch.float64)
    cosh, sinh = math.cosh(rapidity), math.sinh(rapidity)
    matrix[axis, axis], matrix[axis, 3], matrix[3, axis], matrix[3, 3] = cosh, sinh, sinh, cosh
    return matrix


def transformed(batch, matrix):
    """Return the batch with all four-momenta transformed, computed in double precision."""
    return make_batch((batch.values.double() @ matrix.T).to(batch.values.dtype), batch.lengths)
