from __future__ import annotations

from pathlib import Path

import pytest

from lhcml.common.sources import direct_imports, import_closure, module_file

ROOT = Path(__file__).parents[2]
STAGES = ("samples", "skim", "features", "taggers", "anomaly", "unfolding", "inference", "firmware", "report")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {
        "pack/__init__.py": "",
        "pack/a.py": "import os\nfrom pack.b import f\n",
        "pack/b.py": "def f():\n    from pack.sub import c\n    return c\n",
        "pack/d.py": "import pack.a\n",
        "pack/alone.py": "import packaging\n",
        "pack/sub/__init__.py": "",
        "pack/sub/c.py": "import pack.a\n",  # a circle: a -> b -> sub.c -> a
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def names(paths: list[Path], root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in paths]


def test_closure_follows_imports_at_any_depth_and_survives_circles(package: Path) -> None:
    expected = ["pack/__init__.py", "pack/a.py", "pack/b.py", "pack/sub/__init__.py", "pack/sub/c.py"]
    assert names(import_closure("pack.a", package), package) == expected
    assert names(import_closure("pack.d", package), package) == sorted([*expected, "pack/d.py"])


def test_closure_leaves_out_other_packages_even_with_a_common_prefix(package: Path) -> None:
    assert names(import_closure("pack.alone", package), package) == ["pack/__init__.py", "pack/alone.py"]


def test_unknown_module_and_relative_import_are_errors(package: Path) -> None:
    with pytest.raises(ValueError, match=r"no module pack\.zzz"):
        import_closure("pack.zzz", package)
    (package / "pack/rel.py").write_text("from . import a\n")
    with pytest.raises(ValueError, match="relative import"):
        import_closure("pack.rel", package)


def test_a_stage_imports_common_and_itself_only() -> None:
    for stage in STAGES:
        for path in (ROOT / "src/lhcml" / stage).rglob("*.py"):
            for name in direct_imports(path, "lhcml"):
                other = name.split(".")[1] if "." in name else stage
                assert other in (stage, "common"), f"{path.name} of {stage} imports {name}"


def test_common_imports_no_stage_and_nothing_imports_snakemake() -> None:
    for path in (ROOT / "src/lhcml").rglob("*.py"):
        assert not direct_imports(path, "snakemake"), path
    for path in (ROOT / "src/lhcml/common").rglob("*.py"):
        assert all(name.startswith("lhcml.common") for name in direct_imports(path, "lhcml") if name != "lhcml"), path


def test_no_source_file_is_over_400_lines() -> None:
    for path in [*ROOT.glob("src/**/*.py"), *ROOT.glob("workflow/**/*.smk"), *ROOT.glob("workflow/*.py")]:
        assert len(path.read_text().splitlines()) <= 400, path


def test_module_file_finds_packages_and_modules() -> None:
    assert module_file("lhcml.common", ROOT / "src") == ROOT / "src/lhcml/common/__init__.py"
    assert module_file("lhcml.common.seeds", ROOT / "src") == ROOT / "src/lhcml/common/seeds.py"
    assert module_file("lhcml.nothing", ROOT / "src") is None
