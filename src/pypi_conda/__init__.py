"""A small `conda` front end that builds conda environment files from PyPI with uv.

It serves the calls that Snakemake makes where no real conda can be had; see docs/environments.md.
"""
