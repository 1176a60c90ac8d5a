"""Types of the columns that the modules of this stage hand to each other."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Integers: TypeAlias = "NDArray[np.integer[Any]]"
Mask: TypeAlias = "NDArray[np.bool_]"
