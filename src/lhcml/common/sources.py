"""The source files a module depends on, found without importing anything.

Snakemake does not see what a `python -m` job imports. Rules therefore list the module's files as input, so that an edit
reruns the rules that use the code and no others.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path


@cache
def module_file(module: str, root: Path) -> Path | None:
    """Return the file of a module or package below `root`, or None if there is none."""
    stem = root.joinpath(*module.split("."))
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            return path
    return None


def statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the statements of a module at any depth; expressions, most of a tree, hold no imports."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        for name in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, name, [])
            # a lambda and a conditional expression have a body, too, which is no list
            waiting.extend(inner if isinstance(inner, list) else [])


@cache
def direct_imports(path: Path, package: str) -> frozenset[str]:
    """Return the dotted names inside `package` that a file imports, at any depth of its code.

    Raises
    ------
    ValueError
        If the file has a relative import, which the project does not use.
    """
    names: set[str] = set()
    for node in statements(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: relative import; write `from {package}.… import …`")
            module = node.module or ""
            # the imported name may be a module itself: `from lhcml.common import files`
            names.update({module, *(f"{module}.{alias.name}" for alias in node.names)})
    return frozenset(name for name in names if name == package or name.startswith(package + "."))


def import_closure(module: str, root: Path) -> list[Path]:
    """Return the files of a module, of all it imports inside its top package, and of their parent packages.

    Parameters
    ----------
    module : str
        Dotted name, e.g. "lhcml.skim.skim_events".
    root : Path
        Folder that holds the top package.

    Returns
    -------
    list of Path
        Sorted files.

    Raises
    ------
    ValueError
        If there is no such module.
    """
    if module_file(module, root) is None:
        raise ValueError(f"no module {module} below {root}")
    package = module.split(".")[0]
    found: set[Path] = set()
    waiting = [module]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
        path = module_file(name, root)
        if path is not None:
            found.add(path)
            waiting.extend(direct_imports(path, package))
    return sorted(found)
