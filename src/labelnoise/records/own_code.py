"""The source of a user's own components: a record holds its hashes, and is not reused once it has changed.

Nothing is imported to find it, so that a configuration cannot run code here.
"""

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from labelnoise.files.reading import sha256

PACKAGE = Path(__file__).resolve().parents[1]
INSTALLED = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
LIBRARIES = {"site-packages", "dist-packages"}

# file -> the spec of the module loaded from it, and its hash then: what was loaded counts, not what was edited since
_loaded: dict[str, tuple[ModuleSpec | None, str]] = {}


def own_code(config: Mapping[str, Any]) -> dict[str, str]:
    """Hashes of the source files of a configuration's own components: those of the modules of every `_target_` outside
    this package and the installed libraries, and of the own modules that they import.

    Args:
        config: an effective one.
    Returns:
        the file, as `folder/module.py` from where it is imported -> 16 hex digits of its sha256.
    """
    found: dict[str, str] = {}
    waiting = [module for target in _targets(config) for module in _prefixes(target)]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if (source := _own_source(name)) is None:
            continue
        path, is_package = source
        file = name.replace(".", "/") + ("/__init__.py" if is_package else path.suffix)
        found[file] = _hashed(name, path)
        waiting += _imported(path, name if is_package else name.rpartition(".")[0])
    return dict(sorted(found.items()))


def differing(then: Mapping[str, str] | None, now: Mapping[str, str]) -> str:
    """The files that differ between two results of `own_code`, with commas; empty if none does.

    Args:
        then: None where it is not recorded, and nothing can be compared.
        now: empty where the components are not there, as on another machine.
    """
    if not then or not now:
        return ""
    return ", ".join(file for file in sorted({*then, *now}) if then.get(file) != now.get(file))


def changed(record: Mapping[str, Any]) -> str:
    """The files of own code that have changed since a record was made, with commas; empty if none has."""
    then = record["environment"].get("code")
    return differing(then, own_code(record["config"])) if then else ""


def _targets(node: Any) -> Iterator[str]:
    """Every `_target_` with a module: a function of this package is recorded by its name alone."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "_target_" and isinstance(value, str) and "." in value:
                yield value
            yield from _targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from _targets(value)


def _prefixes(name: str) -> list[str]:
    """a, a.b and a.b.c of a.b.c: importing a module runs its packages too."""
    parts = name.split(".")
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def _own_source(name: str) -> tuple[Path, bool] | None:
    """The source file of an own module, and whether it is a package's; None for a library's or without a file."""
    if name == "__main__":
        file = getattr(sys.modules.get(name), "__file__", None)
        return (Path(file), False) if file and _is_own(Path(file)) else None
    top, *inner = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # ValueError: a module without a spec
        return None
    if spec is None:
        return None
    path = Path(spec.origin) if spec.has_location and spec.origin else None
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    for part in inner:
        packages = [folder / part / "__init__.py" for folder in folders if (folder / part / "__init__.py").is_file()]
        modules = [folder / f"{part}.py" for folder in folders if (folder / f"{part}.py").is_file()]
        path = next(iter(packages + modules), None)
        folders = [packages[0].parent] if packages else [] if modules else [folder / part for folder in folders]
    return None if path is None or not _is_own(path) else (path, path.name == "__init__.py")


def _is_own(path: Path) -> bool:
    path = path.resolve()
    installed = LIBRARIES & set(path.parts) or any(path.is_relative_to(folder) for folder in INSTALLED)
    return path.is_file() and not installed and not path.is_relative_to(PACKAGE)


def _hashed(name: str, path: Path) -> str:
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is not None and str(path) in _loaded and _loaded[str(path)][0] is spec:  # reloading makes a new spec
        return _loaded[str(path)][1]
    found = sha256(str(path))[:16]
    if module is not None:
        _loaded[str(path)] = (spec, found)
    return found


def _imported(path: Path, package: str) -> Iterator[str]:
    """The modules that a source file names in its import statements, wherever they stand; some are not modules."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, OSError):  # no Python source
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                yield from _prefixes(f"{base}.{alias.name}" if base else alias.name)
