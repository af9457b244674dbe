"""The command that repeats a run, derived from its record: the options that compose its configuration."""

import json
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

from labelnoise.config.groups import CONFIGS, choices
from labelnoise.config.identity import identity, run_id
from labelnoise.config.merged import effective
from labelnoise.config.naming import component_name, flat
from labelnoise.records.store import Record

Overrides = tuple[str, ...]

GROUPS = ("loss", "regulariser", "noise", "network", "optimizer", "schedule", "method")
SEEDS = ("seed_noise", "seed_init", "seed_data")


def command_of(record: Record) -> Overrides | None:
    """Overrides with which `train.py` repeats this record; None if this version has none.

    Chooses each group's option, adds every value that differs, and compares the run's id.
    """
    config = record["config"]
    rate = config["noise"].get("rate") if isinstance(config.get("noise"), dict) else None
    try:
        chosen = (f"dataset={config['dataset']['name']}", *_options(config))
        base = _composed((*chosen, *(["rate=0.5"] if rate is not None else [])))
        ours, theirs = flat(base), flat(config)
        values = {key: value for key, value in theirs.items() if key in ours and not _equal(ours[key], value)}
        unknown = any(key.endswith("_target_") or _is_hash(value) for key, value in values.items())
        if unknown or run_id(_merged(base, values)) != record["run_id"]:
            return None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    overrides = [*chosen]
    if rate is not None:
        overrides.append(f"rate={values.pop('noise.rate', 0.5)}")
    seeds = [values.pop(name, ours[name]) for name in SEEDS]
    same = len(set(seeds)) == 1
    overrides += [f"seed={seeds[0]}"] if same else [f"{name}={seed}" for name, seed in zip(SEEDS, seeds, strict=True)]
    overrides += [f"{key}={_written(value)}" for key, value in values.items()]
    threads = record["environment"].get("threads")
    return (*overrides, *([f"threads={threads}"] if isinstance(threads, int) else []))


def _options(config: dict[str, Any]) -> Iterable[str]:
    """The loss, and `group=option` where it differs from the data set's or the loss's default; an option is a file."""
    given: Overrides = (f"dataset={config['dataset']['name']}",)
    for group in GROUPS:
        component: Any = config.get(group)  # records of versions without regularisers have none
        if group != "loss" and component_name(component) == component_name(_composed(given).get(group)):
            continue
        named = _named(group, component)
        yield f"{group}={named}"
        if group == "loss":
            given = (*given, f"loss={named}")
        for key in _required(group, named):
            yield f"{group}.{key}={_written(component[key])}"


def _named(group: str, component: Any) -> str:
    """The option that makes a component: by name, else by the same set of functions, else by its function.

    Raises:
        KeyError: no option makes it.
    """
    name, options = component_name(component), known_options(group)
    if component is None:
        name = "none"
    if name in options:
        return name
    same = [option for option in options if targets(group, option) == targets_of(component)]
    named = same or [option for option in options if name in targets(group, option)]
    if not named:
        raise KeyError(name)
    return named[0]


def targets_of(component: dict[str, Any]) -> frozenset[str]:
    """The names of a component's functions, including nested ones."""
    found = [target for key, target in flat(component).items() if key.rpartition(".")[2] == "_target_"]
    return frozenset(str(target).rpartition(".")[2] for target in found)


@cache
def targets(group: str, option: str) -> frozenset[str]:
    """The names of the functions in an option's file."""
    text = (CONFIGS / group / f"{option}.yaml").read_text()
    return frozenset(target.rpartition(".")[2] for target in re.findall(r"_target_:\s*([\w.]+)", text))


@cache
def _required(group: str, option: str) -> tuple[str, ...]:
    """Keys without a value in an option's file, except a noise's rate, which has an option of its own."""
    text = (CONFIGS / group / f"{option}.yaml").read_text()
    return tuple(key for key in re.findall(r"^ *(\w+): \?{3}$", text, re.MULTILINE) if key != "rate")


_composed = cache(effective)
known_options = cache(choices)


def _merged(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = json.loads(json.dumps(base))
    for key, value in values.items():
        *parents, last = key.split(".")
        inner = merged
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return merged


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str | int | float | None) and type(one) is type(other):
        return bool(one == other)
    return identity({"": one}) == identity({"": other})  # 1 and 1.0 are equal, 1 and true are not


def _is_hash(value: Any) -> bool:
    """Whether it stands for the content of a file, whose path a record does not have."""
    return isinstance(value, str) and value.startswith(("sha256:", "content:"))


def _written(value: Any) -> str:
    """A value as Hydra reads it: as JSON, but a plain word without quotes."""
    word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value)
    return str(value) if word and value not in ("null", "true", "false") else json.dumps(value)
