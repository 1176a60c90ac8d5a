"""Load a quantised network, the reference of all gates."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lhcml.common.errors import UserError


def load_network(path: Path) -> Any:
    """Return the Keras model of a file.

    Raises
    ------
    UserError
        If the file is missing, damaged, or of another program.
    """
    # Keras takes its backend from the environment when it is first imported
    os.environ["KERAS_BACKEND"] = "torch"
    import hgq  # noqa: F401  the quantised layers register themselves
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises many types on damaged files
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise UserError(f"cannot read {path} as a Keras model ({reason})", "delete it and run again") from error
