"""What every network family must satisfy, each in a small setting: jets apart from each other, any length."""

import numpy as np
import pytest
import torch

from lhcml.taggers.families import build_network, complete_architecture, default_inputs
from lhcml.taggers.jets import Jets
from lhcml.taggers.packing import PackedJets
from lhcml.taggers.training import predict

# family -> a small architecture
SMALL = {
    "pfn": {"phi": [20, 30], "f": [20]},
    "efn": {"phi": [20, 30], "f": [20]},
    "equivariant_efn": {"phi": [20, 30], "equivariant": [20, 16], "f": [20]},
    "pcnn": {"first": 8, "stages": [[12, 12], [16]], "dense": 20},
    "recurrent": {"state": 16, "f": [20]},
    "cnn": {"pixels": 20, "channels": [[6, 6], [6]], "dense": [16]},
    "resnext": {"pixels": 24, "first": 8, "blocks": [1, 2], "inner": [4, 8], "outer": [8, 12], "groups": 2},
}
# families that do not look at the order of the constituents
SETS = ("pfn", "efn", "equivariant_efn", "cnn", "resnext")
# number of parameters with the default settings and inputs, beside the published one
COUNTS = {
    "pfn": 82_458,  # 82k (arXiv:1902.09914)
    "efn": 82_358,  # 82k (arXiv:1902.09914)
    "equivariant_efn": 99_430,  # from the settings of the authors' code
    "pcnn": 348_386,  # 348k (arXiv:1902.08570)
    "recurrent": 76_482,  # not published
    "cnn": 609_666,  # 610k (arXiv:1902.09914)
    "resnext": 1_453_090,  # 1.46M (arXiv:1902.09914)
}


def build(family, architecture=None):
    torch.manual_seed(3)
    inputs = default_inputs(family)
    mean, scale = torch.linspace(0.1, 0.2, len(inputs)), torch.linspace(0.5, 1.0, len(inputs))
    settings = complete_architecture(family, SMALL[family] if architecture is None else architecture)
    return build_network(family, settings, inputs, mean, scale).eval()


def random_jets(family, lengths, seed=0):
    """Return jets whose angles are within about 0.6, pT positive and falling, other inputs of order 1."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths, dtype=np.int64)
    rows = int(lengths.sum())
    columns = []
    for name in default_inputs(family):
        columns.append(rng.normal(size=rows) * (0.2 if "deta" in name or "dphi" in name else 1.0))
        if name == "part_pt":
            pt = 10 * rng.exponential(size=rows) + 0.5
            columns[-1] = pt[np.lexsort((-pt, np.repeat(np.arange(len(lengths)), lengths)))]
    return Jets(np.stack(columns, axis=1).astype(np.float32), lengths)


@pytest.mark.parametrize("family", COUNTS)
def test_number_of_parameters(family):
    model = build(family, {})
    assert sum(tensor.numel() for tensor in model.parameters()) == COUNTS[family]


@pytest.mark.parametrize("family", SMALL)
def test_jets_do_not_see_each_other(family):
    model = build(family)
    jets = random_jets(family, [5, 0, 1, 7, 0, 30, 2])
    packed = PackedJets(jets)
    together = predict(model, packed)
    alone = [predict(model, one_jet(jets, number))[0] for number in range(len(jets))]
    # float32, and the kernels of a product depend on its size
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    assert np.isfinite(together).all()
    assert together[1] == together[4], "empty jets are alike"
    assert np.ptp(np.delete(together, 4)) > 1e-3, "other jets are not"


def one_jet(jets, number):
    begin = int(jets.lengths[:number].sum())
    length = jets.lengths[number]
    return PackedJets(Jets(jets.values[begin : begin + length], jets.lengths[number : number + 1]))


@pytest.mark.parametrize("family", SMALL)
def test_only_empty_jets(family):
    scores = predict(build(family), PackedJets(random_jets(family, [0, 0, 0])))
    assert np.isfinite(scores).all()
    assert np.ptp(scores) == 0


@pytest.mark.parametrize("family", SETS)
def test_order_of_constituents_does_not_matter(family):
    model = build(family)
    jets = random_jets(family, [40])
    shuffled = Jets(jets.values[np.random.default_rng(1).permutation(40)], jets.lengths)
    # not bitwise: float32 sums in another order
    np.testing.assert_allclose(
        predict(model, PackedJets(shuffled)), predict(model, PackedJets(jets)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("family", SMALL)
def test_every_parameter_learns(family):
    model = build(family).train()
    packed = PackedJets(random_jets(family, [25, 0, 12, 1, 30, 18, 9, 40] * 4))
    labels = torch.arange(32) % 2
    torch.nn.functional.cross_entropy(model(packed.take(torch.arange(32))), labels).backward()
    without = [name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.any()]
    assert not without
    assert all(tensor.grad.isfinite().all() for tensor in model.parameters())
