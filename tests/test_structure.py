"""The architecture: which module may import which, where true labels and Hydra may appear, how files are called."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports
from support.configs import composed, every
from support.data import REPOSITORY

import labelnoise
from labelnoise import losses

SOURCE = REPOSITORY / "src" / "labelnoise"
FILES = sorted(SOURCE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of all that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts)


def test_packages_import_only_what_is_below_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The layers of pyproject.toml, which name every package."""
    monkeypatch.chdir(REPOSITORY)
    assert lint_imports(no_cache=True) == 0


def test_no_two_files_import_each_other() -> None:
    """Nor more of them in a circle, wherever in a file the import stands."""
    files = {f"labelnoise.{module(path)}".removesuffix(".__init__"): path for path in FILES}
    needs = {name: {n for n in _modules(path, files) if n != name} for name, path in files.items()}
    needs["labelnoise"] = set()  # hands its public names on when they are used
    while free := [name for name, others in needs.items() if not others]:
        for name in free:
            del needs[name]
        for others in needs.values():
            others.difference_update(free)
    assert not needs, "circles, and what needs them"


def _modules(path: Path, files: dict[str, Path]) -> set[str]:
    """The files of this package that a file imports."""
    names = imported(path)
    return {n if n in files else n.rpartition(".")[0] for n in names} & files.keys()


def test_every_package_says_what_it_holds() -> None:
    for package in (path for path in SOURCE.iterdir() if path.is_dir() and path.name != "__pycache__"):
        assert ast.get_docstring(ast.parse((package / "__init__.py").read_text())), package.name


@pytest.mark.parametrize("path", FILES, ids=module)
def test_configuration_stops_at_the_top(path: Path) -> None:
    if module(path).split(".")[0] not in ("audit", "bench", "checks", "cli", "config", "docs", "experiment", "tables"):
        assert not {n for n in imported(path) if n.split(".")[0] in ("hydra", "omegaconf")}, path
    made_here = ("bench.sides", "checks.parts", "experiment.assemble", "experiment.components", "experiment.estimator")
    if module(path) not in made_here:
        assert not re.search(r"utils\.instantiate|import instantiate", path.read_text()), "made elsewhere"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_true_labels_stay_out_of_methods_reach(path: Path) -> None:
    if not {module(path).split(".")[0], module(path)} & {
        "checks",
        "data",
        "noise",
        "experiment",
        "features",
        "audit.evaluation",
        "embed.file",
        "training.diagnose",
        "cli.noise",
    }:
        assert "true_labels" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=module)
def test_size_and_names(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 250
    assert path.stem not in ("utils", "helpers", "common", "misc")
    if path.stem != "__init__" or path.stat().st_size:
        assert ast.get_docstring(ast.parse(path.read_text())), "the first line says what the file is"


def test_public_functions_have_docstrings() -> None:
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module(path)}.{node.name}"


@pytest.mark.parametrize("name", every("loss"))
def test_every_loss_is_one_public_name(name: str) -> None:
    """`from labelnoise.losses import <name>` works for each card, and no module hides a loss."""
    target = composed(f"loss={name}").loss["_target_"].split(".")[-1]
    assert callable(getattr(losses, target))
    assert target in (name, "weighted_sum", "logit_bias")


def test_loss_modules_are_not_named_like_losses() -> None:
    modules = {found.name for found in pkgutil.iter_modules(losses.__path__)}
    assert not modules & set(every("loss")), "`labelnoise.losses.<name>` would be the module, not the loss"


def test_loss_docstrings_say_shapes_and_source() -> None:
    for found in pkgutil.iter_modules(losses.__path__):
        content = importlib.import_module(f"labelnoise.losses.{found.name}")
        for name, function in inspect.getmembers(content, inspect.isfunction):
            if (
                function.__module__ == content.__name__
                and found.name not in ("base", "cards", "class_tree", "conditions")
                and not name.startswith("_")
            ):
                assert "Shapes:" in (function.__doc__ or ""), name
                if name not in ("ce", "weighted_sum"):
                    assert "Source:" in function.__doc__, name


def test_extras_and_slow_imports_are_imported_when_used() -> None:
    for path in FILES:
        top = {n.split(".")[0] for node in ast.parse(path.read_text()).body for n in _names(node)}
        when_first_needed = {
            "bench.published": {"PIL", "torchvision"},
            "cpu.derivatives": {"numba"},
            "cpu.passes": {"numba"},
            "cpu.pixels": {"numba"},
            "cpu.winograd": {"numba"},
            "sklearn.classifier": {"sklearn"},
        }
        top -= when_first_needed.get(module(path), set())
        slow = {"wandb", "tensorboard", "matplotlib", "timm", "torchvision", "sklearn", "numba", "cleanlab", "PIL"}
        assert not top & slow, path
    heavy = (
        "import sys, labelnoise.cli.main, labelnoise.cli.train; print(*{'torch', 'numpy', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert not done.stdout.strip(), "imported by train.py --help"


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_version_is_the_packages() -> None:
    assert f'version = "{labelnoise.__version__}"' in (REPOSITORY / "pyproject.toml").read_text()


def test_a_package_fits_into_a_head() -> None:
    """A file has at most 250 lines (above), a package at most 2,500."""
    for package in (path for path in SOURCE.iterdir() if path.is_dir()):
        assert sum(len(path.read_text().splitlines()) for path in package.rglob("*.py")) <= 2500, package.name


def test_no_test_imports_another() -> None:
    for path in (REPOSITORY / "tests").rglob("*.py"):
        found = {name.split(".")[0] for name in imported(path)}
        assert not [name for name in found if name.startswith("test_") or name == "conftest"], path.name
