# From a quantised model to gates: projects for vendor tools, RTL, its simulation, synthesis, place and route.


rule convert_network:
    """Write a network as an hls4ml project, compile it and compare it with the quantised network bit by bit.

    The project holds the scripts for the vendor's tool.
    Wildcards: model, point; {backend} `vitis` or `oneapi`, {reuse} how often a multiplier is used for an event.
    """
    input:
        model="results/firmware/{model}/{point}/model.keras",
        stimuli="results/firmware/{model}/{point}/stimuli.npz",
        code=sources("lhcml.firmware.convert_network"),
    output:
        project=directory("results/firmware/{model}/{point}/hls/{backend}_reuse{reuse}"),
        meta="results/firmware/{model}/{point}/hls/{backend}_reuse{reuse}.json",
    log:
        "results/logs/firmware/convert_network/{model}_{point}_{backend}_reuse{reuse}.log",
    benchmark:
        "results/benchmarks/firmware/convert_network/{model}_{point}_{backend}_reuse{reuse}.tsv"
    wildcard_constraints:
        point=POINT,
        backend="vitis|oneapi",
        reuse=r"\d+",
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000, mb_per_mb=40),
        runtime=runtime(60, seconds_per_mb=20),
    params:
        clock=FIRMWARE["clock_mhz"],
        part=FIRMWARE["part"],
    shell:
        "python -m lhcml.firmware.convert_network --model {input.model:q} --stimuli {input.stimuli:q} "
        "--backend {wildcards.backend} --reuse {wildcards.reuse} --clock-mhz {params.clock} --part {params.part:q} "
        "--project {output.project:q} --output {output.meta:q} > {log:q} 2>&1"


rule emulate_trees:
    """Write trees as a conifer project, compile it and compare it with the quantised trees bit by bit.

    Wildcards: model, point.
    """
    input:
        model="results/firmware/{model}/{point}/model.json",
        stimuli="results/firmware/{model}/{point}/stimuli.npz",
        code=sources("lhcml.firmware.emulate_trees"),
    output:
        project=directory("results/firmware/{model}/{point}/hls/conifer_reuse1"),
        meta="results/firmware/{model}/{point}/hls/conifer_reuse1.json",
    log:
        "results/logs/firmware/emulate_trees/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/emulate_trees/{model}_{point}.tsv"
    wildcard_constraints:
        point=POINT,
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000, mb_per_mb=40),
        runtime=runtime(60, seconds_per_mb=20),
    params:
        clock=FIRMWARE["clock_mhz"],
        part=FIRMWARE["part"],
    shell:
        "python -m lhcml.firmware.emulate_trees --model {input.model:q} --stimuli {input.stimuli:q} "
        "--clock-mhz {params.clock} --part {params.part:q} --project {output.project:q} --meta {output.meta:q} "
        "> {log:q} 2>&1"


rule read_reports:
    """Read the reports of a vendor's tool that was run in the project of a point.

    Wildcards: model, point.
    """
    input:
        projects=lambda wildcards: firmware_projects(wildcards.model, wildcards.point),
        code=sources("lhcml.firmware.read_reports"),
    output:
        vendor="results/firmware/{model}/{point}/vendor.json",
    log:
        "results/logs/firmware/read_reports/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/read_reports/{model}_{point}.tsv"
    wildcard_constraints:
        point=POINT,
    localrule: True
    conda:
        "../../envs/plots.yaml"
    threads: 1
    resources:
        mem_mb=memory(1000),
        runtime=runtime(10),
    params:
        projects=lambda wildcards, input: [path.removesuffix(".json") for path in input.projects],
    shell:
        "python -m lhcml.firmware.read_reports --projects {params.projects:q} --output {output.vendor:q} > {log:q} 2>&1"


