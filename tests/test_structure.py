"""The architecture: which module may import which, where true labels and Hydra may appear, how files are called."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest
from conftest import REPOSITORY, every

import labelnoise
from labelnoise import losses
from labelnoise.run import compose

SOURCE = REPOSITORY / "src" / "labelnoise"
FILES = sorted(SOURCE.rglob("*.py"))

# layer -> the layers that it may import; every layer may import its own package's base.py
ALLOWED = {
    "cli": {"claims", "config", "run"},
    "sweep": {"sweep", "checkpoints", "claims", "cli", "config", "progress", "records", "run", "tables"},
    "run": {
        "assembly",
        "records",
        "checkpoints",
        "claims",
        "config",
        "progress",
        "device",
        "metrics",
        "trainer",
        "datasets",
        "methods",
        "trackers",
    },
    "assembly": {"data", "datasets", "device", "learner", "methods", "trainer"},
    "config": {"records"},
    "tables": {"config", "identities", "records"},
    "identities": {"config", "records"},
    "comparison": {"config", "records", "tables"},
    "rendering": {"comparison", "progress", "records", "tables"},
    "records": set(),
    "claims": set(),
    "metrics": set(),
    "device": {"kernels"},
    "checkpoints": {"records", "methods.base", "trainer"},
    "trainer": {"data", "graphs", "methods.base"},
    "graphs": set(),
    "methods": {"learner", "data", "losses.base"},
    "learner": set(),
    "data": set(),
    "datasets": {"datasets.mnist"},  # digits are mistaken for each other as MNIST's are
    "noise": set(),
    "losses": set(),
    "networks": {"kernels"},
    "augment": set(),
    "schedules": set(),
    "progress": set(),
    "trackers": set(),
    "kernels": set(),
}


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


@pytest.mark.parametrize("path", FILES, ids=module)
def test_imports_go_one_way(path: Path) -> None:
    layer = module(path).split(".")[0]
    if layer == "__init__":
        return
    for name in imported(path):
        if not name.startswith("labelnoise.") or name == "labelnoise.__version__":
            continue
        target = name.removeprefix("labelnoise.")
        package = target.split(".")[0]
        own_base = package == layer and (target.split(".")[1:2] in (["base"], ["erm"]) or layer == "kernels")
        allowed = own_base or any(f"{target}.".startswith(f"{a}.") for a in ALLOWED[layer])
        assert allowed, f"{module(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_configuration_stops_at_the_top(path: Path) -> None:
    if module(path) not in ("run", "assembly", "config", "cli", "records", "identities", "tables"):
        assert not {n for n in imported(path) if n.split(".")[0] in ("hydra", "omegaconf")}, path
    if module(path) not in ("run", "assembly"):
        assert not re.search(r"utils\.instantiate|import instantiate", path.read_text()), "made elsewhere"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_true_labels_stay_out_of_methods_reach(path: Path) -> None:
    if module(path).split(".")[0] not in ("datasets", "noise", "run", "assembly", "trainer", "metrics"):
        assert "true_labels" not in path.read_text()


@pytest.mark.parametrize("path", FILES, ids=module)
def test_size_and_names(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
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
    target = compose([f"loss={name}"]).loss["_target_"].split(".")[-1]
    assert callable(getattr(losses, target))
    assert target == name or target == "weighted_sum"


def test_loss_modules_are_not_named_like_losses() -> None:
    modules = {found.name for found in pkgutil.iter_modules(losses.__path__)}
    assert not modules & set(every("loss")), "`labelnoise.losses.<name>` would be the module, not the loss"


def test_loss_docstrings_say_shapes_and_source() -> None:
    for found in pkgutil.iter_modules(losses.__path__):
        content = importlib.import_module(f"labelnoise.losses.{found.name}")
        for name, function in inspect.getmembers(content, inspect.isfunction):
            if function.__module__ == content.__name__ and found.name != "base" and not name.startswith("_"):
                assert "Shapes:" in (function.__doc__ or ""), name
                if name not in ("ce", "weighted_sum"):
                    assert "Source:" in function.__doc__, name


def test_extras_and_slow_imports_are_imported_when_used() -> None:
    for path in FILES:
        top = {n.split(".")[0] for node in ast.parse(path.read_text()).body for n in _names(node)}
        when_first_needed = module(path) in ("kernels.passes", "kernels.winograd")
        top -= {"numba"} if when_first_needed else set()
        assert not top & {"wandb", "tensorboard", "matplotlib", "timm", "torchvision", "sklearn", "numba"}, path
    for light in ("cli", "run", "assembly", "config", "records", "progress", "claims", "identities", "tables"):
        top = {n.split(".")[0] for node in ast.parse((SOURCE / f"{light}.py").read_text()).body for n in _names(node)}
        assert not top & {"torch", "numpy", "scipy"}, f"{light}.py is imported by train.py --help"


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def test_version_is_the_packages() -> None:
    assert f'version = "{labelnoise.__version__}"' in (REPOSITORY / "pyproject.toml").read_text()
