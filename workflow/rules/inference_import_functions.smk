# Input and params functions of the rules in inference_import.smk.
from lhcml.inference.histfactory import list_files


def measurements_with(key: str, *others: str) -> str:
    """Return a wildcard constraint that admits measurements with a key and without the others."""
    names = [name for name, block in MEASUREMENTS.items() if key in block and not any(part in block for part in others)]
    return one_of([re.escape(name) for name in names])


def imported_files(wildcards) -> list[str]:
    """Input function: the file of a measurement made elsewhere first, then its patches or histograms."""
    block = MEASUREMENTS[wildcards.measurement]
    if "histfactory" in block:
        return list_files(block["histfactory"])
    patches = [given.partition("#")[0] for given in block.get("patch", [])]
    return list(dict.fromkeys([block["workspace"], *patches]))


def combined_files(name: str):
    """Return an input function: a file of each measurement that a combination is made of."""

    def files(wildcards):
        return expand("results/inference/{part}/{file}", part=MEASUREMENTS[wildcards.measurement]["combine"], file=name)

    return files


for _name, _block in MEASUREMENTS.items():
    for _part in _block.get("combine", []):
        if _part not in MEASUREMENTS or _part == _name or is_grid(_part):
            _others = [name for name in MEASUREMENTS if name != _name and not is_grid(name)]
            raise WorkflowError(
                f"inference.measurements.{_name}.combine: {_part!r} is not another measurement with one workspace\n"
                f"  fix: choose among: {', '.join(_others) or '(none defined)'}; or set the measurement to null"
            )
