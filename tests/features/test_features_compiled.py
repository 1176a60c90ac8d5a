"""The cache of compiled kernels must follow the sources of all kernels."""

import os
import subprocess
import sys
from pathlib import Path

from lhcml.features import compiled

IMPORTS = "from lhcml.features.compiled import kernel\n"
CALLEE = IMPORTS + "@kernel()\ndef value():\n    return {}\n"
CALLER = IMPORTS + "from lhcml.features.callee import value\n@kernel()\ndef twice():\n    return 2 * value()\n"


def test_hash_follows_kernels_only(tmp_path):
    (tmp_path / "one.py").write_text(CALLEE.format(1))
    (tmp_path / "other.py").write_text("pass\n")
    before = compiled.source_hash(tmp_path)
    (tmp_path / "other.py").write_text("print()\n")
    assert compiled.source_hash(tmp_path) == before
    (tmp_path / "one.py").write_text(CALLEE.format(2))
    assert compiled.source_hash(tmp_path) != before


def test_every_kernel_uses_the_decorator(root):
    for path in (root / "src/lhcml").rglob("*.py"):
        assert path.name == "compiled.py" or "njit" not in path.read_text(), (
            f"{path}: use lhcml.features.compiled.kernel"
        )


def test_caller_sees_an_edit_of_its_callee(tmp_path):
    """With a copy of the real decorator: numba alone would return the number compiled first."""
    package = tmp_path / "lhcml/features"
    package.mkdir(parents=True)
    text = Path(compiled.__file__).read_text()
    (package / "compiled.py").write_text(text)
    (package / "caller.py").write_text(CALLER)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    results = []
    for number in (1, 20):
        (package / "callee.py").write_text(CALLEE.format(number))
        command = [sys.executable, "-c", "from lhcml.features.caller import twice; print(twice())"]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        results.append(int(done.stdout))
    assert results == [2, 40]
    assert len(list((tmp_path / "cache").glob("kernels-*"))) == 2
