"""The decorator of the compiled kernels, with a cache on disk that follows their sources.

Numba compiles a function anew when its own file changes, not when a function changes that it calls in another file. The
kernels call each other across files, so each state of their sources gets a cache folder of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def source_hash(folder: Path) -> str:
    """Return a hash of the files of a folder that define kernels, which are those that import this module."""
    texts = [path.read_bytes() for path in sorted(folder.glob("*.py"))]
    kernels = [text for text in texts if b"import kernel" in text]
    return hashlib.sha256(b"\x1f".join(kernels)).hexdigest()[:16]


HERE = Path(__file__).parent
# NUMBA_CACHE_DIR if it is set, else beside the sources as numba itself does
CACHE = Path(numba.config.CACHE_DIR or HERE / "__pycache__") / f"kernels-{source_hash(HERE)}"


def kernel(**options: Any) -> Callable[[Function], Function]:
    """Return a decorator that compiles a function when first called, or takes it from the cache.

    Parameters
    ----------
    **options
        Options of `numba.njit`, e.g. `parallel`, `fastmath`.
    """

    def decorate(function: Function) -> Function:
        before = numba.config.CACHE_DIR
        # read when a function is decorated; other users of numba in the process keep their folder
        numba.config.CACHE_DIR = str(CACHE)
        try:
            compiled: Function = numba.njit(cache=True, **options)(function)
        finally:
            numba.config.CACHE_DIR = before
        return compiled

    return decorate
