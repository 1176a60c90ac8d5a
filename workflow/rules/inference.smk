# Inference: pyhf workspaces built here or given, fits, limits, pseudo-experiments, publications.


include: "inference_functions.smk"
include: "inference_tagger_functions.smk"
include: "inference_tagger.smk"
include: "inference_model_functions.smk"
include: "inference_model.smk"
include: "inference_import_functions.smk"
include: "inference_import.smk"
include: "inference_results.smk"
include: "inference_limits_functions.smk"
include: "inference_limits.smk"
include: "inference_toys_functions.smk"
include: "inference_toys.smk"
include: "inference_publication.smk"


INFERENCE_TARGETS = (
    INFERENCE_MODEL_TARGETS
    + INFERENCE_IMPORT_TARGETS
    + INFERENCE_RESULTS_TARGETS
    + INFERENCE_LIMITS_TARGETS
    + INFERENCE_TOYS_TARGETS
    + INFERENCE_PUBLICATION_TARGETS
)
SUMMARISED_RESULTS = [
    file for result in TOLD for file in with_result(result, f"{result}.json") if "/patches/" not in file
]
SUMMARISED_RESULTS += grids_with_limits("limits.json")
SUMMARISED_RESULTS += [file for file in INFERENCE_PUBLICATION_TARGETS if file.endswith("publication.check.json")]
