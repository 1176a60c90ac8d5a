from __future__ import annotations

from pathlib import Path

import inference_toys
import pytest


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with toy features, scores and cutflow."""
    root = tmp_path_factory.mktemp("toys")
    inference_toys.write_toys(root)
    return root
