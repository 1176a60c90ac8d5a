"""What a trained model was made from: source files, library versions and configuration, as digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lhcml.common.sources import import_closure


def source_digest(*modules: str) -> str:
    """Return the SHA-256 of the source files of modules and of their import closures inside the package."""
    root = Path(__file__).resolve().parents[2]
    files = sorted({path for module in modules for path in import_closure(module, root)})
    total = hashlib.sha256()
    for path in files:
        total.update(str(path.relative_to(root)).encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def value_digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
