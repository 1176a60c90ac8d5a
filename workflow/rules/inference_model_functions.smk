# Input and params functions of the rules in inference_model.smk.
def simulated_datasets(block: dict) -> list[str]:
    """Return the datasets that templates and working point of a measurement are made of."""
    names = [name for sample in block["samples"].values() for name in sample["datasets"]]
    return list(dict.fromkeys([*names, *block.get("working_point", {}).get("signal", [])]))


def feature_shifts(block: dict) -> list[str]:
    """Return the shifts of a measurement that have tables of their own."""
    parts = [part for part in block["modifiers"].values() if part.get("source") == "features"]
    return list(dict.fromkeys(part[side] for part in parts for side in ("up", "down") if side in part))


def table_pattern(block: dict) -> str:
    """Return the pattern of the files of the table of a measurement."""
    folder = "levels/" if block["table"] == "levels" else ""
    return f"results/features/{{channel}}/{{dataset}}/{{shift}}/{folder}{{chunk}}.parquet"


def wanted_tables(block: dict) -> list[tuple[str, str]]:
    """Return the datasets and shifts of all tables of a measurement."""
    wanted = [(name, "nominal") for name in [*simulated_datasets(block), *block["data"]["datasets"]]]
    for sample in block["samples"].values():
        wanted += [(name, shift) for name in sample["datasets"] for shift in feature_shifts(block)]
    return list(dict.fromkeys(wanted))


def measurement_tables(wildcards) -> list[str]:
    """Input function: the tables of a measurement, nominal and shifted."""
    block = MEASUREMENTS[wildcards.measurement]
    return [
        path
        for dataset, shift in wanted_tables(block)
        for path in per_chunk(table_pattern(block), block["channel"], dataset, shift=shift)
    ]


def scores_folder(name: str) -> str:
    """Return the folder of the scores of a measurement with a tagger."""
    return f"results/taggers/{tagger_of(name)}/{MEASUREMENTS[name]['tagger_seed']}/scores"


def measurement_scores(wildcards) -> list[str]:
    """Input function: the scores of all tables of a measurement, none without a tagger."""
    block = MEASUREMENTS[wildcards.measurement]
    if "tagger" not in block:
        return []
    folder = scores_folder(wildcards.measurement)
    return [f"{folder}/{dataset}/{shift}.parquet" for dataset, shift in wanted_tables(block)]


def scores_option(wildcards) -> str:
    """Params function: the option that tells where the scores are; none without a tagger."""
    name = wildcards.measurement
    return f"--scores {scores_folder(name)}" if "tagger" in MEASUREMENTS[name] else ""


def measurement_chunks(wildcards) -> str:
    """Params function: the number of files of the table of each dataset of a measurement."""
    block = MEASUREMENTS[wildcards.measurement]
    names = [*simulated_datasets(block), *block["data"]["datasets"]]
    return as_json({name: len(chunks(block["channel"], name)) for name in names})


def histogram_files(wildcards) -> list[str]:
    """Input function: the ROOT files of a measurement with `histograms`."""
    block = MEASUREMENTS[wildcards.measurement]
    names = block["histograms"]
    places = [
        (region, sample.get("histogram", name))
        for name, sample in block["samples"].items()
        for region in sample.get("regions", block["regions"])
    ]
    if "data" in names:
        places += [(region, names["data_sample"]) for region in block["regions"]]
    files = [names["file"].replace("{region}", region).replace("{sample}", sample) for region, sample in places]
    return list(dict.fromkeys(files))
