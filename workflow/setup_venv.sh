#!/usr/bin/env bash
# Make the small environment that holds Snakemake: setup_venv.sh FOLDER REQUIREMENTS
set -euo pipefail
folder=$1
requirements=$2

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
  if usable "$candidate"; then python=$candidate && break; fi
done

rm -rf "$folder"
if [ -n "$python" ]; then
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv
  "$folder/bin/python" -m uv pip install --quiet --compile-bytecode --python "$folder/bin/python" -r "$requirements"
else
  # Snakemake 9 needs Python 3.11; with an older one, uv finds a newer interpreter or downloads it
  echo "no Python >= 3.11 among python3, python3.11 .. python3.14: asking uv for one" >&2
  helper=$(mktemp -d)
  trap 'rm -rf "$helper"' EXIT
  python3 -m venv "$helper"
  "$helper/bin/python" -m pip install --quiet --disable-pip-version-check uv
  "$helper/bin/uv" venv --quiet --python '>=3.11' "$folder" ||
    { echo "error: no Python >= 3.11 could be had; install one (your system's packages, or conda) and run make again" >&2; exit 1; }
  "$helper/bin/uv" pip install --quiet --compile-bytecode --python "$folder/bin/python" -r "$requirements"
fi
# the packages in src/ are used from where they are
"$folder/bin/python" - "$(dirname "$0")/../src" <<'PYTHON'
import pathlib, site, sys
pathlib.Path(site.getsitepackages()[0], "lhcml.pth").write_text(str(pathlib.Path(sys.argv[1]).resolve()) + "\n")
PYTHON
touch "$folder/.done"
