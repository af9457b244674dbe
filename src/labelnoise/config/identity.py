"""The part of a configuration that determines a run's outcome, and the id computed from it."""

import hashlib
import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from labelnoise.config.options import EFFECTIVE, FILES, NEUTRAL
from labelnoise.files.reading import sha256

PACKAGE = __name__.partition(".")[0]


def effective(cfg: DictConfig) -> dict[str, Any]:
    """The part of the configuration that determines the outcome, resolved. Folders are left out; files become hashes.

    A function of this package is given by its name alone, so that no record depends on its module. A file is a text
    with an ending of FILES, or below the key `path`; its bytes count. A function that reads files of another kind
    declares how they count: an attribute `reads`, option -> `path -> text`. Below `dataset`, a function with an
    attribute `content`, `(**options) -> text`, gets that text as the key `content`, for all the files of a data set.

    Raises:
        omegaconf.errors.OmegaConfBaseException: a value is missing.
        ValueError: a number is not finite; a file cannot be read; or a data set's content is not usable.
    """
    whole: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    return of_resolved(whole)


def of_resolved(whole: dict[str, Any]) -> dict[str, Any]:
    """As `effective`, from the resolved configuration as plain Python."""
    files = {key: whole[key] for key in EFFECTIVE if isinstance(whole[key], str) and whole[key].endswith(FILES)}
    return {key: _plain(whole[key], key) for key in EFFECTIVE} | {key: _hash(path, key) for key, path in files.items()}


def effective_component(component: DictConfig, where: str) -> dict[str, Any]:
    """A component's part of the effective configuration.

    Args:
        where: its key, for a message.
    Raises: as `effective`.
    """
    return _plain(OmegaConf.to_container(component, resolve=True), where)


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}={value}: must be a finite number")
    if not isinstance(value, dict):
        return value
    kept = {}
    content = _declared(value, "content", None) if where.startswith("dataset.") else None
    # only where an option may be a file: looking at a user's function imports its module, and torch with it
    texts = [inner for key, inner in value.items() if key not in ("_target_", "data_dir") and isinstance(inner, str)]
    reads = _declared(value, "reads", {}) if any("/" in text or "." in text for text in texts) else {}
    if content is not None:  # it also stands for the files that the options name
        options = {key: inner for key, inner in value.items() if key not in ("_target_", "_partial_")}
        kept["content"] = content(**options)
    for key, inner in value.items():
        if key == "data_dir":
            continue
        if key in reads and isinstance(inner, str):
            kept[key] = "content:" + hashed(_read(reads[key], inner, f"{where}.{key}"))
            continue
        if key == "path" or (content is None and isinstance(inner, str) and inner.endswith(FILES)):
            inner = _hash(inner, f"{where}.{key}")
        if key == "_target_":
            inner = short_name(inner)
        kept[key] = _plain(inner, f"{where}.{key}")
    return kept


def _declared(component: dict[str, Any], name: str, default: Any) -> Any:
    """The attribute of a component's function; `default` if it has none."""
    try:
        target = component["_target_"]
        return getattr(hydra.utils.get_object(target), name, default) if _may_declare(target, name) else default
    except Exception:  # no such function, or not a component: `check` reports it
        return default


@cache
def _may_declare(target: str, name: str) -> bool:
    """Whether a function has this attribute, as far as can be told without importing its module, and torch with it.

    A function of this package has it if its file sets it.
    """
    module, _, function = target.rpartition(".")
    if not module.startswith(f"{PACKAGE}."):
        return True
    file = Path(__file__).parents[1].joinpath(*module.split(".")[1:]).with_suffix(".py")
    return not file.is_file() or f"{function}.{name} = " in file.read_text(encoding="utf-8")


def _hash(path: str, where: str) -> str:
    return "sha256:" + _read(sha256, path, where)[:16]


def _read(how: Callable[[str], str], path: str, where: str) -> str:
    try:
        return how(path)
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({error.strerror})" if isinstance(error, OSError) else error
        raise ValueError(f"{where}={path}: {reason}") from None


def short_name(target: str) -> str:
    """The name of a function or class of this package without its module; a user's own keeps the full path."""
    return target.rpartition(".")[2] if target.startswith(f"{PACKAGE}.") else target


def run_id(config: dict[str, Any]) -> str:
    """First 12 hex digits of the sha256 of the effective configuration's `identity`."""
    return hashed(identity(config))


def identity(config: dict[str, Any]) -> str:
    """The text whose hash is the run's id: an effective configuration as sorted JSON, without neutral values.

    Numbers count by value: 1 and 1.0 are the same.
    """
    return json.dumps(_canonical(config), sort_keys=True)


def _canonical(value: Any, where: str = "") -> Any:
    """A value below `where` without what is neutral, 1.0 written as 1; inside a list nothing is neutral."""
    if isinstance(value, dict):
        return {
            key: _canonical(inner, f"{where}{key}.")
            for key, inner in value.items()
            if f"{where}{key}" not in NEUTRAL or inner not in NEUTRAL[f"{where}{key}"]
        }
    if isinstance(value, list):
        return [_canonical(inner, "[].") for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def hashed(text: str) -> str:
    """The id of the run that has this `identity`."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# Functions that were renamed after records with their full path were written.
_RENAMED = {
    "labelnoise.noise.zhou2021.symmetric": "symmetric_zhou2021",
    "labelnoise.noise.zhou2021.asymmetric": "asymmetric_zhou2021",
}


def upgraded(config: Any) -> Any:
    """Convert the configuration of an older record, in which `_target_` is a full path, to the current form."""
    if isinstance(config, list):
        return [upgraded(inner) for inner in config]
    if not isinstance(config, dict):
        return config
    upgrade = {key: upgraded(inner) for key, inner in config.items()}
    if isinstance(target := config.get("_target_"), str):
        upgrade["_target_"] = _RENAMED.get(target, short_name(target))
    return upgrade
