# What the rules of the features take from the configuration.

# Distributions need no more than the first files of a dataset
FEATURES_PLOT_FILES = 20


def feature_settings(wildcards) -> str:
    """Params function: what a shift uses of the features section, with the jets of the channel."""
    jets = config["channels"][wildcards.channel]["selection"]["jets"]
    settings = {
        key: value for key, value in config["features"].items() if key not in ("levels", "plots", "perturbations")
    }
    if is_perturbed(wildcards):
        settings["perturbations"] = {wildcards.shift: config["features"]["perturbations"][wildcards.shift]}
    split = split_of(wildcards.channel, wildcards.dataset)
    return as_json(settings | {"jet": jets["collection"], "radius": jets["radius"], "split": split})


def level_settings(wildcards) -> str:
    """Params function: what the levels of a dataset use of the features section and of the channel's selection."""
    selection = config["channels"][wildcards.channel]["selection"]
    jets = selection["jets"]
    # what both levels have in common; the rest of the selection is in the skim already
    shared = {key: selection[key] for key in ("muons", "electrons", "z_candidate", "generated_z") if key in selection}
    settings = {key: config["features"][key] for key in ("max_constituents", "puppi_jets", "soft_drop")}
    settings |= {"jet": jets["collection"], "radius": jets["radius"]}
    settings |= {"selection": shared | {"candidates": jets["candidates"]}}
    settings |= {"levels": config["features"]["levels"][wildcards.channel]}
    return as_json(settings | {"data": datasets(wildcards.channel)[wildcards.dataset].get("data", False)})


# Channels whose jets have no constituents: nothing is computed of them
WITHOUT_CONSTITUENTS = [
    name for name, block in config["channels"].items() if not block["selection"]["keep"]["constituents"]
]


def listed_settings(wildcards) -> str:
    """Params function: what the list of the jets of a channel without constituents uses."""
    selection = config["channels"][wildcards.channel]["selection"]
    settings = {"jet": selection["jets"]["collection"], "branches": selection["keep"]["branches"]}
    return as_json(settings | {"split": config["features"]["split"]})


def is_perturbed(wildcards) -> bool:
    """Tell whether a shift is a random change of constituents, and not one of the skim's."""
    return wildcards.shift in config["features"]["perturbations"]


def perturbation_seed(wildcards) -> str:
    """Params function: the option with the job's seed for what is random; nothing for other shifts."""
    if not is_perturbed(wildcards):
        return ""
    return f"--seed {job_seed('build_features', 'channel', 'dataset', 'shift', 'chunk')(wildcards)}"


def nominal_features(wildcards) -> list[str]:
    """Input function: the first nominal feature files of each dataset of a channel that is drawn."""
    pattern = "results/features/{channel}/{dataset}/nominal/{chunk}.parquet"
    return [
        path
        for dataset in config["features"]["plots"][wildcards.channel]
        for path in per_chunk(pattern, wildcards.channel, dataset)[:FEATURES_PLOT_FILES]
    ]


def kind_of_data(wildcards) -> str:
    """Params function: what the figures of a channel show, for their label."""
    drawn = config["features"]["plots"][wildcards.channel]
    data = {datasets(wildcards.channel)[name].get("data", False) for name in drawn}
    return {(False,): "Simulation", (True,): "Data"}.get(tuple(data), "Data and simulation")
