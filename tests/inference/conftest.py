from __future__ import annotations

import json
from pathlib import Path

import inference_toys
import pytest
from inference_toys import MEASUREMENT, build

from lhcml.inference import fit_workspace, scan_limit, tabulate_yields


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with toy features, scores and cutflow."""
    root = tmp_path_factory.mktemp("toys")
    inference_toys.write_toys(root)
    return root


@pytest.fixture(scope="session")
def made(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with everything made from the toy measurement."""
    out = tmp_path_factory.mktemp("made")
    build(toys, out, MEASUREMENT)
    config = json.dumps(MEASUREMENT)
    arguments = ["--workspace", str(out / "workspace.json"), "--config", config]
    fit_workspace.main([*arguments, "--output", str(out / "fit.json")])
    scan_limit.main([*arguments, "--output", str(out / "limit.json")])
    tabulate_yields.main(
        [*arguments, "--fit", str(out / "fit.json"), "--description", str(out / "meta.json"),
         "--json", str(out / "yields.json"), "--csv", str(out / "yields.csv")]
    )  # fmt: skip
    return out
