"""pyhf without its chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pyhf() -> Iterator[None]:
    """Silence pyhf's line per modifier, and one warning: it uses a resolver that jsonschema has deprecated."""
    logging.getLogger("pyhf").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="jsonschema.RefResolver is deprecated", category=DeprecationWarning)
        yield
