# Events made here: Pythia 8, a parametric detector, jets, and plots that validate them.
include: "samples_functions.smk"


rule generate_events:
    """Generate one chunk of a dataset.

    Pythia 8 events with weights of shower variations, a parametric detector with energy flow, anti-kT jets at both levels;
    written with NanoAOD and PFNano branch names.
    Wildcards: channel, dataset, chunk (number of the job, from 0).
    """
    input:
        code=sources("lhcml.samples.generate_events"),
    output:
        "results/samples/{channel}/{dataset}/{chunk}.root",
    log:
        "results/logs/samples/generate_events/{channel}_{dataset}_{chunk}.log",
    benchmark:
        "results/benchmarks/samples/generate_events/{channel}_{dataset}_{chunk}.tsv"
    conda:
        "../../envs/samples.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_event=0.05),
        runtime=runtime(10, seconds_per_event=0.1),
    params:
        generate=lambda wildcards: as_json(datasets(wildcards.channel)[wildcards.dataset]["generate"]),
        content=lambda wildcards: as_json(config["channels"][wildcards.channel]["samples"]),
        events=events_of_chunk,
        first=lambda wildcards: int(wildcards.chunk) * EVENTS_PER_CHUNK + 1,
        block=lambda wildcards: int(wildcards.chunk) + 1,
        seed=job_seed("generate_events", "channel", "dataset", "chunk"),
    shell:
        "python -m lhcml.samples.generate_events --generate {params.generate:q} --content {params.content:q} "
        "--events {params.events} --first-event {params.first} --luminosity-block {params.block} "
        "--seed {params.seed} --output {output:q} > {log:q} 2>&1"


rule plot_validation:
    """Validate the generated events of a channel.

    Leading jets, response and resolution against particle level, missing momentum, lepton efficiency, shower weights and
    cross sections of the chunks.
    Wildcards: channel.
    """
    input:
        events=validated_files,
        code=sources("lhcml.samples.plot_validation"),
    output:
        jets=report(
            "results/samples/plots/jets_{channel}.png",
            caption="../report/samples/jets.rst",
            category="Samples",
            labels={"channel": "{channel}", "shows": "jets"},
        ),
        response=report(
            "results/samples/plots/response_{channel}.png",
            caption="../report/samples/response.rst",
            category="Samples",
            labels={"channel": "{channel}", "shows": "response"},
        ),
        weights=report(
            "results/samples/plots/weights_{channel}.png",
            caption="../report/samples/weights.rst",
            category="Samples",
            labels={"channel": "{channel}", "shows": "weights"},
        ),
        pdf=multiext("results/samples/plots/", "jets_{channel}.pdf", "response_{channel}.pdf", "weights_{channel}.pdf"),
    log:
        "results/logs/samples/plot_validation/{channel}.log",
    benchmark:
        "results/benchmarks/samples/plot_validation/{channel}.tsv"
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=5),
        runtime=runtime(20, seconds_per_mb=1),
    params:
        label=lambda wildcards: config["channels"][wildcards.channel]["label"],
    shell:
        "python -m lhcml.samples.plot_validation --events {input.events:q} --label={params.label:q} "
        "--jets {output.jets:q} --response {output.response:q} --weights {output.weights:q} > {log:q} 2>&1"
