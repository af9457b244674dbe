"""Effective configurations in a hundredth of the time: Hydra's files, merged without Hydra, which takes 50 ms for each.

A table names hundreds of runs, and the report thousands. What is not one of the few forms that the files of configs/
have, such as another package than `_global_` or an override with +, is left to Hydra, and so are all mistakes. The
tests compare every cell of every table with what Hydra composes.
"""

import os
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import OverrideType
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from labelnoise.arguments.rows import find
from labelnoise.config import identity
from labelnoise.config.compose import MISTAKES, compose, deadline, prepared
from labelnoise.config.explain import explain
from labelnoise.config.groups import CONFIGS, SEARCHPATH, config_dirs
from labelnoise.config.option_files import OptionFile, option_file
from labelnoise.config.options import DATA_DIR, DEFAULTS, EFFECTIVE, GROUPS
from labelnoise.config.package_line import refuse_without
from labelnoise.config.renamed import refuse_old
from labelnoise.config.tuned import REFERENCE as ROW

Tree = dict[str, Any]

KEY = re.compile(r"(?!hydra\b)\w+(\.\w+)*")  # of an override: a group, or the path of a value
# An override that needs no parser, which takes 3 ms: a word or a number.
PLAIN = re.compile(
    r"(?!hydra\b)([a-z]\w*(?:\.[a-z]\w*)*)=(?:(?!(?:true|false|null|inf|nan)\b)([a-z]\w*)|((?:0|[1-9]\d{0,15})(?:\.\d+)?))",
    re.ASCII,
)
OURS = frozenset(group.name for group in GROUPS)
REFERENCE = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")
VALUES = re.compile(r"optional ([\w/]+)@_global_")  # a group of train.yaml whose option the others' options name
MISSING = "???"


class UnknownError(ValueError):
    """Something that Hydra must decide."""


def effective(overrides: Sequence[str]) -> Tree:
    """`identity.effective` of what these overrides compose.

    Raises:
        ValueError: an override is wrong, or a value is missing.
    """
    try:
        with deadline():
            whole = tree(overrides)
            return identity.of_resolved({key: _resolved(whole[key], whole) for key in EFFECTIVE})
    except (*MISTAKES, OSError):
        cfg = compose(overrides)
    try:
        return identity.effective(cfg)
    except OmegaConfBaseException as error:
        raise ValueError(explain(error, list(overrides), cfg)) from None


def values(overrides: Sequence[str], *keys: str) -> list[Any]:
    """Values at the root of what these overrides compose, as plain Python.

    Raises:
        ValueError: an override is wrong.
    """
    try:
        with deadline():
            whole = tree(overrides)
            return [_resolved(whole[key], whole) for key in keys]
    except (*MISTAKES, OSError):
        found = [compose(overrides)[key] for key in keys]
    return [OmegaConf.to_container(one, resolve=True) if OmegaConf.is_config(one) else one for one in found]


# ----------------------------------------------------------------------------------------------------------- merging


def tree(overrides: Sequence[str]) -> Tree:
    """What Hydra composes, with its references.

    Raises:
        UnknownError: only Hydra can tell.
    """
    searchpath = next((override for override in overrides if override.startswith(SEARCHPATH)), None)
    folders = (CONFIGS, *config_dirs(overrides)[:-1])  # the first that has a file counts
    chosen: dict[str, str] = {}
    values = []
    for override in overrides:
        if override is searchpath:
            continue
        key, given = _parsed(override, searchpath)
        if key not in OURS and not any((folder / key).is_dir() for folder in folders[1:]):
            values.append((key, given))
        elif isinstance(given, str):
            chosen[key] = given
        else:
            raise UnknownError(override)
    whole: Tree = {}
    for content in _contents(chosen, folders):
        _merge(whole, content)
    for key, given in values:
        _set(whole, key, given)
    return whole


@cache
def _parsed(override: str, searchpath: str | None) -> tuple[str, Any]:
    """The key and the value of an override."""
    if simple := PLAIN.fullmatch(override):
        refuse_old([override])
        key, word, number = simple.groups()
        if word and key in OURS:
            refuse_without(key, word, [searchpath] if searchpath else [])
        return key, word or (float(number) if "." in number else int(number))
    (written, *_) = prepared([override, *([searchpath] if searchpath else [])])
    parsed = OverridesParser.create().parse_override(written)
    given = parsed.value()
    plain = all(isinstance(one, int | float | str | None) for one in (given if isinstance(given, list) else [given]))
    if not plain or "${" in str(given) or MISSING in str(given):
        raise UnknownError(override)
    if parsed.type is not OverrideType.CHANGE or parsed.package or not KEY.fullmatch(parsed.key_or_group):
        raise UnknownError(override)
    return parsed.key_or_group, given


