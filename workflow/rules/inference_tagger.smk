# Inference: the tagger of a measurement that asks for the best one.


# A checkpoint, since which jets must be scored under which shift is known only after the choice
checkpoint choose_tagger:
    """Choose the tagger of a measurement: the one with the largest area under the ROC curve of the validation jets.

    Candidates are the taggers trained here, with the seed of the measurement.
    Wildcards: {measurement} a measurement with `tagger: best`.
    """
    input:
        scores=candidate_scores,
        code=sources("lhcml.inference.choose_tagger"),
    output:
        tagger="results/inference/{measurement}/tagger.json",
    log:
        "results/logs/inference/choose_tagger/{measurement}.log",
    benchmark:
        "results/benchmarks/inference/choose_tagger/{measurement}.tsv"
    wildcard_constraints:
        measurement=one_of([name for name, block in MEASUREMENTS.items() if block.get("tagger") == BEST_TAGGER]),
    conda:
        "../../envs/inference.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000, mb_per_mb=1),
        runtime=runtime(10, seconds_per_mb=1),
    params:
        scores=lambda wildcards: as_json(candidate_files(MEASUREMENTS[wildcards.measurement])),
    shell:
        "python -m lhcml.inference.choose_tagger --scores {params.scores:q} --output {output.tagger:q} > {log:q} 2>&1"
