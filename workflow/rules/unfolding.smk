# Unfolding: events of both levels, OmniFold and binned methods, the data set that is published.
import shlex


include: "unfolding_functions.smk"


UNFOLDING_METHODS = list(UNFOLDING["methods"])
UNFOLDING_TARGETS = (
    expand("results/unfolding/{method}/dataset/manifest.json", method=PUBLISHED)
    + ["results/unfolding/plots/closure.png"] * bool(TESTED)
    + expand("results/unfolding/plots/{method}_diagnostics.png", method=UNBINNED)
    + expand(
        "results/unfolding/{method}/derived/{observable}.json",
        method=PUBLISHED,
        observable=UNFOLDING["derived"],
    )
)
if UNFOLDING_METHODS:
    UNFOLDING_TARGETS += [
        "results/unfolding/comparison.json",
        "results/unfolding/plots/spectra.png",
        "results/unfolding/plots/comparison.png",
    ]


rule collect_events:
    """Collect the events to unfold: simulation and data at both levels, after all cuts, normalised.

    One table of the simulation with its background, shifts and weights, and one of the data; all methods read these two.
    The simulation is normalised to the luminosity of the data.
    """
    input:
        levels=unfolded_levels,
        cutflow=unfolded_cutflow,
        code=sources("lhcml.unfolding.collect_events"),
    output:
        simulation="results/unfolding/simulation.parquet",
        data="results/unfolding/data.parquet",
        normalisation="results/unfolding/normalisation.json",
    log:
        "results/logs/unfolding/collect_events.log",
    benchmark:
        "results/benchmarks/unfolding/collect_events/all.tsv"
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=6),
        runtime=runtime(30, seconds_per_mb=1),
    params:
        folders=collection_folders,
        config=collection_settings,
        seed=job_seed("collect_events"),
    shell:
        "python -m lhcml.unfolding.collect_events {params.folders} --config {params.config:q} --seed {params.seed} "
        "--simulation {output.simulation:q} --data {output.data:q} --normalisation {output.normalisation:q} > {log:q} 2>&1"


rule unfold_events:
    """Unfold with OmniFold, MultiFold or UniFold: one group of variations of a method.

    Replicas of a group are trained together. Writes the weights of all events that pass the particle level and, for each
    iteration, effective number of events, largest weight, normalisation, losses, calibration and spectra. Weights that are
    NaN or collapse end the job with the cause.

    Wildcards: method, group ("nominal", "ensemble", "bootstrap_data", "bootstrap_simulation", "systematics").
    """
    input:
        simulation="results/unfolding/simulation.parquet",
        data="results/unfolding/data.parquet",
        nominal=nominal_diagnostics,
        code=sources("lhcml.unfolding.unfold_events"),
    output:
        weights="results/unfolding/{method}/weights/{group}.parquet",
        diagnostics="results/unfolding/{method}/diagnostics/{group}.json",
    log:
        "results/logs/unfolding/unfold_events/{method}_{group}.log",
    benchmark:
        "results/benchmarks/unfolding/unfold_events/{method}_{group}.tsv"
    wildcard_constraints:
        method=one_of(UNBINNED),
        group=one_of(["nominal", *UNFOLDING_GROUPS]),
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=10),
        runtime=runtime(60, seconds_per_mb=120),
    params:
        config=unfolding_settings,
        nominal=lambda wildcards, input: f"--nominal {input.nominal}" if input.nominal else "",
        seed=job_seed("unfold_events", "method"),
    shell:
        "python -m lhcml.unfolding.unfold_events --simulation {input.simulation:q} --data {input.data:q} "
        "--config {params.config:q} --group {wildcards.group} {params.nominal} --seed {params.seed} --threads {threads} "
        "--weights {output.weights:q} --diagnostics {output.diagnostics:q} > {log:q} 2>&1"


rule unfold_binned:
    """Unfold each observable with a binned method: iterative Bayesian unfolding or regularised inversion.

    With the same events, bootstraps and systematic variations as the unbinned methods. Family `simulation` unfolds nothing:
    the spectra before.

    Wildcards: method.
    """
    input:
        simulation="results/unfolding/simulation.parquet",
        data="results/unfolding/data.parquet",
        code=sources("lhcml.unfolding.unfold_binned"),
    output:
        spectra="results/unfolding/{method}/spectra.json",
    log:
        "results/logs/unfolding/unfold_binned/{method}.log",
    benchmark:
        "results/benchmarks/unfolding/unfold_binned/{method}.tsv"
    wildcard_constraints:
        method=one_of(BINNED),
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(30, seconds_per_mb=10),
    params:
        config=spectra_settings,
        seed=config["seed"],
    shell:
        "python -m lhcml.unfolding.unfold_binned --simulation {input.simulation:q} --data {input.data:q} "
        "--config {params.config:q} --seed {params.seed} --output {output.spectra:q} > {log:q} 2>&1"


