# Anomaly detection: dijet events, pseudo-data, scores out of fold, the search in the dijet spectrum.


include: "anomaly_functions.smk"


rule collect_dijets:
    """Collect the dijet events of a dataset: a row an event, with the features of both jets.

    Wildcards: dataset.
    """
    input:
        features=lambda wildcards: per_chunk(
            "results/features/{channel}/{dataset}/nominal/{chunk}.parquet", ANOMALY["channel"], wildcards.dataset
        ),
        code=sources("lhcml.anomaly.collect_dijets"),
    output:
        events="results/anomaly/events/{dataset}.parquet",
    log:
        "results/logs/anomaly/collect_dijets/{dataset}.log",
    benchmark:
        "results/benchmarks/anomaly/collect_dijets/{dataset}.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=2),
        runtime=runtime(10, seconds_per_mb=1),
    params:
        folder=lambda wildcards, input: os.path.dirname(input.features[0]),
        chunks=lambda wildcards: " ".join(map(str, chunks(ANOMALY["channel"], wildcards.dataset))),
    shell:
        "python -m lhcml.anomaly.collect_dijets --features {params.folder:q} --chunks {params.chunks} "
        "--output {output.events:q} > {log:q} 2>&1"


rule mix_data:
    """Make the data that are searched: simulated background with an injected signal, or collision data.

    What is left of the background is the template of methods that see a simulation of it; what is left of the signal serves as
    signal simulation and for figures of merit.

    Wildcards: mixture, seed.
    """
    input:
        events=expand("results/anomaly/events/{dataset}.parquet", dataset=dijet_datasets()),
        cutflow=dijet_cutflow(),
        code=sources("lhcml.anomaly.mix_data"),
    output:
        data="results/anomaly/{mixture}/{seed}/data.parquet",
        template="results/anomaly/{mixture}/{seed}/template.parquet",
        signal="results/anomaly/{mixture}/{seed}/signal.parquet",
        info="results/anomaly/{mixture}/{seed}/mixture.json",
    log:
        "results/logs/anomaly/mix_data/{mixture}_{seed}.log",
    benchmark:
        "results/benchmarks/anomaly/mix_data/{mixture}_{seed}.tsv"
    wildcard_constraints:
        mixture=one_of(MIXTURES),
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=1),
    params:
        config=mixture_settings,
        seed=job_seed("mix_data", "mixture", "seed"),
        cutflow=lambda wildcards, input: f"--cutflow {input.cutflow}" if input.cutflow else "",
    shell:
        "python -m lhcml.anomaly.mix_data --events results/anomaly/events {params.cutflow} "
        "--config {params.config:q} --seed {params.seed} --output $(dirname {output.data:q}) > {log:q} 2>&1"


rule score_events:
    """Score the data with one method, out of fold: no event is scored by a model that was trained on it.

    Wildcards: mixture, seed, method, window (ends of the signal region, "3300-3700").
    """
    input:
        data="results/anomaly/{mixture}/{seed}/data.parquet",
        template="results/anomaly/{mixture}/{seed}/template.parquet",
        signal="results/anomaly/{mixture}/{seed}/signal.parquet",
        code=sources("lhcml.anomaly.score_events"),
        method=lambda wildcards: sources(f"lhcml.anomaly.methods.{ANOMALY['methods'][wildcards.method]['family']}"),
    output:
        scores="results/anomaly/{mixture}/{seed}/{method}/{window}/scores.parquet",
        signal="results/anomaly/{mixture}/{seed}/{method}/{window}/signal_scores.parquet",
    log:
        "results/logs/anomaly/score_events/{mixture}_{seed}_{method}_{window}.log",
    benchmark:
        "results/benchmarks/anomaly/score_events/{mixture}_{seed}_{method}_{window}.tsv"
    wildcard_constraints:
        mixture=one_of(MIXTURES),
        method=one_of(SEARCH_METHODS),
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1500, mb_per_mb=20),
        runtime=runtime(60, seconds_per_mb=60),
    params:
        config=method_settings,
        window=window_ends,
        seed=job_seed("score_events", "mixture", "seed", "method", "window"),
    shell:
        "python -m lhcml.anomaly.score_events --mixture $(dirname {input.data:q}) --config {params.config:q} "
        "--window {params.window} --seed {params.seed} --threads {threads} --scores {output.scores:q} "
        "--signal-scores {output.signal:q} > {log:q} 2>&1"


