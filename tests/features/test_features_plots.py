"""The figures: their numbers by hand, and that they are drawn from feature files."""

import json

import awkward as ak
import numpy as np
import pytest
from feature_toys import CONFIG, skim_columns, toy_jet, write_skim

from lhcml.common.errors import UserError
from lhcml.features import build_features, plot_features


def test_normalised_histogram_by_hand():
    heights, errors = plot_features.normalised_histogram(
        [0.5, 0.5, 1.5, 7.0], [1.0, 2.0, 3.0, 4.0], np.array([0.0, 1.0, 2.0])
    )
    # the weight out of range counts in the norm of 10
    assert heights == pytest.approx([0.3, 0.3])
    assert errors == pytest.approx([np.sqrt(5) / 10, 0.3])


def test_histogram_without_entries_is_zero():
    heights, errors = plot_features.normalised_histogram([], [], np.array([0.0, 1.0]))
    assert list(heights) == list(errors) == [0]


def test_average_lund_plane_by_hand():
    # two jets of weights 1 and 3; one emission of the second is not primary, one is out of range
    plane = plot_features.average_lund_plane(
        ak.Array([[-1.0], [-1.0, -1.0, -20.0]]), ak.Array([[0.5], [0.5, 0.5, 0.5]]), ak.Array([[0], [0, 1, 0]]),
        weights=[1.0, 3.0],
    )  # fmt: skip
    (low, high), (bottom, top) = plot_features.LUND_RANGE
    area = (high - low) / plot_features.LUND_BINS[0] * (top - bottom) / plot_features.LUND_BINS[1]
    # one primary emission a jet in one bin
    assert plane.sum() * area == pytest.approx(1.0)
    assert np.count_nonzero(plane) == 1


def test_figures_are_drawn(tmp_path):
    rng = np.random.default_rng(2)
    for dataset, jets in (("top", [[toy_jet(rng, 20)] for _ in range(5)]), ("qcd", [[]])):
        skim = write_skim(tmp_path / f"{dataset}.root", skim_columns(jets))
        output = tmp_path / dataset / "nominal/0.parquet"
        build_features.main(["--input", str(skim), "--config", json.dumps(CONFIG), "--output", str(output)])
    files = [str(tmp_path / dataset / "nominal/0.parquet") for dataset in ("top", "qcd")]
    plots = ["--observables", str(tmp_path / "o.png"), "--multiplicity", str(tmp_path / "m.png"),
             "--lund-planes", str(tmp_path / "l.png")]  # fmt: skip
    plot_features.main(["--features", *files, *plots])
    for name in "oml":
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(UserError, match="no jet in any of"):
        plot_features.main(["--features", files[1], *plots])