rule write_rtl:
    """Write a quantised model as Verilog: products as sums of shifts, pipelined for the clock, an event every cycle.

    Wildcards: model, point.
    """
    input:
        model=firmware_model_file,
        encoding="results/firmware/{model}/{point}/encoding.json",
        stimuli="results/firmware/{model}/{point}/stimuli.npz",
        code=sources("lhcml.firmware.write_rtl"),
    output:
        project=directory("results/firmware/{model}/{point}/rtl"),
        meta="results/firmware/{model}/{point}/rtl.json",
    log:
        "results/logs/firmware/write_rtl/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/write_rtl/{model}_{point}.tsv"
    wildcard_constraints:
        point=POINT,
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, mb_per_mb=40),
        runtime=runtime(60, seconds_per_mb=20),
    params:
        clock=FIRMWARE["clock_mhz"],
        part=FIRMWARE["part"],
    shell:
        "python -m lhcml.firmware.write_rtl --model {input.model:q} --encoding {input.encoding:q} --stimuli {input.stimuli:q} "
        "--clock-mhz {params.clock} --part {params.part:q} --project {output.project:q} --output {output.meta:q} "
        "> {log:q} 2>&1"


rule simulate_rtl:
    """Simulate the Verilog cycle by cycle and compare it with the quantised model bit by bit; a difference fails.

    Wildcards: model, point.
    """
    input:
        project="results/firmware/{model}/{point}/rtl",
        meta="results/firmware/{model}/{point}/rtl.json",
        stimuli="results/firmware/{model}/{point}/stimuli.npz",
        code=sources("lhcml.firmware.simulate_rtl"),
    output:
        simulation="results/firmware/{model}/{point}/simulation.json",
    log:
        "results/logs/firmware/simulate_rtl/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/simulate_rtl/{model}_{point}.tsv"
    wildcard_constraints:
        point=POINT,
    conda:
        "../../envs/firmware.yaml"
    threads: 1
    resources:
        mem_mb=memory(2000, mb_per_mb=40),
        runtime=runtime(60, seconds_per_mb=20),
    shell:
        "python -m lhcml.firmware.simulate_rtl --project {input.project:q} --description {input.meta:q} "
        "--stimuli {input.stimuli:q} --threads {threads} --output {output.simulation:q} > {log:q} 2>&1"


rule synthesise_rtl:
    """Synthesise the Verilog with Yosys: look-up tables, registers, carry, multipliers, memory, logic depth.

    Wildcards: model, point.
    """
    input:
        project="results/firmware/{model}/{point}/rtl",
        meta="results/firmware/{model}/{point}/rtl.json",
        code=sources("lhcml.firmware.synthesise_rtl"),
    output:
        synthesis="results/firmware/{model}/{point}/synthesis.json",
    log:
        "results/logs/firmware/synthesise_rtl/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/synthesise_rtl/{model}_{point}.tsv"
    wildcard_constraints:
        point=POINT,
    conda:
        "../../envs/synthesis.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=runtime(120),
    params:
        part=FIRMWARE["part"],
    shell:
        "python -m lhcml.firmware.synthesise_rtl --project {input.project:q} --description {input.meta:q} "
        "--part {params.part:q} --output {output.synthesis:q} > {log:q} 2>&1"


rule place_rtl:
    """Place and route the Verilog on a Lattice ECP5 with nextpnr: the highest clock of another, slower device.

    Wildcards: model, point.
    """
    input:
        project="results/firmware/{model}/{point}/rtl",
        meta="results/firmware/{model}/{point}/rtl.json",
        code=sources("lhcml.firmware.place_rtl"),
    output:
        timing="results/firmware/{model}/{point}/timing.json",
    log:
        "results/logs/firmware/place_rtl/{model}_{point}.log",
    benchmark:
        "results/benchmarks/firmware/place_rtl/{model}_{point}.tsv"
    wildcard_constraints:
        point=POINT,
    conda:
        "../../envs/synthesis.yaml"
    threads: 1
    resources:
        mem_mb=memory(3000),
        runtime=runtime(180),
    params:
        seed=job_seed("place_rtl", "model", "point"),
    shell:
        "python -m lhcml.firmware.place_rtl --project {input.project:q} --description {input.meta:q} "
        "--seed {params.seed} --output {output.timing:q} > {log:q} 2>&1"
