# What the rules of the firmware share: the models, their datasets, points and files.
import shlex

FIRMWARE = config["firmware"]
FIRMWARE_MODELS = FIRMWARE["models"]
FIRMWARE_SAMPLES = ("signals", "background")
ANOMALY_FAMILIES = ("vae", "autoencoder")
POINT = r"((post|aware)\d+|ebops\d+)(_pruned\d+)?"


def firmware_models(*families: str) -> list[str]:
    """Return the models of some families."""
    return [name for name, block in FIRMWARE_MODELS.items() if block["family"] in families]


def firmware_channel(model: str) -> str:
    """Return the channel of a model; trees have that of the taggers."""
    block = FIRMWARE_MODELS[model]
    return config["taggers"]["channel"] if block["family"] == "bdt" else block["channel"]


def firmware_datasets(model: str, group: str) -> list[str]:
    """Return the `signals` or `background` datasets of a model; trees have those of the taggers."""
    block = FIRMWARE_MODELS[model]
    if block["family"] == "bdt":
        return config["taggers"]["signal" if group == "signals" else "background"]
    return block[group]


def chosen_point(model: str) -> str:
    """Return the point that the summary of a model is of."""
    block = FIRMWARE_MODELS[model]
    return block.get("chosen", block["points"][0])


def firmware_backends(model: str) -> list[str]:
    """Return the projects for vendor tools that a model has; trees have conifer's only."""
    return ["conifer"] if FIRMWARE_MODELS[model]["family"] == "bdt" else FIRMWARE["backends"]


def firmware_projects(model: str, point: str) -> list[str]:
    """Return the checked projects of a point: all reuse factors at the chosen one, else the first."""
    trees = FIRMWARE_MODELS[model]["family"] == "bdt"
    factors = [1] if trees else FIRMWARE["reuse"] if point == chosen_point(model) else FIRMWARE["reuse"][:1]
    return expand(
        f"results/firmware/{model}/{point}/hls/{{backend}}_reuse{{reuse}}.json",
        backend=firmware_backends(model),
        reuse=factors,
    )


def firmware_inputs(*groups: str):
    """Input function: the tables of inputs of the datasets of a model."""
    return lambda wildcards: [
        f"results/firmware/{wildcards.model}/inputs/{dataset}.parquet"
        for group in groups
        for dataset in firmware_datasets(wildcards.model, group)
    ]


def firmware_samples(wildcards) -> str:
    """Params function: options that name the signal and background tables of a model."""
    return " ".join(
        f"--{group} "
        + " ".join(
            shlex.quote(f"{dataset}=results/firmware/{wildcards.model}/inputs/{dataset}.parquet")
            for dataset in firmware_datasets(wildcards.model, group)
        )
        for group in FIRMWARE_SAMPLES
    )


def feature_names(wildcards) -> str:
    """Params function: the columns of the features of jets that a model reads, as JSON."""
    block = FIRMWARE_MODELS[wildcards.model]
    return as_json(TAGGERS[block["tagger"]]["features"] if block["family"] == "bdt" else block["features"])


def firmware_model_file(wildcards) -> str:
    """Input function: the quantised model of a point."""
    name = "model.json" if FIRMWARE_MODELS[wildcards.model]["family"] == "bdt" else "model.keras"
    return f"results/firmware/{wildcards.model}/{wildcards.point}/{name}"


def tagger_of_trees(name: str):
    """Input function: a file of the tagger whose trees become firmware."""

    def path(wildcards):
        block = FIRMWARE_MODELS[wildcards.model]
        return f"results/taggers/{block['tagger']}/{block['tagger_seed']}/{name}"

    return path


def ordered_points(model: str) -> list[str]:
    """Return the points of a model, the chosen one first."""
    return sorted(FIRMWARE_MODELS[model]["points"], key=lambda point: point != chosen_point(model))


def firmware_points_files(wildcards) -> list[str]:
    """Input function: what a summary is made of, for all points."""
    files = []
    for point in ordered_points(wildcards.model):
        folder = f"results/firmware/{wildcards.model}/{point}"
        files += [f"{folder}/{name}" for name in ("quantised.json", "scores.parquet", "rtl.json")]
        files += [f"{folder}/{name}.json" for name in ("simulation", "synthesis")]
        files += firmware_projects(wildcards.model, point)
    folder = f"results/firmware/{wildcards.model}/{chosen_point(wildcards.model)}"
    files.append(f"{folder}/vendor.json")
    if wildcards.model in FIRMWARE["timing"]:
        files.append(f"{folder}/timing.json")
    return files


def chosen_file(name: str):
    """Input function: a file of the chosen point of a model."""
    return lambda wildcards: f"results/firmware/{wildcards.model}/{chosen_point(wildcards.model)}/{name}"


def firmware_label(model: str) -> str:
    """Return the name of a model in figures and tables."""
    return FIRMWARE_MODELS[model].get("label", model)


def summary_settings(wildcards) -> str:
    """Params function: what the summary of a model needs to know."""
    block = FIRMWARE_MODELS[wildcards.model]
    return as_json(
        {
            "label": firmware_label(wildcards.model),
            "family": block["family"],
            "signals": firmware_datasets(wildcards.model, "signals"),
            "published": block.get("published"),
            "replicas": FIRMWARE["bootstrap"],
        }
    )


def firmware_settings(*keys: str):
    """Params function: these settings of a model and, if asked for, the number of `stimuli`, as JSON."""
    return lambda wildcards: as_json(
        {key: FIRMWARE["stimuli"] if key == "stimuli" else FIRMWARE_MODELS[wildcards.model][key] for key in keys}
    )


def objects_settings(wildcards) -> str:
    """Params function: what the inputs of an event are made of."""
    block = FIRMWARE_MODELS[wildcards.model]
    jets = config["channels"][block["channel"]]["selection"]["jets"]["collection"]
    split = split_of(block["channel"], wildcards.dataset)
    return as_json({"objects": block["objects"], "jets": jets, "met": block["met"], "split": split})


def detection_settings(wildcards) -> str:
    """Params function: what the evaluation of an anomaly trigger needs to know."""
    samples = {group: firmware_datasets(wildcards.model, group) for group in FIRMWARE_SAMPLES}
    return as_json(samples | FIRMWARE["detection"] | {"bootstrap": FIRMWARE["bootstrap"]})
