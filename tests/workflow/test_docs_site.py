"""The documentation as a site: no warning (links to nowhere, pages without a place), and nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from workflow_runs import ROOT, snakemake_environment


@pytest.mark.workflow
def test_the_site_is_whole_and_loads_nothing_from_elsewhere(tmp_path: Path, snakemake_bin: Path) -> None:
    environment = snakemake_environment(snakemake_bin)
    create = ["conda", "env", "create", "--file", str(ROOT / "envs/docs.yaml"), "--prefix", str(tmp_path / "env")]
    subprocess.run(create, check=True, env=environment, capture_output=True)
    # the command of `make docs-site`
    options = ("-W", "--keep-going", "-q", "-b", "html")
    build = [str(tmp_path / "env/bin/python"), "-m", "sphinx", *options, str(ROOT / "docs"), str(tmp_path / "site")]
    done = subprocess.run(build, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    for page in (ROOT / "docs").glob("*.md"):
        text = (tmp_path / "site" / page.with_suffix(".html").name).read_text()
        assert not re.search(r'<script[^>]* src="(https?:)?//', text), page
        assert not re.search(r'<link[^>]* rel="stylesheet"[^>]* href="(https?:)?//', text), page
        for image in re.findall(r'<img[^>]* src="([^"]+)"', text):
            assert (tmp_path / "site" / image).is_file(), image
    sheets = "".join(path.read_text() for path in (tmp_path / "site").rglob("*.css"))
    assert sheets
    assert not re.search(r"url\([\"']?(https?:)?//", sheets)
    assert "@import" not in sheets
