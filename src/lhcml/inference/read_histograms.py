"""Build a pyhf workspace from ROOT histograms: nominal and shifted templates, and data.

Variances are the histograms' sums of squared weights. Histograms may be rebinned to edges that are among theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lhcml.common.cli import json_argument, make_parser, run_main, start_log
from lhcml.common.errors import UserError
from lhcml.inference.assemble_workspace import assemble_workspace
from lhcml.inference.check_templates import require_positive, require_uncertainties
from lhcml.inference.describe_workspace import describe
from lhcml.inference.likelihood import Array
from lhcml.inference.naming import applies
from lhcml.inference.read_workspace import make_problem
from lhcml.inference.templates import Template
from lhcml.inference.write_workspace import add_outputs, write_workspace

# Edges are the same if they differ by less than this share of the range
SAME_EDGE = 1e-9


class Histograms:
    """The histograms of ROOT files, each file opened once.

    Parameters
    ----------
    config : mapping
        The block `histograms`: patterns of "file", "nominal", "variation", "data".
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self._files: dict[str, Any] = {}
        self.unweighted: list[str] = []
        self.edges: dict[str, Array] = {}

    def read(self, kind: str, region: str, sample: str, bins: Sequence[float] | None, **words: str) -> Template:
        """Return the template of a kind: "nominal", "variation" or "data".

        Parameters
        ----------
        region, sample : str
            What `{region}` and `{sample}` stand for.
        bins : sequence of float, optional
            Edges to rebin to; those of the histogram if not given.
        **words : str
            What `{modifier}` and `{side}` stand for.

        Raises
        ------
        UserError
            If the file or histogram is missing, has more than one dimension, or lacks an edge; or if histograms of a
            region differ in their edges.
        """
        words = {"region": region, "sample": sample, **words}
        path, name = fill_words(self.config["file"], words), fill_words(self.config[kind], words)
        histogram = self._find(path, name)
        where = f"{path}, histogram {name}"
        if len(getattr(histogram, "axes", ())) != 1:
            raise UserError(f"{where}: not a histogram of one dimension", "project it, or name another in `histograms`")
        edges = np.asarray(histogram.axes[0].edges(), float)
        events, variance = np.asarray(histogram.values(), float), np.asarray(histogram.variances(), float)
        if kind != "data" and not histogram.weighted:
            self.unweighted.append(where)
        if bins is not None:
            events, variance = rebin(edges, np.array(bins), events, variance, where)
            edges = np.array(bins, float)
        known = self.edges.setdefault(region, edges)
        if len(known) != len(edges) or not np.allclose(known, edges, rtol=0, atol=SAME_EDGE * np.ptp(edges)):
            raise UserError(f"{where}: edges differ from those of other histograms of region {region}",
                            f"set `regions.{region}.bins` to common edges")  # fmt: skip
        # the number of unweighted events with the same relative uncertainty
        raw = np.divide(events**2, variance, out=np.zeros_like(events), where=variance > 0)
        return Template(events, variance, np.round(raw).astype(np.int64))

    def _find(self, path: str, name: str) -> Any:
        """Return a histogram of a file."""
        import uproot

        if path not in self._files:
            try:
                self._files[path] = uproot.open(path)
            # what uproot raises for files that are missing, no ROOT files, or truncated
            except (OSError, ValueError, KeyError) as error:
                raise UserError(f"cannot read {path} as ROOT: {str(error).strip() or type(error).__name__}",
                                "check `histograms.file`, or make the file again") from error  # fmt: skip
        file = self._files[path]
        try:
            return file[name]
        except uproot.KeyInFileError as error:
            known = file.keys(cycle=False, recursive=True)
            near = difflib.get_close_matches(name, known, n=4, cutoff=0.5) or known[:4]
            raise UserError(
                f"{path} has no histogram {name!r}; near it: {', '.join(near) or '(the file is empty)'}",
                "correct the names in `histograms`, or leave the sample or modifier out there with its key `regions`",
            ) from error


def fill_words(pattern: str, words: Mapping[str, str]) -> str:
    """Return a pattern with its `{words}` replaced."""
    for word, text in words.items():
        pattern = pattern.replace(f"{{{word}}}", text)
    return pattern


def rebin(edges: Array, wanted: Array, events: Array, variance: Array, where: str) -> tuple[Array, Array]:
    """Return events and variances in bins whose edges are among those given.

    Parameters
    ----------
    edges, wanted : array of shape (N + 1,), (M + 1,)
    events, variance : array of shape (N,)
    where : str
        File and histogram, for the message.

    Returns
    -------
    events, variance : array of shape (M,)
        Bins outside the wanted range are left out.

    Raises
    ------
    UserError
        If an edge is not among those of the histogram.
    """
    nearest = np.abs(edges[:, None] - wanted[None, :]).argmin(axis=0)
    missing = wanted[np.abs(edges[nearest] - wanted) > SAME_EDGE * np.ptp(edges)]
    if len(missing):
        raise UserError(
            f"{where}: no edge at {', '.join(f'{edge:g}' for edge in missing)}; "
            f"it has {', '.join(f'{edge:g}' for edge in edges)}",
            "take `bins` of the region among these",
        )
    inside = slice(nearest[0], nearest[-1])
    starts = nearest[:-1] - nearest[0]
    return np.add.reduceat(events[inside], starts), np.add.reduceat(variance[inside], starts)


