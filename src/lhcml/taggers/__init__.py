"""Taggers: training, scores, figures of merit and their comparison with published ones."""
