# What a job asks of HTCondor, whose executor reads memory and time under names of its own.


include: "htcondor_functions.smk"


HTCONDOR_MEMORY = "htcondor_request_mem_mb"
HTCONDOR_TIMES = ("allowed_execute_duration", "classad_MaxRuntime")

# The names are there if the profile has them among its default resources
for every_rule in workflow.rules:
    resources = every_rule.resources
    if HTCONDOR_MEMORY in resources:
        resources[HTCONDOR_MEMORY] = resources["mem_mb"].with_name(HTCONDOR_MEMORY)
    for name in HTCONDOR_TIMES:
        if name in resources:
            resources[name] = in_seconds(resources["runtime"])
