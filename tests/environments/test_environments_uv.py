from pathlib import Path

import pytest

from pypi_conda.uv import explain, uv_environment


@pytest.mark.parametrize(
    ("output", "fix"),
    [
        ("Because pythia8mc==8.318.0 has no usable wheels and you require", "nothing is compiled here"),
        ("Because a==1 has no wheels with a matching Python ABI tag", "nothing is compiled here"),
        ("Failed to fetch: https://example.org/whl/cpu/torch/", "index of torch builds"),
        ("Failed to fetch: https://example.org/simple/six/", "check the network"),
        ("Failed to fetch: https://example.org/ invalid peer certificate: UnknownIssuer", "UV_SYSTEM_CERTS"),
        ("No solution found: because a==1 and a==2", "no set of versions"),
        ("No solution found: because zzz was not found in the package registry", "no package of that name"),
        ("No space left on device (os error 28)", "free some space"),
        ("something else", "uv's lines above"),
    ],
)
def test_failures_are_explained(output: str, fix: str) -> None:
    assert fix in explain(output)


def test_uv_sees_neither_other_environments_nor_shims(tmp_path: Path) -> None:
    versions = tmp_path / "versions"
    for version in ("2.7.18", "3.12.1"):
        (versions / version / "bin").mkdir(parents=True)
    given = {"PATH": f"{tmp_path}/shims:/usr/bin", "PYENV_ROOT": str(tmp_path), "VIRTUAL_ENV": "v", "PYTHONPATH": "p"}
    result = uv_environment(given)
    assert result["PATH"] == f"/usr/bin:{versions}/3.12.1/bin"
    assert not {"VIRTUAL_ENV", "PYTHONPATH"} & set(result)
    assert result["UV_PYTHON_DOWNLOADS"] == "never"
