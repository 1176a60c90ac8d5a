# Inference: what is published.
INFERENCE_PUBLICATION_TARGETS = []
