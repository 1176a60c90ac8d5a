"""Seeds derived from the one root seed of the configuration.

A job's seed depends on the root seed, the rule and the wildcards, never on scheduling, so results do not depend on
`--cores`, on the order of jobs, or on an interruption.
"""

from __future__ import annotations

import hashlib

# Pythia accepts seeds up to 900 000 000, the narrowest range of the libraries used here.
LARGEST_SEED = 900_000_000


def derive_seed(root: int, rule: str, *wildcards: object) -> int:
    """Derive the seed of one job.

    Parameters
    ----------
    root : int
        Root seed of the configuration.
    rule : str
        Name of the rule.
    *wildcards : object
        Values of the job's wildcards, in a fixed order.

    Returns
    -------
    int
        Seed in 1..900 000 000, valid for Pythia, NumPy, torch and xgboost.
    """
    text = "\x1f".join([str(root), rule, *map(str, wildcards)])
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") % LARGEST_SEED + 1
