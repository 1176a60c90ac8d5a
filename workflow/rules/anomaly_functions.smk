# What the rules of the anomaly stage take from the configuration.

ANOMALY = config["anomaly"]
SEARCH_METHODS = list(ANOMALY["methods"])
MIXTURES = ANOMALY["mixtures"] if SEARCH_METHODS else {}


def window_name(window: dict) -> str:
    """Return a signal region as it stands in file names, e.g. 3300-3700."""
    return f"{window['min']:g}-{window['max']:g}"


SIGNAL_REGION = window_name(ANOMALY["window"])
SCANNED = [window_name(window) for window in ANOMALY["scan"].get("windows", [])]


def mixture_methods(mixture: str) -> list[str]:
    """Return the methods that are used on a mixture."""
    return MIXTURES[mixture].get("methods", SEARCH_METHODS)


def searches(
    method: str | None = None, mixture: str | None = None, name: str = "search.json", plain: bool = False
) -> list[str]:
    """Return a file of each search in the signal region: of one method or all, in one mixture or all.

    `plain` leaves out mixtures whose features or masses are changed.
    """
    return [
        f"results/anomaly/{mixed}/{seed}/{used}/{SIGNAL_REGION}/{name}"
        for mixed, block in MIXTURES.items()
        for seed in block["seeds"]
        for used in mixture_methods(mixed)
        if method in (None, used)
        and mixture in (None, mixed)
        and not (plain and (block["add_mass"] or "shuffle" in block))
    ]


def scanned_searches(wildcards=None) -> list[str]:
    """Return the searches in the other signal regions, on the first seed of each mixture that is scanned."""
    return [
        f"results/anomaly/{mixture}/{MIXTURES[mixture]['seeds'][0]}/{method}/{window}/search.json"
        for mixture in ANOMALY["scan"]["mixtures"]
        for method in ANOMALY["scan"]["methods"]
        for window in SCANNED
    ]


def checked_searches(wildcards=None) -> list[str]:
    """Return the tests of fits, on the first seed of their mixture."""
    checks = ANOMALY["checks"]
    return [
        f"results/anomaly/{checks['mixture']}/{MIXTURES[checks['mixture']]['seeds'][0]}/{method}/{SIGNAL_REGION}/checks.json"
        for method in checks["methods"]
    ]


def uniform_checks(wildcards=None) -> list[str]:
    """Return the tests of the p-values of each method on mixtures of pseudo-experiments."""
    return [
        f"results/anomaly/uniformity/{mixture}_{method}.json"
        for mixture, block in MIXTURES.items()
        for method in mixture_methods(mixture)
        if "shuffle" in block
    ]


def dijet_datasets(wildcards=None) -> list[str]:
    """Return the datasets whose events the search reads."""
    return [*ANOMALY["data"], *ANOMALY["background"], *ANOMALY["signal"]]


def dijet_cutflow(wildcards=None) -> list[str]:
    """Return the normalisation of the channel; imported events have none."""
    if set(dijet_datasets()) <= set(ANOMALY["imports"]):
        return []
    return [f"results/skim/{ANOMALY['channel']}/cutflow.json"]


def mixture_settings(wildcards) -> str:
    """Params function: what a mixture is made with."""
    keys = ("data", "background", "signal", "range", "window", "folds", "share")
    block = MIXTURES[wildcards.mixture]
    own = {key: block[key] for key in ("signal_to_background", "add_mass")} | {"shuffle": block.get("shuffle")}
    return as_json({key: ANOMALY[key] for key in keys} | own)


def method_settings(wildcards) -> str:
    """Params function: what a method uses."""
    block = {key: value for key, value in ANOMALY["methods"][wildcards.method].items() if key != "search"}
    return as_json({"features": ANOMALY["features"]} | block)


def window_ends(wildcards) -> str:
    """Params function: the ends of a signal region."""
    return wildcards.window.replace("-", " ")


def searched_settings(wildcards) -> str:
    """Params function: what the search with a method on a mixture uses."""
    settings = ANOMALY["search"] | ANOMALY["methods"][wildcards.method].get("search", {})
    settings |= MIXTURES[wildcards.mixture].get("search", {})
    return as_json(settings | {"range": ANOMALY["range"]})


def comparison_of_searches(wildcards) -> str:
    """Params function: what the comparison of methods shows."""
    methods = {
        name: {key: block[key] for key in ("label", "published") if key in block}
        for name, block in ANOMALY["methods"].items()
    }
    mixtures = {
        name: {
            "seeds": block["seeds"],
            "methods": mixture_methods(name),
            "signal_to_background": None if ANOMALY["data"] else block["signal_to_background"],
        }
        for name, block in MIXTURES.items()
    }
    return as_json({"methods": methods, "mixtures": mixtures})


def mixture_label(name: str) -> str:
    """Return what a figure says about a mixture."""
    return f"{name}, S/B = {100 * MIXTURES[name]['signal_to_background']:g} %"


def method_label(name: str) -> str:
    """Return the label of a method."""
    return ANOMALY["methods"][name].get("label", name)


ANOMALY_TARGETS = []
if SEARCH_METHODS:
    ANOMALY_TARGETS += ["results/anomaly/comparison.json", *scanned_searches(), *checked_searches()]
if SEARCH_METHODS and not ANOMALY["data"]:
    ANOMALY_TARGETS += ["results/anomaly/plots/injections.png", *uniform_checks()]
    ANOMALY_TARGETS += expand("results/anomaly/plots/improvement_{mixture}.png", mixture=MIXTURES)
