"""Choose the tagger of a measurement: the one that separates the validation jets best.

Neither the jets it was trained on nor those that the templates are made of take part, so that the choice biases no
template.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.common.files import read_parquet, require_finite, write_json
from lhcml.inference.likelihood import Array


def validation_scores(files: Sequence[str | Path]) -> Array:
    """Return the scores of the validation jets of some score files, shape (N,).

    Raises
    ------
    UserError
        If there are fewer than two, or one is not finite.
    """
    import awkward as ak

    rows = read_parquet(list(files), ["split", "score"])
    scores = ak.to_numpy(rows["score"][rows["split"] == "validation"]).astype(float)
    where = str(Path(files[0]).parent.parent) if files else "no score file"
    if len(scores) < 2:
        raise UserError(f"{where}: {len(scores)} validation jets", "generate more events, or name the tagger yourself")
    require_finite("scores", scores, where)
    return scores


def area_under_curve(signal: Array, background: Array) -> tuple[float, float]:
    """Return the area under the ROC curve and its standard deviation.

    The probability that a signal jet scores above a background jet, ties counting half; the deviation from the
    variances of the jets' placements (DeLong et al., Biometrics 44 (1988) 837).

    Parameters
    ----------
    signal, background : array of shape (N,), (M,)
        Scores, at least two of each.
    """
    variance, placements = 0.0, np.empty(0)
    for one, other in ((background, signal), (signal, background)):
        ordered = np.sort(other)
        below = np.searchsorted(ordered, one, side="left") + np.searchsorted(ordered, one, side="right")
        placements = below / (2 * len(other))
        variance += float(np.var(placements, ddof=1)) / len(one)
    return float(placements.mean()), float(np.sqrt(variance))


def choose_tagger(scores: Mapping[str, Mapping[str, Sequence[str | Path]]]) -> dict[str, Any]:
    """Return the content of tagger.json.

    Parameters
    ----------
    scores : mapping
        For each candidate its score files: "signal" and "background".

    Returns
    -------
    dict
        "tagger" with the largest area; "candidates": AUC and uncertainty of each, best first.
    """
    candidates: list[dict[str, Any]] = []
    for name in sorted(scores):
        area, error = area_under_curve(
            validation_scores(scores[name]["signal"]), validation_scores(scores[name]["background"])
        )
        candidates.append({"tagger": name, "auc": area, "auc_uncertainty": error})
    candidates.sort(key=lambda row: -row["auc"])
    return {"tagger": candidates[0]["tagger"], "candidates": candidates}


def main(argv: Sequence[str] | None = None) -> None:
    """Choose the tagger of one measurement."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", required=True, type=json_argument, help="score files of each tagger as JSON")
    parser.add_argument("--output", required=True, type=Path, help="tagger.json to write")
    args = parser.parse_args(argv)
    log = start_log("numpy", "awkward")
    result = choose_tagger(args.scores)
    for row in result["candidates"]:
        log.info("%s: AUC %.4f +- %.4f on validation jets", row["tagger"], row["auc"], row["auc_uncertainty"])
    write_json(args.output, result)


if __name__ == "__main__":
    run_main(main)
