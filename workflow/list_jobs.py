"""The jobs of a configuration with their files, from the graph that Snakemake builds for a dry run."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from lhcml.common.files import read_json  # noqa: E402
from lhcml.common.references import BEST_TAGGER  # noqa: E402
from lhcml.report.costs import Job  # noqa: E402

# Wildcards that only number jobs of the same cost per size
NUMBERS = ("chunk", "seed", "size", "shift", "batch", "mixture", "window", "patch")
# Inputs that are no data
CODE = (".py", ".rst")
# Parameter with the number of events or pseudo-experiments that a job makes or draws, by its rule; a path if it is JSON
MADE = {
    "generate_events": "events",
    "import_events": "rows",
    "search_resonance": "config.toys",
    "search_pairs": "config.toys",
    "throw_toys": "config.{ensemble}.count",
    "plot_events": "displays",
    "plot_jets": "displays",
}
# How often a job goes through what it reads: numbers in its parameter `config`, which are multiplied; of several with
# `|` between them the first that it has
PASSES: dict[str, tuple[str, ...]] = {
    "train_bdt": ("boosting.rounds",),
    "train_network": ("training.epochs",),
    "train_autoencoder": ("autoencoder.training.epochs",),
    "train_event_autoencoder": ("training.epochs", "train_share"),
    "train_float": ("training.epochs",),
    "quantise_network": ("quantisation.epochs",),
    # the dearest part of a method
    "score_events": ("flow.epochs|classifier.trees.members|autoencoder.epochs",),
    "unfold_events": (
        "method.iterations",
        "method.members",
        "method.training.epochs",
        "method.boosting.rounds",
        "ensemble",
        "bootstraps.{kind}",
    ),
}

# Generated events for each jet that an autoencoder could train on: two fifths are selected, half of these belong to the
# other class, and the default split trains on two fifths
EVENTS_PER_JET = 12


def key_of(block: Any, path: str) -> Any:
    """Return the value at a dotted path in nested mappings, None if there is none."""
    for name in path.split("."):
        block = block.get(name) if isinstance(block, Mapping) else None
    return block


def passes_of(rule: str, params: Mapping[str, Any], wildcards: Mapping[str, str]) -> float:
    """Return how often a job goes through what it reads; 1 for most rules."""
    if rule not in PASSES:
        return 1.0
    settings = json.loads(params["config"])
    kind = wildcards.get("group", "").removeprefix("bootstrap_")
    factors = ([key_of(settings, path.format(kind=kind)) for path in paths.split("|")] for paths in PASSES[rule])
    return math.prod(next((value for value in values if value), 1) for values in factors)


def made_by(rule: str, params: Mapping[str, Any], wildcards: Mapping[str, str]) -> float | None:
    """Return how many events or pseudo-experiments a job makes; None for a job that only reads."""
    if rule not in MADE:
        return None
    name, _, path = MADE[rule].format(**wildcards).partition(".")
    if not path:
        return float(params[name])
    settings = json.loads(params[name])
    batches = key_of(settings, path.replace("count", "batches")) if path.endswith("count") else 1
    return float(key_of(settings, path) or 0) / batches


def events_behind(job: Any, graph: Mapping[Any, Any]) -> float:
    """Return the events that were generated or imported for the inputs of a job; 0 if they are files of the user."""
    behind, pending = set(), [job]
    while pending:
        new = set(graph[pending.pop()]) - behind
        behind |= new
        pending.extend(new)
    sources = [source for source in behind if source.rule.name in ("generate_events", "import_events")]
    return sum(made_by(source.rule.name, dict(source.params.items()), source.wildcards_dict) or 0 for source in sources)


def autoencoder_passes(epochs: float, settings: Mapping[str, Any], jets: float) -> float:
    """Return how often the training of an autoencoder goes through all jets that it could train on.

    It takes `train_jets` of them at most, and a normalized one makes a number of updates whatever there is.

    Parameters
    ----------
    epochs : float
        Epochs of the training; of a normalized autoencoder the lesser part of its time.
    settings : mapping
        Its parameter `config`.
    jets : float
        Jets that it could train on; 0 if they are not known.
    """
    if not jets:
        return epochs
    if normalization := settings["autoencoder"].get("normalization"):
        return normalization["updates"] * normalization["batch_size"] / jets
    return epochs * min(1.0, settings["train_jets"] / jets)


def cost_job(job: Any, graph: Mapping[Any, Any]) -> Job:
    """Return what the cost of a job of Snakemake depends on; the graph tells the jobs that each job waits for."""
    rule = job.rule.name
    wildcards = dict(job.wildcards_dict)
    params = dict(job.params.items()) if rule in MADE or rule in PASSES else {}
    passes = passes_of(rule, params, wildcards)
    if rule == "train_autoencoder":
        passes = autoencoder_passes(passes, json.loads(params["config"]), events_behind(job, graph) / EVENTS_PER_JET)
    benchmark = str(job.benchmark or "")
    return Job(
        rule=rule,
        stage=Path(benchmark).parts[2] if benchmark else "",
        variant="/".join(value.split("/")[0] for name, value in wildcards.items() if name not in NUMBERS),
        environment=Path(str(job.rule.conda_env or "")).name,
        # all other resources would be computed too
        threads=job.rule.resources["_cores"].evaluate(job.wildcards).value,
        inputs=tuple(str(path) for path in job.input if Path(path).suffix not in CODE),
        outputs=tuple(str(path) for path in job.output),
        events=made_by(rule, params, wildcards),
        passes=passes,
        benchmark=benchmark,
        log=str(job.log[0]) if job.log else "",
    )


def chosen_taggers(config: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return the tagger of each measurement that asks for the best: the one chosen in the last run, else the first.

    Which one is best is known after the training only, and the jobs behind the choice are the same for each.
    """
    chosen = {}
    for name, block in config["inference"]["measurements"].items():
        if block.get("tagger") == BEST_TAGGER:
            result = folder / f"results/inference/{name}/tagger.json"
            models = [tagger for tagger, model in config["taggers"]["models"].items() if "family" in model]
            chosen[name] = read_json(result)["tagger"] if result.is_file() else models[0]
    return chosen


def list_jobs(configfiles: Sequence[Path], folder: Path = Path()) -> list[Job]:
    """Return all jobs of a configuration, those that have run as well, without targets that only gather files.

    Parameters
    ----------
    configfiles : sequence of Path
        Overlays over `config/config.yaml`.
    folder : Path
        Folder of a run that may have chosen its taggers.
    """
    overrides: dict[str, Any] = {}
    while True:
        with SnakemakeApi(OutputSettings(quiet={Quietness.ALL}, dryrun=True)) as api:
            workflow_api = api.workflow(
                resource_settings=ResourceSettings(cores=1),
                config_settings=ConfigSettings(configfiles=list(configfiles), config=overrides),
                snakefile=ROOT / "Snakefile",
            )
            dag_api = workflow_api.dag(DAGSettings())
            # the public interface prints the graph only; this is what it builds before
            workflow = dag_api.workflow_api._workflow
            chosen = chosen_taggers(workflow.globals["config"], folder)
            if chosen:
                overrides = {"inference": {"measurements": {name: {"tagger": best} for name, best in chosen.items()}}}
                continue
            workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True, nolock=True)
            workflow._build_dag()
            graph = workflow.dag.dependencies
            return [cost_job(job, graph) for job in workflow.dag.jobs if job.benchmark]
