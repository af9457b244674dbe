"""Check a composed configuration before any data is read: types, ranges, names, and that every key is used."""

import inspect
import pkgutil
import re
from collections.abc import Iterable
from typing import Any, Literal, get_origin

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from labelnoise.arguments.ranges import annotations, refusal, words
from labelnoise.arguments.rows import KINDS, SOURCE, leaves
from labelnoise.config import tuned as tuned_rows
from labelnoise.config.compose import deadline
from labelnoise.config.explain import explain, nearest
from labelnoise.config.groups import option_names
from labelnoise.config.naming import as_yaml
from labelnoise.config.options import BELOW, COMPONENTS, EFFECTIVE, INCIDENTAL, OPTIONS
from labelnoise.config.renamed import refuse_old
from labelnoise.config.subcommands import command

# HELPERS exist for others to refer to. They may be unused, but no keys may be added below them.
DATASET = ("name", "load", "augment", "strong", "imbalance")  # the keys of the dataset group that `run` reads
RECIPE = ("epochs", "batch_size", "lr", "weight_decay")
HELPERS = ("tuned", "tuned_row", "tuned_kind", "recipe", "strong", *(option.name for option in OPTIONS))

LARGEST = 3.4e38  # float32's
LONGEST = 10_000  # characters of a text


def check(cfg: DictConfig) -> None:
    """Refuse a configuration with a value out of range, a missing value or a key that nothing reads.

    Raises:
        ValueError: names the key, its value and what is allowed.
    """
    if "table" in cfg:
        raise ValueError(f"table=...: a table is many runs and needs -m, {command('train')} -m table=...")
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    refuse_old(raw)  # a user's own file may have them
    check_rate(cfg)
    for key in EFFECTIVE + INCIDENTAL:
        if key not in raw:
            raise ValueError(f"{key}: needs a value, {key}=...")
    try:
        with deadline():
            plain: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except (OmegaConfBaseException, RecursionError) as error:
        raise ValueError(explain(error, [], cfg) + _choices_of(error, raw)) from None
    for option in OPTIONS:
        if option.name in plain and (reason := refusal(option.kind, plain[option.name])):
            raise ValueError(f"{option.name}={_shown(plain[option.name])}: {reason}")
    _check_all_read(plain, raw)
    for option in BELOW:
        if reason := refusal(option.kind, value := _at(plain, option.name)):
            raise ValueError(f"{option.name}={_shown(value)}: {reason}")
    for where, supplied in COMPONENTS.items():
        _check_component(where, _at(plain, where), raw, supplied)
    _check_plain(plain, "")


def check_rate(cfg: DictConfig) -> None:
    """Refuse a rate that the noise does not read, and a noise without the rate that it needs; imports nothing.

    Raises:
        ValueError: names the rate.
    """
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    rate, noise = raw.get("rate"), raw.get("noise")
    read = "${rate}" in str({key: value for key, value in raw.items() if key != "rate"})
    if rate is not None and not read:
        fixed = isinstance(noise, dict) and "rate" in noise
        reason = "noise.rate is given instead" if fixed else "this noise has no rate; one that has is noise=sym"
        raise ValueError(f"rate={_shown(rate)}: {reason}")
    if rate is None and read:
        raise ValueError("rate: this noise needs one, such as rate=0.4")


def _choices_of(error: Exception, raw: dict[str, Any]) -> str:
    """The allowed values of a component's missing value, if it is a choice."""
    where, _, name = (getattr(error, "full_key", None) or "").rpartition(".")
    node = _at(raw, where)
    if not isinstance(error, MissingMandatoryValue) or not isinstance(node, dict) or "_target_" not in node:
        return ""
    hint = annotations(_function(where, node)).get(name)
    return f" ({words(hint)})" if get_origin(hint) is Literal else ""


def _check_plain(value: Any, where: str) -> None:
    """Refuse numbers that float32 cannot hold, and very long text."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            _check_plain(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, int | float) and not abs(value) <= LARGEST:
        raise ValueError(f"{where}={_shown(value)}: must be a finite number, at most {LARGEST:g}")
    elif isinstance(value, str) and len(value) > LONGEST:
        raise ValueError(f"{where}={value[:20]}...: has {len(value):,} characters, must have at most {LONGEST:,}")


def _check_all_read(plain: dict[str, Any], raw: dict[str, Any]) -> None:
    """Refuse top-level keys that `run` does not read and no other value refers to."""
    referred_to = {match.split(".")[0] for match in re.findall(r"\$\{([\w.]+)", str(raw))}
    for key, value in plain.items():
        if key in EFFECTIVE + INCIDENTAL + HELPERS or key in referred_to:
            continue
        raise ValueError(f"{key!s}={_shown(value)}: nothing reads this option{nearest(key, option_names())}")
    _check_keys("dataset", plain["dataset"], DATASET)
    if not isinstance(plain["dataset"].get("name"), str):
        raise ValueError(f"dataset.name={_shown(plain['dataset'].get('name'))}: must be text")
    _check_keys("recipe", plain.get("recipe", {}), RECIPE)
    _check_rows(plain, raw)


def _check_rows(plain: dict[str, Any], raw: dict[str, Any]) -> None:
    """Refuse a card's row with a value that nothing reads, and a row or a kind of noise that no card can have."""
    tuned = plain.get("tuned", {})
    _check_keys("tuned", tuned, (*tuned_rows.GROUPS, "detach"))
    referred_to = set(tuned_rows.references({key: value for key, value in raw.items() if key != "tuned"}))
    for group in tuned_rows.GROUPS:
        _check_keys(f"tuned.{group}", tuned.get(group, {}))
        # A loss's card has values for its regulariser, which regulariser=none switches off.
        off = group == "regulariser" and plain[group] is None
        node = plain.get(group)
        known = {name for of, name in referred_to if of == group} | {*(node if isinstance(node, dict) else ()), SOURCE}
        known |= {option.name for option in OPTIONS} if group == "method" else set()
        try:
            for row, values in leaves(tuned.get(group, {})).items():
                _check_keys(f"tuned.{group}.{row}", values, None if off else known)
        except ValueError as error:
            raise ValueError(str(error) if str(error).startswith("tuned.") else f"tuned.{group}.{error}") from None
    if not isinstance(plain.get("tuned_row"), str):
        raise ValueError(f"tuned_row={_shown(plain.get('tuned_row'))}: must be the name of a row of the loss's card")
    if plain.get("tuned_kind") not in (None, *KINDS):
        raise ValueError(f"tuned_kind={_shown(plain['tuned_kind'])}: must be one of {', '.join(KINDS)}, or null")


