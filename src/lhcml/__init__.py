"""Machine learning at the LHC, from collision events to published results."""