rule tabulate_spectra:
    """Histogram the weights of an unbinned method in the bins of the configuration, with all variations.

    Wildcards: method.
    """
    input:
        simulation="results/unfolding/simulation.parquet",
        data="results/unfolding/data.parquet",
        weights=of_groups("results/unfolding/{method}/weights/{group}.parquet"),
        code=sources("lhcml.unfolding.tabulate_spectra"),
    output:
        spectra="results/unfolding/{method}/spectra.json",
    log:
        "results/logs/unfolding/tabulate_spectra/{method}.log",
    benchmark:
        "results/benchmarks/unfolding/tabulate_spectra/{method}.tsv"
    wildcard_constraints:
        method=one_of(UNBINNED),
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        config=spectra_settings,
    shell:
        "python -m lhcml.unfolding.tabulate_spectra --weights {input.weights:q} --simulation {input.simulation:q} "
        "--data {input.data:q} --config {params.config:q} --output {output.spectra:q} > {log:q} 2>&1"


rule publish_dataset:
    """Publish the unfolded events: Parquet and HDF5 with all weights, manifest, README, HEPData tables.

    Wildcards: method.
    """
    input:
        simulation="results/unfolding/simulation.parquet",
        weights=of_groups("results/unfolding/{method}/weights/{group}.parquet"),
        normalisation="results/unfolding/normalisation.json",
        diagnostics="results/unfolding/{method}/diagnostics/nominal.json",
        schema=os.path.relpath(ROOT / "src/lhcml/unfolding/manifest.schema.json"),
        code=sources("lhcml.unfolding.publish_dataset"),
    output:
        parquet="results/unfolding/{method}/dataset/events.parquet",
        hdf5="results/unfolding/{method}/dataset/events.h5",
        manifest="results/unfolding/{method}/dataset/manifest.json",
        readme="results/unfolding/{method}/dataset/README.md",
        hepdata=directory("results/unfolding/{method}/dataset/hepdata"),
    log:
        "results/logs/unfolding/publish_dataset/{method}.log",
    benchmark:
        "results/benchmarks/unfolding/publish_dataset/{method}.tsv"
    wildcard_constraints:
        method=one_of(PUBLISHED),
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(60, seconds_per_mb=5),
    params:
        config=dataset_settings,
    shell:
        "python -m lhcml.unfolding.publish_dataset --simulation {input.simulation:q} --weights {input.weights:q} "
        "--normalisation {input.normalisation:q} --diagnostics {input.diagnostics:q} --config {params.config:q} --parquet {output.parquet:q} "
        "--hdf5 {output.hdf5:q} --manifest {output.manifest:q} --readme {output.readme:q} --hepdata {output.hepdata:q} "
        "> {log:q} 2>&1"


rule histogram_observable:
    """Make the spectrum of a new observable from the published data set alone, with all uncertainties.

    Wildcards: method, observable (a name in `unfolding.derived`).
    """
    input:
        dataset=expand(
            "results/unfolding/{{method}}/dataset/{file}",
            file=["events.parquet", "events.h5", "manifest.json"],
        ),
        code=sources("lhcml.unfolding.histogram_observable"),
    output:
        json="results/unfolding/{method}/derived/{observable}.json",
        csv="results/unfolding/{method}/derived/{observable}.csv",
        png=report(
            "results/unfolding/{method}/derived/{observable}.png",
            caption="../report/unfolding/derived.rst",
            category="Unfolding",
            labels={"method": "{method}", "shows": "{observable}, from the data set"},
        ),
        pdf="results/unfolding/{method}/derived/{observable}.pdf",
    log:
        "results/logs/unfolding/histogram_observable/{method}_{observable}.log",
    benchmark:
        "results/benchmarks/unfolding/histogram_observable/{method}_{observable}.tsv"
    wildcard_constraints:
        method=one_of(PUBLISHED),
        observable=one_of(UNFOLDING["derived"]),
    conda:
        "../../envs/unfolding.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=3),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        arguments=derived_arguments,
    shell:
        "python -m lhcml.unfolding.histogram_observable --dataset $(dirname {input.dataset[0]:q}) {params.arguments} "
        "--json {output.json:q} --csv {output.csv:q} --plot {output.png:q} > {log:q} 2>&1"
