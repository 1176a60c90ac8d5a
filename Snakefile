# The workflow itself is workflow/Snakefile; an included file gives no default target, so it is named here.
include: "workflow/Snakefile"


rule default:
    default_target: True
    input:
        rules.all.input,
