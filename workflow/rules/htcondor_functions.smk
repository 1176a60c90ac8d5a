# Resource functions of the rules in htcondor.smk.


def in_seconds(minutes):
    """Return a resource function: a runtime, which rules give in minutes, in seconds."""

    def seconds(wildcards, input, attempt, threads, rulename, async_run):
        given = dict(input=input, attempt=attempt, threads=threads, rulename=rulename, async_run=async_run)
        value = minutes.evaluate(wildcards, **given).value
        # not known yet, in a dry run
        return value if isinstance(value, str) else 60 * value

    return seconds
