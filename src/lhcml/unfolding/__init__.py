"""Unfolding of detector effects, unbinned and binned, with its uncertainties and tests."""
