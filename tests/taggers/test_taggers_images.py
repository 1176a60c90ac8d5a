"""Jet images: pixels by hand, range, mirroring; the networks on them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhcml.common.errors import UserError
from lhcml.taggers.families import build_network, complete_architecture, default_inputs
from lhcml.taggers.images import brightest_quadrant_first, form_images
from lhcml.taggers.packing import make_batch


def images_of(jets, pixels, half_width):
    """Return the images of jets given as lists of (pT, first, second)."""
    values = torch.tensor([row for jet in jets for row in jet], dtype=torch.float32).view(-1, 3)
    batch = make_batch(values, torch.tensor([len(jet) for jet in jets]))
    return form_images(*values.unbind(1), batch, pixels, half_width)


def test_pixels_by_hand():
    jets = [
        # 4 x 4 pixels of 0.5 from -1 to 1; most pT at positive coordinates, so nothing is mirrored
        [(6.0, 0.1, 0.6), (2.0, 0.4, 0.9), (1.0, -0.9, 0.0), (1.0, -0.1, -0.6)],
        [],
        # the brightest quadrant is first < 0, second > 0: mirrored along the first axis
        [(3.0, -0.7, 0.2), (1.0, 0.2, 0.2)],
    ]
    expected = torch.zeros(3, 4, 4)
    expected[0, 2, 3] = 0.8
    expected[0, 0, 2] = 0.1
    expected[0, 1, 0] = 0.1
    expected[2, 3, 2] = 0.75
    expected[2, 1, 2] = 0.25
    torch.testing.assert_close(images_of(jets, 4, 1.0), expected)


def test_constituents_outside_do_not_count():
    inside = [(6.0, 0.1, 0.6), (2.0, 0.4, 0.9)]
    # at the lower edge is inside, at the upper edge is not
    edges = [(1.0, -1.0, 0.3), (5.0, 1.0, 0.3), (5.0, 0.3, 1e30), (5.0, -1.001, 0.3)]
    images = images_of([inside + edges, inside + edges[:1], [(5.0, 2.0, 2.0)]], 4, 1.0)
    torch.testing.assert_close(images[0], images[1])
    assert images[0].sum() == pytest.approx(1.0)
    assert images[2].abs().sum() == 0, "nothing inside: an image of zeros, not of NaN"


def random_jets(seed, lengths=(30, 0, 1, 55)):
    rng = np.random.default_rng(seed)
    rows = sum(lengths)
    values = torch.from_numpy(
        np.stack([rng.exponential(size=rows), *rng.normal(0, 0.3, size=(2, rows))], axis=1).astype(np.float32)
    )
    return values, make_batch(values, torch.tensor(lengths))


def test_against_histograms():
    values, batch = random_jets(1)
    first, second = brightest_quadrant_first(*values.unbind(1), batch)
    images = form_images(*values.unbind(1), batch, 40, 0.8)
    edges = np.linspace(-0.8, 0.8, 41)
    for number, image in enumerate(images.numpy()):
        mine = (batch.jet == number).numpy()
        counts, _, _ = np.histogram2d(
            first.numpy()[mine], second.numpy()[mine], bins=(edges, edges), weights=values[:, 0].numpy()[mine]
        )
        np.testing.assert_allclose(image, counts / max(counts.sum(), 1e-30), atol=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, -1]), st.sampled_from([1, -1]), st.floats(0.01, 100))
def test_mirroring_and_scaling_change_nothing(seed, first, second, factor):
    values, batch = random_jets(seed)
    changed = values * torch.tensor([factor, first, second])
    torch.testing.assert_close(
        form_images(*changed.unbind(1), batch, 10, 0.8), form_images(*values.unbind(1), batch, 10, 0.8)
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_brightest_quadrant_is_positive(seed):
    values, batch = random_jets(seed)
    image = form_images(*values.unbind(1), batch, 40, 0.8 * 5)  # all inside
    quadrants = torch.stack([image[:, i : i + 20, j : j + 20].sum(dim=(1, 2)) for i in (0, 20) for j in (0, 20)], dim=1)
    filled = batch.lengths > 0
    # float32 sums of up to 55 terms
    assert (quadrants[filled, 3] >= quadrants[filled].max(dim=1).values - 1e-5).all()
    torch.testing.assert_close(image.sum(dim=(1, 2)), filled.float())


def test_constituents_of_one_pixel_are_one():
    together = images_of([[(2.0, 0.11, 0.12), (1.0, -0.3, 0.2)]], 8, 0.8)
    apart = images_of([[(0.5, 0.11, 0.12), (1.0, -0.3, 0.2), (1.5, 0.15, 0.17)]], 8, 0.8)
    torch.testing.assert_close(together, apart)


@pytest.mark.parametrize("family", ["cnn", "resnext"])
def test_network_sees_the_image_only(family):
    small = {"cnn": {"channels": [[4], [4]], "dense": [8]}, "resnext": {"blocks": [1], "inner": [4], "outer": [8]}}
    if family == "resnext":
        small[family] |= {"groups": 2, "first": 4}
    torch.manual_seed(0)
    architecture = complete_architecture(family, small[family])
    inputs = ["part_dr", "aligned_dphi", "part_pt", "aligned_deta"]
    model = build_network(family, architecture, inputs, torch.zeros(4), torch.ones(4)).eval()
    values, batch = random_jets(3)
    scores = [
        model(make_batch(torch.stack([other, values[:, 2], values[:, 0], values[:, 1]], dim=1), batch.lengths))
        for other in (torch.zeros(len(values)), torch.ones(len(values)))
    ]
    assert torch.equal(*scores)
    reference = build_network(family, architecture, default_inputs(family), torch.zeros(3), torch.ones(3)).eval()
    reference.load_state_dict(model.state_dict())
    torch.testing.assert_close(scores[0], reference(batch))
    with pytest.raises(UserError, match="part_pt"):
        build_network(family, architecture, ["aligned_deta", "aligned_dphi"], torch.zeros(2), torch.ones(2))
