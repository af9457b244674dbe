"""Explain a wrong configuration in one line. Hydra's own messages take many."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException
from yaml import MarkedYAMLError

from labelnoise.config.groups import choices, keys_of, option_names
from labelnoise.config.subcommands import command


def explain(error: Exception, overrides: Sequence[str], cfg: DictConfig | None = None) -> str:
    """One line for a user: which option, its value, what is allowed."""
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, RecursionError):
        return "a value of the configuration refers to itself, or is nested too deeply"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        where = f"{mark.name}, line {mark.line + 1}" if mark else "a configuration file"
        return f"{where}: is not valid YAML ({error.problem or error.context})"
    if isinstance(error, MissingConfigException):
        return _not_found(first, overrides)
    if found := re.search(r"Ambiguous value for argument '(.+)'", first):
        return several_values(found.group(1))
    if found := re.search(r"Error resolving interpolation '(.+)', possible interpolation keys: (.+)", first):
        absent = next(group for group in re.findall(r"\w+", found.group(1)) if group not in found.group(2).split(", "))
        return f"{absent}: needs a value, {absent}=..."
    if isinstance(error, OverrideParseException):
        given = overrides[0] if len(overrides) == 1 else error.override
        hint = "; a value with special characters needs quotes of its own, as in 'name=\"a(b)\"'"
        shown = given[:200] if given.strip() else repr(given)
        named = re.match(r"[+~]*[a-z][\w./@-]*=", given) is not None
        return f"{shown}: not of the form option=value{hint if named else ''}"
    if found := re.search(r"Error merging override (.+)", first):
        return f"{found.group(1)}: cannot replace the existing value"
    if isinstance(error, ConfigCompositionException) and (found := re.search(r"Could not override '([^']+)'", text)):
        return _not_overridden(found.group(1), overrides)
    if found := re.search(r"Could not append to config. An item is already at '([^']+)'", first):
        given = _given(found.group(1), overrides)
        return f"{given}: is an option already; change it without the plus, {given.lstrip('+')}"
    if found := re.search(r"Could not delete from config. '([^']+)' does not exist", first):
        return _not_overridden(found.group(1), overrides)
    if isinstance(error, MissingMandatoryValue | InterpolationResolutionError):
        return _unresolved(error, first, cfg)
    return first


def nearest(name: Any, known: Iterable[Any]) -> str:
    """A "did you mean" for the known name most similar to `name`; empty if none is similar."""
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _not_found(first: str, overrides: Sequence[str]) -> str:
    found = re.search(r"Could not find '([^'\n]+)/([^'/\n]*)'", first)
    if found is None:
        return first
    group, option = found.groups()
    if group.startswith("hydra/"):  # the options of plugins are elsewhere
        return f"{group}={option}: no such option"
    return f"{group}={option}: no such option; one of {', '.join(choices(group, overrides))}"


def several_values(argument: str) -> str:
    """The message for an option with several values where one is needed."""
    name, _, values = argument.partition("=")
    if name.startswith("table."):
        return f"{argument}: a list has brackets, {name}=[{values}]"
    return f"{argument}: several values need -m, {command('train')} -m {argument}"


def _given(key: str, overrides: Sequence[str]) -> str:
    """The override of this key, as typed."""
    return next((o for o in overrides if o.lstrip("+~").split("=")[0].split("@")[0] == key), key)


def _not_overridden(key: str, overrides: Sequence[str]) -> str:
    given = _given(key, overrides)
    if "." not in key:
        return f"{given}: no such option{nearest(key, option_names())}"
    group = key.partition(".")[0]
    chosen = next((o for o in reversed(overrides) if o.startswith(f"{group}=")), None)
    known = None if chosen is None else keys_of(group, chosen.partition("=")[2], overrides)
    return f"{given}: no such option" + ("" if known is None else f"; {chosen} has {', '.join(known) or 'none'}")


def _unresolved(error: OmegaConfBaseException, first: str, cfg: DictConfig | None) -> str:
    key = error.full_key or (re.findall(r"[\w.]+$", first) or ["?"])[0]
    if found := re.match(r"ValueError raised while resolving interpolation: (.+)", first):  # of config/tuned.py
        return f"{key}: {found[1]}; give {key}=..."
    if cfg is not None and OmegaConf.is_missing(cfg, "rate") and key.endswith("rate"):
        return "rate: this noise needs one, such as rate=0.4"
    return f"{key}: needs a value, {key}=..." if "issing mandatory value" in first else f"{key}: {first}"