def _contents(chosen: dict[str, str], folders: tuple[Path, ...]) -> Iterator[Tree]:
    """The contents of all files, at the root, in the order of train.yaml."""
    root = _file("train", folders)
    options, files = _options(root.defaults, chosen, folders)
    for entry in root.defaults:
        if entry == "_self_":
            yield {key: inner for key, inner in root.content.items() if key != "hydra"}
        elif entry == "options":
            yield DEFAULTS
        else:
            ((key, option),) = entry.items()
            if key in files:
                yield files[key].content if files[key].package else {key: files[key].content}
            elif of_others := VALUES.fullmatch(key):
                path = f"{of_others[1]}/{REFERENCE.sub(lambda found: options[found[1]], option)}"
                if (found := option_file(path, folders)) is not None:
                    if found.package not in (None, "_global_") or found.defaults:
                        raise UnknownError(path)
                    yield found.content


def _options(
    defaults: list[Any], chosen: dict[str, str], folders: tuple[Path, ...]
) -> tuple[dict[str, str], dict[str, OptionFile]]:
    """The option of every group: the command line's, else that of the last file which chooses one, else the default;
    and their files."""
    options: dict[str, str] = {}
    files: dict[str, OptionFile] = {}
    for entry in reversed(defaults):
        if isinstance(entry, str) or " " in (group := next(iter(entry))):  # `optional ...`, `override hydra/...`
            continue
        options[group] = chosen.pop(group, entry[group])
        files[group] = file = _file(f"{group}/{options[group]}", folders)
        for line in file.defaults:
            if line == "_self_":
                continue
            ((key, option),) = line.items()
            other = key.removeprefix("override /")
            plain = isinstance(option, str) and "$" not in option
            if other == key or other in options or not plain or not file.package:
                raise UnknownError(key)
            chosen.setdefault(other, option)
    if chosen:
        raise UnknownError(*chosen)
    return options, files


def _file(path: str, folders: tuple[Path, ...]) -> OptionFile:
    file = option_file(path, folders)
    if file is None or file.package not in (None, "_global_"):
        raise UnknownError(path)
    return file


def _merge(into: Tree, content: Tree) -> None:
    """Merge as OmegaConf does: mappings by key, everything else replaces what was there; `???` is found later."""
    for key, new in content.items():
        old = into.get(key)
        if isinstance(new, dict):
            if isinstance(old, str) and "${" in old:
                raise UnknownError(key)  # merges into a copy of what it refers to
            if not isinstance(old, dict):
                into[key] = old = {}
            _merge(old, new)
        else:
            into[key] = new


def _set(whole: Tree, key: str, given: Any) -> None:
    *parents, last = key.split(".")
    node: Any = whole
    for parent in parents:
        node = node[parent]
    if not isinstance(node, dict) or last not in node or (isinstance(node[last], dict) and given is not None):
        raise UnknownError(key)
    node[last] = given


# --------------------------------------------------------------------------------------------------------- resolving


def _resolved(node: Any, whole: Tree) -> Any:
    """A part of the configuration with what its references stand for.

    Raises:
        UnknownError: a value is missing, or only OmegaConf can tell.
    """
    if isinstance(node, dict):
        return {key: _resolved(inner, whole) for key, inner in node.items()}
    if isinstance(node, list):
        return [_resolved(inner, whole) for inner in node]
    if not isinstance(node, str) or (node != MISSING and "${" not in node):
        return node
    if node == DATA_DIR:
        return os.environ.get("LABELNOISE_DATA", "data")
    if of_row := ROW.fullmatch(node):
        return _of_row(of_row[1], of_row[2], whole)
    reference = REFERENCE.fullmatch(node)
    if reference is None:
        raise UnknownError(node)
    found: Any = whole
    for key in reference[1].split("."):
        found = found[key]
    return _resolved(found, whole)


def _of_row(group: str, name: str, whole: Tree) -> Any:
    """`${row:group.name}`, see config/tuned.py."""
    card, dataset, kind, noise = (whole[key] for key in ("tuned", "tuned_row", "tuned_kind", "noise"))
    rows, dataset, kind = (_resolved(one, whole) for one in (card[group], dataset, kind))
    rate = _resolved(noise.get("rate"), whole) if isinstance(noise, dict) else None
    known = float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None
    return find(rows, str(dataset), kind, known).values[name]
