# Input and params functions of the rules in inference_limits.smk.
from lhcml.inference.check_resonances import check_resonances

GRIDS = [name for name in MEASUREMENTS if is_grid(name)]


def grids_with_limits(*files: str) -> list[str]:
    """Return these files of every grid that limits are asked of."""
    grids = [name for name in GRIDS if "limit" in MEASUREMENTS[name]["results"]]
    return expand("results/inference/{grid}/{file}", grid=grids, file=files)


def grid_limits(wildcards) -> list[str]:
    """Return the limits of the patches of a grid."""
    return expand(
        "results/inference/{grid}/patches/{patch}/limit.json", grid=wildcards.grid, patch=patches_of(wildcards.grid)
    )


def resonance_settings(wildcards) -> str:
    """Params function: masses of a grid of resonances, and its luminosity if it has one."""
    measurement = MEASUREMENTS[wildcards.grid]
    return as_json({key: measurement[key] for key in ("resonance", "luminosity") if key in measurement})


def grid_settings(wildcards) -> str:
    """Params function: axes and theory of a grid; the theory of a patchset is a signal strength of 1."""
    measurement = MEASUREMENTS[wildcards.grid]
    theory = {} if "resonance" in measurement else {"theory": {"value": 1.0, "label": "Theory"}}
    return as_json(theory | measurement["grid"])


def resonance_folder(wildcards) -> str:
    """Return the folder of the mixture that a grid of resonances is searched for in."""
    block = MEASUREMENTS[wildcards.grid]["resonance"]
    return f"results/anomaly/{block['mixture']}/{block['seed']}"


def resonance_search(wildcards) -> str:
    """Return the search whose spectrum is fitted."""
    block = MEASUREMENTS[wildcards.grid]["resonance"]
    return f"{resonance_folder(wildcards)}/{block['method']}/{block.get('window', SIGNAL_REGION)}/search.json"


def resonance_mixture(wildcards) -> str:
    """Return the description of the mixture."""
    return f"{resonance_folder(wildcards)}/mixture.json"


def grid_labels(wildcards) -> str:
    """Params function: what stands above the axes of a grid."""
    block = MEASUREMENTS[wildcards.grid]
    if "resonance" not in block:
        return as_json({"data": "Data", "left": "", "right": ""})
    resonance = block["resonance"]
    simulated = not ANOMALY["data"]
    right = f"{method_label(resonance['method'])}, {config['channels'][ANOMALY['channel']]['label']}"
    return as_json(
        {
            "data": "Pseudo-data" if simulated else "Data",
            "left": "Simulation" if simulated else "",
            "right": right,
        }
    )


try:
    check_resonances(MEASUREMENTS, ANOMALY, [SIGNAL_REGION, *SCANNED])
except UserError as error:
    raise WorkflowError(str(error)) from None
