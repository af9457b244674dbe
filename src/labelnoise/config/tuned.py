"""A paper's values by themselves: `${row:loss.alpha}` is the value of alpha in the loss's card, for this run's noise.

A configuration has the cards' rows below `tuned`, the data set's row in `tuned_row` and the noise's kind in
`tuned_kind`; `labelnoise.arguments.rows` says which row fits. Importing this module registers the resolver, also in
worker processes.
"""

import re
from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from labelnoise.arguments.rows import Row, find
from labelnoise.config.naming import as_yaml

GROUPS = ("loss", "regulariser", "method", "recipe")  # that may have rows below `tuned`
REFERENCE = re.compile(r"\$\{row:(\w+)\.(\w+)\}")


def row(cfg: DictConfig, group: str) -> Row:
    """The values of a group's card for the configuration's data set and noise.

    Raises:
        ValueError: the card has no row for the data set, and no default; or a row is no mapping.
    """
    node = OmegaConf.select(cfg, f"tuned.{group}")
    if not isinstance(node, DictConfig):
        raise ValueError(f"tuned.{group}={node}: must be a mapping of rows")
    rows: Any = OmegaConf.to_container(node, resolve=True)
    dataset = str(cfg.tuned_row)
    if dataset not in rows and "default" not in rows:
        known = ", ".join(map(str, rows)) or "no row"
        raise ValueError(f"this {group} has no value for dataset={cfg.dataset.name} (its card has {known})")
    try:
        return find(rows, dataset, cfg.get("tuned_kind"), _rate(cfg))
    except ValueError as error:
        raise ValueError(f"tuned.{group}.{error}") from None


def _rate(cfg: DictConfig) -> float | None:
    """The rate of the noise as it is resolved; None if it has none, or none yet."""
    try:
        rate = OmegaConf.select(cfg, "noise.rate")
    except OmegaConfBaseException:  # `check` reports it
        return None
    return float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None


def _value(reference: str, *, _root_: DictConfig) -> Any:
    group, _, name = reference.partition(".")
    values = row(_root_, group).values
    if name not in values:
        raise ValueError(f"this {group}'s card has no {name} for {_root_.tuned_row}")
    return values[name]


OmegaConf.register_new_resolver("row", _value, replace=True)


def lines(cfg: DictConfig) -> list[str]:
    """One line for each group whose values are a card's: the values, the row they are from, and its source."""
    raw: Any = OmegaConf.to_container(cfg, resolve=False)
    used: dict[str, dict[str, None]] = {}
    for group, name in references({key: value for key, value in raw.items() if key != "tuned"}):
        used.setdefault(group, {})[name] = None
    return [_line(cfg, group, list(names)) for group, names in used.items()]


def references(node: Any) -> Iterator[tuple[str, str]]:
    """The group and the name of every `${row:group.name}` below a node of an unresolved configuration."""
    if isinstance(node, dict):
        for inner in node.values():
            yield from references(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from references(inner)
    elif isinstance(node, str) and (found := REFERENCE.fullmatch(node)):
        yield found[1], found[2]


def _line(cfg: DictConfig, group: str, names: list[str]) -> str:
    taken = row(cfg, group)
    values = ", ".join(f"{name}={_shown(taken.values[name])}" for name in names)
    of = "the card's default values" if taken.dataset == "default" else f"{taken.dataset}'s values"
    text = f"{group}: {values}: {of}"
    if taken.kind is not None:
        text += f" for {taken.kind}"
    if taken.rate is not None:
        asked = _rate(cfg)
        text += f" {taken.rate:g}"
        text += "" if asked == taken.rate else f", the nearest rate to {asked:g}"
    if taken.dataset not in ("default", cfg.dataset.name):
        text += f", there are none for {cfg.dataset.name}"
    return text + (f" ({taken.source})" if taken.source else "")


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else as_yaml(value)
