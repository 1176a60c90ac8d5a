# What the rules of ensembles, of external scores and of the evaluation take their inputs and params from.


def is_ensemble(block: dict) -> bool:
    """Tell whether a tagger combines others."""
    return block["family"] == "ensemble"


def is_external(block: dict) -> bool:
    """Tell whether a tagger is a file of scores made elsewhere."""
    return block["family"] == "external"


def is_trained(block: dict) -> bool:
    """Tell whether a tagger is trained here."""
    return is_bdt(block) or is_network(block)


def check_members() -> None:
    """Stop before any job if a member of an ensemble is no tagger that is trained or scored here."""
    for name, block in TAGGERS.items():
        for member in block.get("members", []):
            if member not in TAGGERS or TAGGERS[member]["family"] in ("ensemble", "external"):
                known = [other for other, its in TAGGERS.items() if its["family"] not in ("ensemble", "external")]
                raise WorkflowError(
                    f"taggers.models.{name}.members: {member!r} is no tagger that can be a member\n"
                    f"  fix: choose among {', '.join(known)}"
                )


def set_seeds() -> None:
    """Give ensembles the seeds that all members have, if they name none, and external scores the first seed."""
    for name, block in TAGGERS.items():
        if is_external(block):
            block["seeds"] = config["taggers"]["seeds"][:1]
        elif is_ensemble(block) and "seeds" not in block:
            shared = [seeds_of(member) for member in block["members"]]
            block["seeds"] = [seed for seed in shared[0] if all(seed in seeds for seeds in shared)]
            if not block["seeds"]:
                raise WorkflowError(
                    f"taggers.models.{name}: its members have no seed in common\n  fix: give them one in `seeds:`"
                )


def check_robustness() -> None:
    """Stop before any job if a shift under which taggers are tested is not one of the features' shifts."""
    if not TAGGERS:
        return
    # weight shifts, isrUp and others, have no features of their own
    kinematic = [
        shift
        for shift in config["channels"][TAGGERS_CHANNEL]["selection"]["shifts"]
        if shift.startswith(("jes", "jer"))
    ]
    known = kinematic + list(config["features"]["perturbations"])
    for shift in config["taggers"]["robustness"]["shifts"]:
        if shift not in known:
            raise WorkflowError(
                f"taggers.robustness.shifts: {shift!r} is not among the shifts of channel {TAGGERS_CHANNEL}: {', '.join(known)}\n"
                f"  fix: add it to channels.{TAGGERS_CHANNEL}.selection.shifts (jesUp, ...) "
                "or to features.perturbations (smear, drop)"
            )


check_members()
check_robustness()
set_seeds()


def members(pattern: str, group: str | None = None):
    """Input function: files of the members of an ensemble in their order, of all datasets of a group if given."""

    def files(wildcards) -> list[str]:
        folder = "results/taggers/{member}/{seed}{size}/"
        values = dict(wildcards) | {"member": TAGGERS[wildcards.tagger]["members"]}
        if group:
            values["dataset"] = config["taggers"][group]
        return expand(folder + pattern, **values)

    return files


def cost_features(wildcards) -> list[str]:
    """Input function: the first nominal feature file of each signal and background dataset."""
    names = config["taggers"]["signal"] + config["taggers"]["background"]
    return [
        f"results/features/{TAGGERS_CHANNEL}/{name}/nominal/{chunks(TAGGERS_CHANNEL, name)[0]}.parquet"
        for name in names
    ]


def measured_costs() -> list[str]:
    """Return the cost files of all trainings of trees and networks."""
    chosen = [name for name, block in TAGGERS.items() if is_trained(block)]
    return [f"results/taggers/{name}/{seed}/cost.json" for name in chosen for seed in seeds_of(name)]


def robustness_files() -> list[str]:
    """Return the robustness of the trainings of the chosen taggers; scores made elsewhere are of nominal jets alone."""
    chosen = config["taggers"]["robustness"].get("taggers", TAGGERS)
    chosen = [name for name in chosen if not is_external(TAGGERS[name])]
    return [f"results/taggers/{name}/{seed}/robustness.json" for name in chosen for seed in seeds_of(name)]


def learning_curve_files(name: str) -> list[str]:
    """Return a file of all trainings of the learning curves: each size and all jets, each seed."""
    curve = config["taggers"]["learning_curve"]
    sizes = [f"_{size}jets" for size in curve["sizes"]]
    return [
        f"results/taggers/{tagger}/{seed}{size}/{name}"
        for tagger in curve["taggers"]
        for seed in seeds_of(tagger)
        for size in ["", *(sizes if seed in curve.get("seeds", [seed]) else [])]
    ]


def taggers_targets() -> list[str]:
    """Return what the stage makes: the comparison and the figures of the taggers that are configured."""
    if not TAGGERS:
        return []
    targets = ["results/taggers/comparison.json", "results/taggers/test_jets.parquet"]
    plots = ["roc", "calibration", "costs"]
    plots += ["robustness"] if config["taggers"]["robustness"]["shifts"] else []
    plots += ["learning_curves"] if config["taggers"]["learning_curve"]["taggers"] else []
    for name, block in TAGGERS.items():
        plots += [f"{name}_scores", f"{name}_mass"]
        plots += [f"{name}_history"] if is_trained(block) else []
        plots += [f"{name}_importance"] if is_bdt(block) else []
    return targets + expand("results/taggers/plots/{plot}.png", plot=plots)
