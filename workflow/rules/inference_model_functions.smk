# Input and params functions of the rules in inference_model.smk.
def simulated_datasets(block: dict) -> list[str]:
    """Return the datasets that templates and working point of a measurement are made of."""
    names = [name for sample in block["samples"].values() for name in sample["datasets"]]
    return list(dict.fromkeys([*names, *block["working_point"]["signal"]]))


def feature_shifts(block: dict) -> list[str]:
    """Return the shifts of a measurement that have feature files of their own."""
    parts = [part for part in block["modifiers"].values() if part.get("source") == "features"]
    return [part[side] for part in parts for side in ("up", "down")]


def measurement_inputs(kind: str):
    """Return an input function: the feature or score files of a measurement, nominal and shifted."""

    def files(wildcards):
        block = MEASUREMENTS[wildcards.measurement]
        wanted = [(name, "nominal") for name in [*simulated_datasets(block), *block["data"]["datasets"]]]
        for sample in block["samples"].values():
            wanted += [(name, shift) for name in sample["datasets"] for shift in feature_shifts(block)]
        paths = []
        for dataset, shift in dict.fromkeys(wanted):
            if kind == "features":
                pattern = "results/features/{channel}/{dataset}/{shift}/{chunk}.parquet"
                paths += per_chunk(pattern, block["channel"], dataset, shift=shift)
            else:
                paths.append(
                    f"results/taggers/{block['tagger']}/{block['tagger_seed']}/scores/{dataset}/{shift}.parquet"
                )
        return paths

    return files


def measurement_chunks(wildcards) -> str:
    """Params function: the number of feature files of each dataset of a measurement."""
    block = MEASUREMENTS[wildcards.measurement]
    names = [*simulated_datasets(block), *block["data"]["datasets"]]
    return as_json({name: len(chunks(block["channel"], name)) for name in names})


def measurement_folder(pattern: str):
    """Return a params function: a results folder of the channel, tagger and seed of a measurement."""

    def folder(wildcards):
        block = MEASUREMENTS[wildcards.measurement]
        return pattern.format(channel=block["channel"], tagger=block["tagger"], seed=block["tagger_seed"])

    return folder
