# What a job asks of HTCondor, whose executor reads memory and time under names of its own.
HTCONDOR_MEMORY = "htcondor_request_mem_mb"
HTCONDOR_TIMES = ("allowed_execute_duration", "classad_MaxRuntime")


def in_seconds(minutes):
    """Return a resource function: a runtime, which rules give in minutes, in seconds."""

    def seconds(wildcards, input, attempt, threads, rulename, async_run):
        given = dict(input=input, attempt=attempt, threads=threads, rulename=rulename, async_run=async_run)
        value = minutes.evaluate(wildcards, **given).value
        # not known yet, in a dry run
        return value if isinstance(value, str) else 60 * value

    return seconds


# The names are there if the profile has them among its default resources
for every_rule in workflow.rules:
    resources = every_rule.resources
    if HTCONDOR_MEMORY in resources:
        resources[HTCONDOR_MEMORY] = resources["mem_mb"].with_name(HTCONDOR_MEMORY)
    for name in HTCONDOR_TIMES:
        if name in resources:
            resources[name] = in_seconds(resources["runtime"])
