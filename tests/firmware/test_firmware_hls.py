"""From a quantised network to HLS projects, and their emulation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_network import PART, write_toy

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.firmware.convert_network import convert, layer_reuse, main, require_supported, supported_layers
from lhcml.firmware.load_network import load_network
from lhcml.firmware.stimuli import read_stimuli, write_stimuli

# NumPy 2 on how Keras hands it a torch tensor; nothing here can change it
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder)
    return folder


@pytest.fixture(scope="module")
def model(toy: Path) -> Any:
    return load_network(toy / "model.keras")


def arguments(toy: Path, folder: Path, backend: str, stimuli: Path | None = None) -> list[str]:
    return [
        "--model", str(toy / "model.keras"), "--stimuli", str(stimuli or toy / "stimuli.npz"), "--backend", backend,
        "--reuse", "1", "--clock-mhz", "200", "--part", PART,
        "--project", str(folder / backend), "--output", str(folder / f"{backend}.json"),
    ]  # fmt: skip


def test_the_emulation_equals_the_network(toy: Path, tmp_path: Path) -> None:
    main(arguments(toy, tmp_path, "vitis"))
    result = read_json(tmp_path / "vitis.json")
    assert (result["backend"], result["reuse"], result["compiled"]) == ("vitis", 1, True)
    assert (result["events"], result["mismatches"], result["max_abs_diff"]) == (400, 0, 0)
    project = tmp_path / "vitis"
    assert {"build_prj.tcl", "project.tcl", "build_opt.tcl"} <= {path.name for path in project.iterdir()}
    assert PART in (project / "project.tcl").read_text()
    # nothing tells where it was made
    texts = [path for path in project.rglob("*") if path.is_file() and str(tmp_path).encode() in path.read_bytes()]
    assert texts == []
    assert not list(project.rglob("*.so"))


def test_a_wrong_reference_fails_the_job(toy: Path, tmp_path: Path) -> None:
    good = read_stimuli(toy / "stimuli.npz")
    wrong = np.array(good.outputs)
    wrong[5] += 0.25
    write_stimuli(tmp_path / "wrong.npz", good.inputs, wrong, good.events)
    with pytest.raises(UserError, match="differs from the quantised model in 1 of 400 events; event 5"):
        main(arguments(toy, tmp_path, "vitis", tmp_path / "wrong.npz"))
    assert not (tmp_path / "vitis.json").exists()


def test_without_its_compiler_a_oneapi_project_is_written_only(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    main(arguments(toy, tmp_path, "oneapi"))
    result = read_json(tmp_path / "oneapi.json")
    assert result["compiled"] is False
    assert result["mismatches"] is None
    assert (tmp_path / "oneapi/CMakeLists.txt").exists()
    # hls4ml names classes by a random stamp, which would make each project another one
    assert "ModelClassFloat_emulation" in (tmp_path / "oneapi/src/model_bridge.cpp").read_text()


def test_without_a_compiler_the_emulation_says_so(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"no C\+\+ compiler"):
        main(arguments(toy, tmp_path, "vitis"))


def test_a_layer_takes_the_nearest_reuse_factor_it_can(model: Any, tmp_path: Path) -> None:
    graph = convert(model, tmp_path / "hls", "vitis", 3, 200.0, PART)
    # 4 x 3 products can be done 1, 2, 4 or 12 times by one multiplier, 3 x 2 products 1, 3 or 6 times
    assert layer_reuse(graph) == {"hidden": 2, "mu": 3}


def test_a_layer_that_is_not_converted_is_named(model: Any) -> None:
    import keras

    class Mystery(keras.layers.Layer):  # type: ignore[misc]
        def call(self, values: Any) -> Any:
            return values

    require_supported(model)
    entry = keras.Input((4,))
    unknown = keras.Model(entry, Mystery(name="oracle")(entry))
    with pytest.raises(UserError, match=r"oracle \(Mystery\)") as error:
        require_supported(unknown)
    assert "QDense" in error.value.fix
    assert "QSum" not in supported_layers()


@pytest.mark.parametrize(("reuse", "clock"), [(0, 200.0), (1, 0.0)])
def test_settings_that_make_no_sense(model: Any, tmp_path: Path, reuse: int, clock: float) -> None:
    with pytest.raises(UserError, match="reuse factor"):
        convert(model, tmp_path / "hls", "vitis", reuse, clock, PART)
