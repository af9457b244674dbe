"""Shared by all losses: checks of shapes and types, log-probabilities that stay finite, and `needs`."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["needs", "needs_of"]

Function = TypeVar("Function", bound=Callable[..., Any])


# ----------------------------------------------------------------------------------------------------- shapes and types


def check_logits(logits: Tensor) -> None:
    """Check that logits are (B, C) and floating point. Reads no value, so it never waits for the device.

    `at_least_single` calls it, and `of_label` and `at_label` call `check_labels`: losses built from them are checked.

    Raises:
        ValueError: gives the shape and the type.
    """
    if logits.dim() != 2 or logits.shape[1] < 2 or not logits.is_floating_point():
        shape = tuple(logits.shape)
        raise ValueError(f"logits {shape} {logits.dtype}: must be (B, C) with C >= 2, and floating point")


def check_labels(logits: Tensor, labels: Tensor) -> None:
    """Check that labels are (B,) and int64, and logits (B, C).

    Raises:
        ValueError: gives both shapes, or the labels' type; or as `check_logits`.
    """
    check_logits(logits)
    if labels.shape != logits.shape[:1]:
        shapes = f"logits {tuple(logits.shape)} and labels {tuple(labels.shape)}"
        raise ValueError(f"{shapes}: must be (B, C) and (B,), one label per image")
    if labels.dtype != torch.int64:
        raise ValueError(f"labels {labels.dtype}: must be torch.int64")


# --------------------------------------------------------------------------------------------------- log-probabilities


def at_least_single(logits: Tensor) -> Tensor:
    """`logits` in float32, or unchanged if float64: the losses' logarithms need the precision.

    Raises:
        ValueError: not (B, C) floating point.
    """
    check_logits(logits)
    return logits if logits.dtype == torch.float64 else logits.float()


def log_probs(logits: Tensor) -> Tensor:
    """log p_k for every class. Shapes: (B, C) -> (B, C)."""
    return at_least_single(logits).log_softmax(dim=1)


def of_label(values: Tensor, labels: Tensor) -> Tensor:
    """The entry at the given label. Shapes: (B, C), (B,) -> (B,).

    Raises:
        ValueError: wrong shapes or types.
    """
    check_labels(values, labels)
    return values.gather(1, labels[:, None]).squeeze(1)


def margin(probs: Tensor, labels: Tensor) -> Tensor:
    """The label's probability minus the largest other one, -1 to 1. Shapes: (B, C), (B,) -> (B,).

    Raises:
        ValueError: wrong shapes or types.
    """
    return of_label(probs, labels) - probs.scatter(1, labels[:, None], -1.0).amax(dim=1)


def at_label(values: Tensor, labels: Tensor) -> Tensor:
    """The one-hot label, in the type of `values`. Shapes: (B, C), (B,) -> (B, C).

    Raises:
        ValueError: wrong shapes or types.
    """
    check_labels(values, labels)
    return torch.zeros_like(values).scatter_(1, labels[:, None], 1.0)


def log_prob_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y. Shapes: (B, C), (B,) -> (B,)."""
    return of_label(log_probs(logits), labels)


def log_complements(logits: Tensor) -> Tensor:
    """log(1 - p_k) for every class, finite with a finite gradient at any finite logits. Shapes: (B, C) -> (B, C).

    log1p(-p_k) is exact for p_k <= 1/2 but -inf at saturation, so the largest class uses the log-sum-exp of the others.
    """
    z = at_least_single(logits)
    largest = torch.zeros_like(z, dtype=torch.bool).scatter_(1, z.argmax(dim=1, keepdim=True), True)
    others = z.masked_fill(largest, float("-inf")).logsumexp(dim=1, keepdim=True) - z.logsumexp(dim=1, keepdim=True)
    probs = z.softmax(dim=1).masked_fill(largest, 0.0)
    return torch.where(largest, others, torch.log1p(-probs))


def log_complement_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """log(1 - p_y). Shapes: (B, C), (B,) -> (B,)."""
    check_labels(logits, labels)
    z = at_least_single(logits)
    others = z.scatter(1, labels[:, None], float("-inf"))
    return others.logsumexp(dim=1) - z.logsumexp(dim=1)


# --------------------------------------------------------------------------------------------------------------- needs

# What a loss or regulariser may declare with `needs`. Arguments are passed by name; marks only describe it.
ARGUMENTS = {
    "features": "(B, D), the network's penultimate features",
    "other_logits": "(B, C), logits of a second augmented view of the same images",
    "generator": "the run's torch.Generator, on the device",
    "superclass": "(C,), int64, the superclass of each class, or None where the data set has none",
    "weights": "the list of the network's parameters",
    "step": "0-d, int64, on the device: the number of updates before this one, for a parameter that moves",
    "logits": "(B, C), for a regulariser",
    "labels": "(B,), for a regulariser",
}
MARKS = {
    "batch": "the value is 0-d, or (B,) where each depends on the whole batch",
    "extra_output": "the network has one more output than classes, to abstain: logits are (B, C + 1)",
    "binary": "for two classes only",
    "new_features": "returns features (B, D) that replace the network's in the training step",
}


def needs(*names: str) -> Callable[[Function], Function]:
    """Declare what a loss needs beyond logits and labels, or all that a regulariser needs.

    Args:
        names: keys of ARGUMENTS and MARKS.
    Raises:
        ValueError: an unknown name.
    """
    for name in names:
        if name not in ARGUMENTS and name not in MARKS:
            raise ValueError(f"needs({name!r}): must be one of {', '.join([*ARGUMENTS, *MARKS])}")

    def declare(function: Function) -> Function:
        vars(function)["needs"] = frozenset(names)
        return function

    return declare


def needs_of(loss: Callable[..., Any]) -> frozenset[str]:
    """What a loss needs: its own declaration, and those of the losses that a partial binds to its arguments."""
    if isinstance(loss, partial):
        bound = [value for value in (*loss.args, *loss.keywords.values()) if callable(value)]
        return frozenset().union(needs_of(loss.func), *map(needs_of, bound))
    return getattr(loss, "needs", frozenset())


def try_out(loss: Callable[..., Any], **hyper_parameters: Any) -> None:
    """Call a loss once, on zero logits and placeholders for what it needs, to check its hyper-parameters.

    Leaves the random generators as they were.

    Raises:
        ValueError: raised by the loss.
    """
    given = _placeholders(needs_of(loss))
    asked = {name: value for name, value in given.items() if name in needs_of(loss)}
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        loss(given["logits"], given["labels"], **asked, **hyper_parameters)


def try_out_regulariser(regulariser: Callable[..., Any]) -> None:
    """Call a regulariser once, as `try_out` does a loss.

    Raises:
        ValueError: raised by the regulariser.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        regulariser(**{name: v for name, v in _placeholders(frozenset()).items() if name in needs_of(regulariser)})


def _placeholders(needed: frozenset[str]) -> dict[str, Any]:
    """A value for each of ARGUMENTS."""
    logits = torch.zeros(2, (2 if "binary" in needed else 10) + ("extra_output" in needed))
    return {
        "logits": logits,
        "labels": torch.tensor([0, 1]),
        "other_logits": logits,
        "features": torch.zeros(2, 64),
        "superclass": None,
        "generator": torch.Generator(),
        "weights": [torch.zeros(2, 2)],
        "step": torch.zeros((), dtype=torch.long),
    }
