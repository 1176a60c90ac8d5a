"""Simulated events in NanoAOD/PFNano form."""