rule compute_improvement:
    """Compute the figures of merit of a method: ROC, AUC and the largest significance improvement.

    Of the simulated truth; signal events that are not in the data count as well.

    Wildcards: mixture, seed, method, window.
    """
    input:
        scores="results/anomaly/{mixture}/{seed}/{method}/{window}/scores.parquet",
        signal="results/anomaly/{mixture}/{seed}/{method}/{window}/signal_scores.parquet",
        code=sources("lhcml.anomaly.compute_improvement"),
    output:
        metrics="results/anomaly/{mixture}/{seed}/{method}/{window}/metrics.json",
    log:
        "results/logs/anomaly/compute_improvement/{mixture}_{seed}_{method}_{window}.log",
    benchmark:
        "results/benchmarks/anomaly/compute_improvement/{mixture}_{seed}_{method}_{window}.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(10, seconds_per_mb=1),
    params:
        window=window_ends,
        label=lambda wildcards: method_label(wildcards.method),
        config=as_json({"min_background": ANOMALY["min_background"]}),
    shell:
        "python -m lhcml.anomaly.compute_improvement --scores {input.scores:q} --signal-scores {input.signal:q} "
        "--window {params.window} --label {params.label:q} --config {params.config:q} --output {output.metrics:q} "
        "> {log:q} 2>&1"


rule search_resonance:
    """Select the most anomalous events, fit their dijet mass, and search it for a resonance.

    Smooth background by F-test, signal as a double-sided Crystal Ball, local and global p-value, upper limits, and whether the
    selection sculpts the background.

    Wildcards: mixture, seed, method, window.
    """
    input:
        scores="results/anomaly/{mixture}/{seed}/{method}/{window}/scores.parquet",
        signal="results/anomaly/{mixture}/{seed}/{method}/{window}/signal_scores.parquet",
        info="results/anomaly/{mixture}/{seed}/mixture.json",
        code=sources("lhcml.anomaly.search_resonance"),
    output:
        search="results/anomaly/{mixture}/{seed}/{method}/{window}/search.json",
        png=report(
            "results/anomaly/{mixture}/{seed}/{method}/{window}/search.png",
            caption="../report/anomaly/search.rst",
            category="Anomaly",
            subcategory="Searches",
            labels={"method": "{method}", "mixture": "{mixture}, seed {seed}", "region / GeV": "{window}"},
        ),
        pdf="results/anomaly/{mixture}/{seed}/{method}/{window}/search.pdf",
    log:
        "results/logs/anomaly/search_resonance/{mixture}_{seed}_{method}_{window}.log",
    benchmark:
        "results/benchmarks/anomaly/search_resonance/{mixture}_{seed}_{method}_{window}.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=10),
        runtime=runtime(30, seconds_per_mb=2),
    params:
        config=searched_settings,
        window=window_ends,
        seed=job_seed("search_resonance", "mixture", "seed", "method", "window"),
        right=lambda wildcards: f"{method_label(wildcards.method)}, {config['channels'][ANOMALY['channel']]['label']}",
    shell:
        "python -m lhcml.anomaly.search_resonance --scores {input.scores:q} --signal {input.signal:q} "
        "--info {input.info:q} --window {params.window} --config {params.config:q} --method {wildcards.method} "
        "--mixture {wildcards.mixture} --mixture-seed {wildcards.seed} --seed {params.seed} "
        "--output {output.search:q} --figure {output.png:q} --right {params.right:q} > {log:q} 2>&1"


rule check_search:
    """Test the fit of a search with toys: bias of the signal for each background function, uniform p-values without signal.

    Wildcards: mixture, seed, method, window.
    """
    input:
        search="results/anomaly/{mixture}/{seed}/{method}/{window}/search.json",
        code=sources("lhcml.anomaly.check_search"),
    output:
        checks="results/anomaly/{mixture}/{seed}/{method}/{window}/checks.json",
        png=report(
            "results/anomaly/{mixture}/{seed}/{method}/{window}/checks.png",
            caption="../report/anomaly/checks.rst",
            category="Anomaly",
            subcategory="Checks",
            labels={"method": "{method}", "mixture": "{mixture}, seed {seed}", "region / GeV": "{window}"},
        ),
        pdf="results/anomaly/{mixture}/{seed}/{method}/{window}/checks.pdf",
    log:
        "results/logs/anomaly/check_search/{mixture}_{seed}_{method}_{window}.log",
    benchmark:
        "results/benchmarks/anomaly/check_search/{mixture}_{seed}_{method}_{window}.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(60),
    params:
        config=searched_settings,
        seed=job_seed("check_search", "mixture", "seed", "method", "window"),
        right=lambda wildcards: method_label(wildcards.method),
    shell:
        "python -m lhcml.anomaly.check_search --search {input.search:q} --config {params.config:q} --seed {params.seed} "
        "--output {output.checks:q} --figure {output.png:q} --right {params.right:q} > {log:q} 2>&1"


