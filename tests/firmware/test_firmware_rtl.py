"""From a quantised network to Verilog and through its simulation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_network import PART, write_toy

from lhcml.common.errors import UserError
from lhcml.common.files import read_json
from lhcml.firmware import simulate_rtl, write_rtl
from lhcml.firmware.encoding import Encoding
from lhcml.firmware.stimuli import read_stimuli
from lhcml.firmware.write_rtl import UNCERTAINTY, check_trace, trace_file, trace_network, write_project

# NumPy 2 on how Keras hands it a torch tensor; nothing here can change it
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    write_toy(folder)
    write_rtl.main(
        [
            "--model", str(folder / "model.keras"), "--encoding", str(folder / "encoding.json"),
            "--stimuli", str(folder / "stimuli.npz"), "--clock-mhz", "200", "--part", PART,
            "--project", str(folder / "rtl"), "--output", str(folder / "rtl.json"),
        ]
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def logic(toy: Path) -> Any:
    return trace_file(toy / "model.keras", toy / "encoding.json")


def test_the_simulated_verilog_equals_the_network_and_has_the_latency_it_states(toy: Path) -> None:
    simulate_rtl.main(
        [
            "--project", str(toy / "rtl"), "--description", str(toy / "rtl.json"),
            "--stimuli", str(toy / "stimuli.npz"), "--output", str(toy / "simulation.json"),
        ]
    )  # fmt: skip
    result = read_json(toy / "simulation.json")
    assert (result["events"], result["mismatches"]) == (400, 0)
    assert result["latency_cycles"] == read_json(toy / "rtl.json")["latency_cycles"]


def test_the_description(toy: Path) -> None:
    document = read_json(toy / "rtl.json")
    # the words of the encoding, ap_fixed<6, 3>, four of them
    assert document["inputs"] == {"port": "model_inp", "count": 4, "bits": 6, "fraction": 3, "signed": True}
    assert document["outputs"]["count"] == 1
    # a sum of squares has no sign
    assert document["outputs"]["signed"] is False
    assert document["initiation_interval"] == 1
    assert document["latency_ns"] == pytest.approx(document["latency_cycles"] * 1000 / 200)
    # registers at the input and at the output at least
    assert document["latency_cycles"] >= 2
    assert document["register_bits"] > 0
    assert document["estimated_lut"] > 0
    assert document["clock_mhz_without_retiming"] == pytest.approx(
        1000 * (1 - UNCERTAINTY) / document["slowest_stage_ns"],
        rel=1e-3,  # rounded
    )


def test_the_project_tells_neither_time_nor_place(toy: Path, logic: Any, tmp_path: Path) -> None:
    write_project(logic, tmp_path / "elsewhere", 200.0, PART)

    def content(folder: Path) -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    first, second = content(toy / "rtl"), content(tmp_path / "elsewhere")
    assert "build_vivado_prj.tcl" in first
    assert PART.encode() in first["build_vivado_prj.tcl"]
    assert first == second
    assert not any(str(toy).encode() in text for text in first.values())


def test_a_slower_clock_has_fewer_stages(logic: Any, tmp_path: Path) -> None:
    stages = [write_project(logic, tmp_path / str(clock), clock, PART) for clock in (40.0, 200.0, 400.0)]
    latencies = [stage["latency_cycles"] for stage in stages]
    assert latencies[0] < latencies[1] < latencies[2]
    # one stage holds all at 40 MHz: registers at both ends
    assert latencies[0] == 2
    assert stages[0]["slowest_stage_ns"] < (1 - UNCERTAINTY) * 25
    assert stages[2]["register_bits"] > stages[0]["register_bits"]


def test_a_difference_from_the_reference_stops_before_writing(toy: Path, logic: Any) -> None:
    stimuli = read_stimuli(toy / "stimuli.npz")
    check_trace(logic, stimuli)
    outputs = np.array(stimuli.outputs)
    outputs[7] += 2.0**-10
    with pytest.raises(UserError, match=r"differs from the quantised model in 1 of 400 events; event 7.*") as error:
        check_trace(logic, replace(stimuli, outputs=outputs))
    assert "1 bit" in error.value.fix


def test_errors_of_the_command(toy: Path, logic: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clock of 0\.0 MHz"):
        write_project(logic, tmp_path / "rtl", 0.0, PART)
    with pytest.raises(UserError, match="inputs of a network is not known"):
        trace_file(toy / "model.keras", None)
    broken = tmp_path / "broken.keras"
    broken.write_bytes(b"PK")
    with pytest.raises(UserError, match=r"broken\.keras as a Keras model"):
        trace_file(broken, toy / "encoding.json")


def test_a_layer_without_logic_is_named() -> None:
    import keras

    entry = keras.Input((4,))
    model = keras.Model(entry, keras.layers.LayerNormalization(name="norm")(entry))
    encoding = Encoding(("a", "b", "c", "d"), (0.0,) * 4, (1.0,) * 4, 6, 3)
    with pytest.raises(UserError, match=r"norm \(LayerNormalization\)") as error:
        trace_network(model, encoding)
    assert "QDense" in error.value.fix
