"""Jet observables, constituents and Lund declusterings in Parquet."""
