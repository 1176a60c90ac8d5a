# Input and params functions of the rules in skim.smk.


def skimmed_file(wildcards) -> str:
    """Params function: the file or address that the skim reads."""
    return events_file_of(wildcards.channel, wildcards.dataset, int(wildcards.chunk))


def local_file(wildcards) -> list[str]:
    """Input function: the file that the skim reads; an address is no file that Snakemake could look at."""
    path = skimmed_file(wildcards)
    return [] if is_remote(path) else [path]


def skim_settings(wildcards) -> str:
    """Params function: what the skim of one dataset depends on."""
    dataset = datasets(wildcards.channel)[wildcards.dataset]
    skim = config["skim"] | {"on_bad_file": dataset.get("on_bad_file", config["skim"]["on_bad_file"])}
    if not is_remote(skimmed_file(wildcards)):
        del skim["remote"]
    settings = {
        "skim": skim,
        "selection": config["channels"][wildcards.channel]["selection"],
        "data": is_data(wildcards.channel, wildcards.dataset),
        "cross_section": dataset.get("cross_section"),
    }
    return as_json(settings)


def is_data(channel: str, dataset: str) -> bool:
    """Tell whether a dataset is collision data."""
    return datasets(channel)[dataset].get("data", False)


def golden_json(wildcards) -> list[str]:
    """Input function: the file of certified luminosity sections, for collision data with one."""
    selection = config["channels"][wildcards.channel]["selection"]
    wanted = is_data(wildcards.channel, wildcards.dataset) and "golden_json" in selection
    return [selection["golden_json"]] if wanted else []


def dataset_skims(wildcards) -> list[str]:
    """Input function: the summaries of all skims of a dataset."""
    pattern = "results/skim/{channel}/{dataset}/{chunk}.json"
    return per_chunk(pattern, wildcards.channel, wildcards.dataset)


def channel_skims(wildcards) -> list[str]:
    """Input function: the summaries of all skims of a channel."""
    pattern = "results/skim/{channel}/{dataset}/{chunk}.json"
    return [path for dataset in datasets(wildcards.channel) for path in per_chunk(pattern, wildcards.channel, dataset)]