def _check_keys(where: str, node: Any, known: Iterable[str] | None = None) -> None:
    """Refuse a node that is not a mapping or has unknown keys."""
    if not isinstance(node, dict):
        raise ValueError(f"{where}={_shown(node)}: must be a mapping")
    for key in node:
        if known is not None and key not in known:
            raise ValueError(f"{where}.{key!s}={_shown(node[key])}: nothing reads this option")


# --------------------------------------------------------------------------------------------------------- components


def _check_component(where: str, node: Any, raw: dict[str, Any], supplied: tuple[str, ...]) -> None:
    """Check a component: a function that takes what `run` supplies, by position, and the given options."""
    if where in ("dataset.augment", "dataset.strong", "regulariser") and node is None:
        return
    if not isinstance(node, dict) or "_target_" not in node:
        raise ValueError(f"{where}={_shown(node)}: must be a component, with a _target_ that names a function")
    if node.get("_partial_") is not True:
        raise ValueError(f"{where}._partial_={_shown(node.get('_partial_'))}: must be true")
    signature = _check_target(where, node, raw, len(supplied))
    needs = getattr(_function(where, node), "needs", ())  # what it takes from `run` by name
    given = dict.fromkeys(name for name in needs if name in signature.parameters) | _options_of(node)
    try:
        signature.bind(*supplied, **given)
    except TypeError as error:
        missing = re.search(r"missing a required.* argument: '(\w+)'", str(error))
        if missing and missing[1] not in _first(signature, len(supplied)):
            raise ValueError(f"{where}.{missing[1]}: needs a value, {where}.{missing[1]}=...") from None
        takes = f"must take {', '.join(supplied)}" if supplied else "must need nothing more"
        raise ValueError(f"{where}._target_={node['_target_']}: {takes} ({error})") from None


def _check_target(where: str, node: dict[Any, Any], raw: dict[str, Any], supplied: int) -> inspect.Signature:
    """Check that a node's keys are parameters of its function, and that its values are allowed."""
    function = _function(where, node)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        raise ValueError(f"{where}._target_={node['_target_']}: is not a function with named parameters") from None
    parameters = signature.parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    taken = [*_first(signature, supplied), *getattr(function, "needs", ())]
    hints = annotations(function)
    for key, value in _options_of(node).items():
        name = f"{where}.{key}"
        if (key not in parameters and not takes_any) or key in taken or key.startswith("_"):
            known = [parameter for parameter in parameters if parameter not in taken]
            hint = nearest(key, known) or f"; {where} has {', '.join(known) or 'none'}"
            raise ValueError(f"{name}={_shown(value)}: no such option{hint}")
        if key in hints and (reason := refusal(hints[key], value)):
            raise ValueError(f"{_origin(name, raw)}={_shown(value)}: {reason}")
        _check_nested(name, value, raw)
    return signature


def _check_nested(where: str, value: Any, raw: dict[str, Any]) -> None:
    """Check the components among a component's arguments."""
    if isinstance(value, list):
        for index, inner in enumerate(value):
            _check_nested(f"{where}[{index}]", inner, raw)
    elif isinstance(value, dict) and "_target_" in value:
        if not isinstance(value.get("_partial_", False), bool):
            raise ValueError(f"{where}._partial_={_shown(value['_partial_'])}: must be true or false")
        _check_target(where, value, raw, 0)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_nested(f"{where}.{key!s}", inner, raw)


def _options_of(node: dict[Any, Any]) -> dict[str, Any]:
    """The options of a component, without its function."""
    return {str(key): value for key, value in node.items() if key not in ("_target_", "_partial_")}


def _function(where: str, node: dict[Any, Any]) -> Any:
    """What a node's `_target_` names."""
    try:
        return pkgutil.resolve_name(node["_target_"])
    except (Exception, SystemExit) as error:  # importing a user's module may raise anything
        reason = f"{type(error).__name__}: {error}" if isinstance(error, SyntaxError) else type(error).__name__
        raise ValueError(f"{where}._target_={_shown(node['_target_'])}: no such function ({reason})") from None


def _first(signature: inspect.Signature, count: int) -> list[str]:
    """The parameters that take the first `count` positional arguments."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in signature.parameters.items() if parameter.kind in positional][:count]


def _at(plain: dict[str, Any], where: str) -> Any:
    node: Any = plain
    for key in where.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _origin(where: str, raw: dict[str, Any]) -> str:
    """The option that a value was given as: `rate` where noise.rate is ${rate}."""
    text = _at(raw, where)
    found = re.fullmatch(r"\$\{([\w.]+)\}", text) if isinstance(text, str) else None
    return found[1] if found else where


def _shown(value: Any) -> str:
    """A value in a message: as in YAML, shortened."""
    text = as_yaml(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