def label_sides(modifiers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the modifiers with the sides of each histosys named apart from those of the others.

    A one-sided histosys has no downward side, any other both.
    """
    labelled = {}
    for name, part in modifiers.items():
        sides = {}
        if part["type"] == "histosys":
            both = "down" in part or part.get("symmetrise") != "one_sided"
            sides = {side: f"{name} {side}" for side in (("up", "down") if both else ("up",))}
        labelled[name] = {**part, **sides}
    return labelled


def read_templates(config: Mapping[str, Any], histograms: Histograms) -> dict[str, dict[str, dict[str, Template]]]:
    """Return templates[region][sample][label]; labels are "nominal" and those of `label_sides`."""
    templates: dict[str, dict[str, dict[str, Template]]] = {region: {} for region in config["regions"]}
    labelled = label_sides(config["modifiers"])
    for sample, block in config["samples"].items():
        word = block.get("histogram", sample)
        for region in block.get("regions", config["regions"]):
            bins = config["regions"][region].get("bins")
            parts = {"nominal": histograms.read("nominal", region, word, bins)}
            for name, modifier in config["modifiers"].items():
                if modifier["type"] == "histosys" and applies(modifier, region, sample):
                    for side in ("up", "down"):
                        if side in labelled[name]:
                            words = {"modifier": name, "side": modifier.get(side, side)}
                            parts[labelled[name][side]] = histograms.read("variation", region, word, bins, **words)
            templates[region][sample] = parts
    return templates


def asimov_data(config: Mapping[str, Any], workspace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return as observations what the model expects at `injected` and else nominal parameters."""
    observations = []
    for channel in workspace["channels"]:
        total = 0.0
        for sample in channel["samples"]:
            signal = any(modifier["name"] == config["poi"] for modifier in sample["modifiers"])
            total = total + np.array(sample["data"]) * (config["injected"] if signal else 1.0)
        observations.append({"name": channel["name"], "data": [float(value) for value in np.atleast_1d(total)]})
    return observations


def build_from_histograms(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return workspace and description of a measurement with `histograms`.

    Raises
    ------
    UserError
        If a histogram is missing, a template is negative or empty, or a variation is at fault.
    """
    histograms = Histograms(config["histograms"])
    templates = read_templates(config, histograms)
    edges = {region: histograms.edges[region].tolist() for region in templates}
    require_positive(edges, templates)
    require_uncertainties(edges, templates, config["modifiers"])
    observed = {}
    if "data" in config["histograms"]:
        word = config["histograms"]["data_sample"]
        for region in templates:
            counts = histograms.read("data", region, word, config["regions"][region].get("bins"))
            observed[region] = counts.events.tolist()
    labelled = {**config, "modifiers": label_sides(config["modifiers"])}
    workspace, report = assemble_workspace(labelled, templates, observed)
    description = describe(config, edges, report)
    if not observed:
        workspace["observations"] = asimov_data(config, workspace)
        description["remarks"].append(
            f"no data: the observations are what the model expects at {config['poi']} = {config['injected']:g} (Asimov)"
        )
    description["simulated_data"] = not observed
    counted = [part for part in config["modifiers"].values() if part["type"] == "staterror" or part.get("statistical")]
    if counted and histograms.unweighted:
        description["remarks"].append(
            f"{len(histograms.unweighted)} histograms have no sums of squared weights; their variance is taken to be "
            f"their content, which holds for unweighted events only; the first is {histograms.unweighted[0]}"
        )
    description["effective_entries"] = {
        region: {sample: parts["nominal"].raw.tolist() for sample, parts in samples.items()}
        for region, samples in templates.items()
    }
    return workspace, description


def main(argv: Sequence[str] | None = None) -> None:
    """Build the workspace of one measurement from histograms."""
    parser = make_parser(__doc__)
    parser.add_argument("--config", required=True, type=json_argument, help="the measurement, as in the configuration")
    add_outputs(parser)
    args = parser.parse_args(argv)
    start_log("pyhf", "uproot", "numpy")
    workspace, description = build_from_histograms(args.config)
    # a sample may have empty bins, as long as another fills them
    problem = make_problem(workspace, "the workspace built", poi=description["poi"], strict=False)
    write_workspace(args, workspace, problem, description)


if __name__ == "__main__":
    run_main(main)
