"""Published triangular discriminators of the six jet observables of arXiv:1911.09107, from published.json.

They were obtained on other events (Zenodo 3548091: Z bosons and jets at 14 TeV, Herwig as nature, Pythia as simulation;
more than a million events), so they say what can be reached rather than what these events allow. `verified`: whether a
value was read in its source, rather than remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lhcml.common.errors import UserError

# names here and in the papers
SYMBOLS = {
    "jet_mass": "m", "jet_multiplicity": "M", "jet_width": "w", "jet_lnrho": "ln rho", "jet_tau21": "tau21",
    "jet_zg": "zg",
}  # fmt: skip


def published_value(row: str | None, observable: str, published: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a published discriminator in units of 1e-3: value, entry, name, source, verified; None if none.

    Parameters
    ----------
    row : str or None
        Row of the published table, the key `published` of a method.
    observable : str
        Name of the observable.
    published : mapping
        Content of published.json.

    Raises
    ------
    UserError
        If there is no such row.
    """
    if row is None:
        return None
    if row not in published:
        raise UserError(
            f"`published: {row}` is not among the published methods", f"choose among {', '.join(published)}"
        )
    values = published[row]["triangular_e3"]
    symbol = SYMBOLS.get(observable)
    if symbol not in values:
        return None
    return {"value": values[symbol], "entry": row} | {
        key: published[row][key] for key in ("name", "source", "verified")
    }
