"""A file system that takes no more: every writer fails loudly, and nothing is left under any name.

A limit on the size of files, which needs no permission, takes the place of a full disk.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lhcml.common.errors import UserError
from lhcml.common.files import write_atomic, write_json, write_parquet

VALUES = np.random.default_rng(1).normal(size=30_000)


@contextmanager
def limit(size: int) -> Iterator[None]:
    """Let no file grow above `size` bytes inside the block; Python ignores the signal and raises EFBIG instead."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_figure(path: Path) -> None:
    from lhcml.common.style import new_figure, save_figure

    figure, axes = new_figure()
    axes.plot(VALUES[:2000])
    save_figure(figure, path)


def write_events(path: Path) -> None:
    from lhcml.samples.nanoaod import EventFile

    with EventFile(path) as file:
        file.add({"x": VALUES})


def write_skim(path: Path) -> None:
    from lhcml.skim.write_skim import SkimWriter

    with write_atomic(path) as temporary, SkimWriter(temporary) as writer:
        writer.add({"event": np.arange(len(VALUES), dtype=np.uint64), "x": VALUES})


def write_numpy(path: Path) -> None:
    from lhcml.firmware.stimuli import write_stimuli

    write_stimuli(path, VALUES.reshape(-1, 1), VALUES, len(VALUES))


def write_hdf5(path: Path) -> None:
    import h5py

    with write_atomic(path) as temporary, h5py.File(temporary, "w") as file:
        file["x"] = VALUES


WRITERS: dict[str, Callable[[Path], Any]] = {
    "x.json": lambda path: write_json(path, VALUES.tolist()),
    "x.parquet": lambda path: write_parquet(path, {"x": VALUES}),
    "x.png": write_figure,
    "events.root": write_events,
    "skim.root": write_skim,
    "stimuli.npz": write_numpy,
    "x.h5": write_hdf5,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_writer_that_finds_no_room_names_the_file_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with limit(10_000), pytest.raises(UserError, match=rf"cannot write .*{name}[\s\S]*too large[\s\S]*fix: make room"):
        WRITERS[name](tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    # and there was nothing else in the way
    WRITERS[name](tmp_path / name)
    assert (tmp_path / name).stat().st_size > 10_000


def test_libraries_with_errors_of_their_own_leave_nothing(tmp_path: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {"x": torch.from_numpy(VALUES)}

    def write(save: Callable[[Any, Path], Any]) -> None:
        with write_atomic(tmp_path / "model") as temporary:
            save(tensors, temporary)

    with limit(10_000), pytest.raises(RuntimeError, match="unexpected pos"):
        write(torch.save)
    with limit(10_000), pytest.raises(SafetensorError, match="too large"):
        write(save_file)
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_their_errors_name_file_and_cause(disk: Path) -> None:
    import torch

    def write() -> None:
        with write_atomic(disk / "model") as temporary:
            torch.save({"x": torch.from_numpy(np.tile(VALUES, 10))}, temporary)

    with pytest.raises(UserError, match=r"cannot write .*/model: [\s\S]*\(0 MB are free\)[\s\S]*fix: make room"):
        write()
    assert list(disk.iterdir()) == []


def test_an_error_that_is_not_of_the_disk_stays_what_it_is(tmp_path: Path) -> None:
    def write() -> None:
        with write_atomic(tmp_path / "x"):
            (tmp_path / "missing").read_text()

    with pytest.raises(FileNotFoundError):
        write()


def test_boosted_trees_lose_no_byte_when_the_disk_fills_up_in_the_last_ones(tmp_path: Path, root: Path) -> None:
    """`Booster.save_model` would: its last buffer is lost without an error."""
    import xgboost

    features = VALUES[:1500].reshape(300, 5)
    booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(features, VALUES[:300]), 20)
    content = booster.save_raw("json")
    booster.save_model(tmp_path / "saved.json")
    assert (tmp_path / "saved.json").read_bytes() == bytes(content)

    def write() -> None:
        with write_atomic(tmp_path / "model.json") as temporary:
            temporary.write_bytes(content)

    with limit(len(content) - 100), pytest.raises(UserError, match="cannot write"):
        write()
    assert not (tmp_path / "model.json").exists()
