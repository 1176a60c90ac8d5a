# Input and params functions of the rules in inference_toys.smk.
# Ensembles of pseudo-experiments, each the name of a result and of its block of a measurement, with what else it reads
TOY_ENSEMBLES = {
    "toys": ["injected", "toys"],
    "linearity": ["injected", "toys", "linearity"],
    "goodness_of_fit": ["injected", "goodness_of_fit"],
    "toy_limit": ["injected", "limit", "toy_limit"],
}


def toy_block(wildcards) -> str:
    """Params function: what the pseudo-experiments of an ensemble depend on."""
    return measurement_block("measurement", "poi", "fit", *TOY_ENSEMBLES[wildcards.ensemble])(wildcards)


def toy_settings(wildcards) -> str:
    """Params function: how the pseudo-experiments were drawn, to keep with the result."""
    if wildcards.ensemble not in ("toys", "linearity"):
        return as_json({})
    block = measurement_of(wildcards)["toys"]
    return as_json({key: block[key] for key in ("nuisances", "auxiliary")})


def toy_batches(wildcards) -> list[str]:
    """Input function: the files of all batches of an ensemble."""
    return expand(
        "results/inference/{measurement}/toys/{ensemble}_{batch}.json",
        measurement=wildcards.measurement,
        ensemble=wildcards.ensemble,
        batch=range(measurement_of(wildcards)[wildcards.ensemble]["batches"]),
    )
