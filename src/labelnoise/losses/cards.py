"""Reads the cards, `configs/loss/<name>.yaml`, from Python: published values, and the sums as functions."""

import importlib
import inspect
from functools import cache, partial
from inspect import Parameter
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from labelnoise.arguments.rows import KINDS, find
from labelnoise.losses.base import ARGUMENTS, needs_of

__all__ = ["published"]

DATASETS = ("mnist", "cifar10", "cifar100")  # every card has values for these, if only its default

_installed = Path(__file__).parents[1] / "configs"  # in a wheel; a checkout has them in its root
CARDS = (_installed if _installed.is_dir() else Path(__file__).parents[3] / "configs") / "loss"


def published(loss: str, dataset: str, noise: str | None = None, rate: float | None = None) -> dict[str, Any]:
    """The hyper-parameters on a loss's card for a data set and a noise; its rows have their source.

    Args:
        loss: as in `loss=` on the command line, such as "agce" or "nce_agce".
        dataset: a row of the card: "mnist", "cifar10", "cifar100", or "default" for other data.
        noise: the kind of noise, sym, asym, instance or human; None for clean labels and for noise of no known kind.
        rate: share of flipped labels; the card's nearest rate is taken.
    Returns:
        name -> value; empty for a loss without hyper-parameters.
    Raises:
        ValueError: unknown loss, row or noise; the message lists the known ones.
    """
    names = sorted(path.stem for path in CARDS.glob("*.yaml"))
    if loss not in names:
        raise ValueError(f"loss={loss}: no such loss; one of {', '.join(names)}")
    rows = _read(loss).get("tuned", {}).get("loss")
    if rows is None:
        return {}
    if dataset not in (*rows, *DATASETS):
        raise ValueError(f"dataset={dataset}: the card of {loss} has no such row; one of {', '.join(rows)}")
    if noise not in (None, *KINDS):
        raise ValueError(f"noise={noise}: must be one of {', '.join(KINDS)}, or None")
    return find(rows, dataset, noise, rate).values


@cache
def sums() -> frozenset[str]:
    """The names of the cards that combine several functions; `sum_of` returns each as one function."""
    found = (path.stem for path in CARDS.glob("*.yaml"))
    return frozenset(name for name in found if any(isinstance(value, dict) for value in _node(name).values()))


@cache
def sum_of(name: str) -> Any:
    """A sum as a function: `(logits (B, C), labels (B,), *, <the card's hyper-parameters>) -> (B,)`."""
    node = _node(name)
    function = _made(node)
    values = {key: value for key, value in node.items() if key[0] != "_"}
    defaults = {
        key: Parameter.empty if _is_interpolated(value) else value
        for key, value in values.items()
        if not isinstance(value, dict)
    }
    for part in (value for value in values.values() if isinstance(value, dict)):
        own = inspect.signature(_target(part)).parameters
        defaults |= {key: own[key].default for key, value in part.items() if _is_interpolated(value)}
    defaults |= dict.fromkeys(sorted(needs_of(function) & ARGUMENTS.keys()), Parameter.empty)

    def loss(logits: Tensor, labels: Tensor, **given: Any) -> Tensor:
        return function(logits, labels, **given)

    lines = (CARDS / f"{name}.yaml").read_text().splitlines()
    text = "\n".join(line[2:] for line in lines if line.startswith("# ") and "@package" not in line)
    loss.__name__ = loss.__qualname__ = name
    loss.__module__ = "labelnoise.losses"
    loss.__doc__ = f"{text}\n\nShapes: logits (B, C), labels (B,) -> (B,)."
    parameters = [
        *(Parameter(key, Parameter.POSITIONAL_OR_KEYWORD) for key in ("logits", "labels")),
        *(Parameter(key, Parameter.KEYWORD_ONLY, default=value) for key, value in defaults.items()),
    ]
    vars(loss).update(__signature__=inspect.Signature(parameters), needs=needs_of(function))
    return loss


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CARDS / f"{name}.yaml").read_text())


def _node(name: str) -> dict[str, Any]:
    """The part of a card from which Hydra builds the loss."""
    content = _read(name)
    return content.get("loss", content)


def _is_interpolated(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("${")


def _target(node: dict[str, Any]) -> Any:
    module, _, name = node["_target_"].rpartition(".")
    if not module.startswith("labelnoise.losses."):
        raise ValueError(f"_target_={node['_target_']}: must be a function of labelnoise.losses")
    return getattr(importlib.import_module(module), name)


def _made(node: dict[str, Any]) -> Any:
    """The function with the card's parts and constants bound; the caller passes the interpolated values."""
    bound = {key: _made(value) if isinstance(value, dict) else value for key, value in node.items() if key[0] != "_"}
    return partial(_target(node), **{key: value for key, value in bound.items() if not _is_interpolated(value)})