rule check_uniformity:
    """Test whether the p-values of pseudo-experiments without a signal are uniform, trainings included.

    Wildcards: mixture, method.
    """
    input:
        searches=lambda wildcards: searches(wildcards.method, wildcards.mixture),
        code=sources("lhcml.anomaly.check_uniformity"),
    output:
        result="results/anomaly/uniformity/{mixture}_{method}.json",
        png=report(
            "results/anomaly/uniformity/{mixture}_{method}.png",
            caption="../report/anomaly/uniformity.rst",
            category="Anomaly",
            subcategory="Checks",
            labels={"method": "{method}", "shows": "p-values without a signal"},
        ),
        pdf="results/anomaly/uniformity/{mixture}_{method}.pdf",
    log:
        "results/logs/anomaly/check_uniformity/{mixture}_{method}.log",
    benchmark:
        "results/benchmarks/anomaly/check_uniformity/{mixture}_{method}.tsv"
    wildcard_constraints:
        mixture=one_of(MIXTURES),
        method=one_of(SEARCH_METHODS),
    localrule: True
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=lambda wildcards: method_label(wildcards.method),
    shell:
        "python -m lhcml.anomaly.check_uniformity --searches {input.searches:q} --output {output.result:q} "
        "--figure {output.png:q} --right {params.right:q} > {log:q} 2>&1"


rule scan_injections:
    """Collect the searches of a method over mixtures and seeds: significance against the injected cross section.

    With the cross section at which the median reaches 5 sigma.

    Wildcards: method.
    """
    input:
        searches=lambda wildcards: searches(wildcards.method, plain=True),
        code=sources("lhcml.anomaly.scan_injections"),
    output:
        scan="results/anomaly/search/{method}.json",
    log:
        "results/logs/anomaly/scan_injections/{method}.log",
    benchmark:
        "results/benchmarks/anomaly/scan_injections/{method}.tsv"
    wildcard_constraints:
        method=one_of(SEARCH_METHODS),
    localrule: True
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        label=lambda wildcards: method_label(wildcards.method),
    shell:
        "python -m lhcml.anomaly.scan_injections --searches {input.searches:q} --label {params.label:q} "
        "--output {output.scan:q} > {log:q} 2>&1"


rule plot_injections:
    """Draw the significance of each method against the injected cross section, with the line of 5 sigma."""
    input:
        scans=expand("results/anomaly/search/{method}.json", method=SEARCH_METHODS),
        code=sources("lhcml.anomaly.plot_injections"),
    output:
        png=report(
            "results/anomaly/plots/injections.png",
            caption="../report/anomaly/injections.rst",
            category="Anomaly",
            labels={"shows": "significance against cross section"},
        ),
        pdf="results/anomaly/plots/injections.pdf",
    log:
        "results/logs/anomaly/plot_injections.log",
    benchmark:
        "results/benchmarks/anomaly/plot_injections/all.tsv"
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=lambda wildcards: config["channels"][ANOMALY["channel"]]["label"],
    shell:
        "python -m lhcml.anomaly.plot_injections --scans {input.scans:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"


rule plot_improvement:
    """Draw the significance improvement and the ROC curves of the methods on a mixture, with the spread over seeds.

    Wildcards: mixture.
    """
    input:
        metrics=lambda wildcards: searches(mixture=wildcards.mixture, name="metrics.json"),
        code=sources("lhcml.anomaly.plot_improvement"),
    output:
        png=report(
            "results/anomaly/plots/improvement_{mixture}.png",
            caption="../report/anomaly/improvement.rst",
            category="Anomaly",
            labels={"shows": "significance improvement, {mixture}"},
        ),
        pdf="results/anomaly/plots/improvement_{mixture}.pdf",
    log:
        "results/logs/anomaly/plot_improvement/{mixture}.log",
    benchmark:
        "results/benchmarks/anomaly/plot_improvement/{mixture}.tsv"
    wildcard_constraints:
        mixture=one_of(MIXTURES),
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        right=lambda wildcards: mixture_label(wildcards.mixture),
    shell:
        "python -m lhcml.anomaly.plot_improvement --metrics {input.metrics:q} --right={params.right:q} "
        "--output {output.png:q} > {log:q} 2>&1"


rule compare_searches:
    """Compare the methods of the search: figures of merit and sensitivity, over seeds, beside published values."""
    input:
        searches=searches(),
        metrics=[] if ANOMALY["data"] else searches(name="metrics.json"),
        scans=[] if ANOMALY["data"] else expand("results/anomaly/search/{method}.json", method=SEARCH_METHODS),
        code=sources("lhcml.anomaly.compare_searches"),
        published=os.path.relpath(ROOT / "src/lhcml/anomaly/published.json"),
    output:
        json="results/anomaly/comparison.json",
        csv=report(
            "results/anomaly/comparison.csv",
            caption="../report/anomaly/comparison.rst",
            category="Anomaly",
            labels={"table": "methods of the search"},
        ),
    log:
        "results/logs/anomaly/compare_searches.log",
    benchmark:
        "results/benchmarks/anomaly/compare_searches/all.tsv"
    localrule: True
    conda:
        "../../envs/anomaly.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        window=SIGNAL_REGION,
        config=comparison_of_searches,
    shell:
        "python -m lhcml.anomaly.compare_searches --folder results/anomaly --window {params.window} "
        "--config {params.config:q} --json {output.json:q} --csv {output.csv:q} > {log:q} 2>&1"
