"""For methods with their own loss: they accept only the default loss, cross-entropy."""

from functools import partial
from typing import Any

from labelnoise.losses import ce
from labelnoise.training.method import Setup


def is_ce(loss: Any) -> bool:
    """Whether a configured loss is plain cross-entropy."""
    while isinstance(loss, partial) and not loss.args and not loss.keywords:
        loss = loss.func
    return loss is ce


def require_cross_entropy(setup: Setup, method: str) -> None:
    """Refuse any other loss, because the method would ignore it.

    Args:
        method: the option, such as method=elr.
    Raises:
        ValueError: the configured loss is not plain cross-entropy.
    """
    loss: Any = setup.loss
    if not is_ce(loss):
        while isinstance(loss, partial):
            loss = loss.func
        name = getattr(loss, "__name__", "?")
        raise ValueError(f"loss={name}: {method} has its own loss and accepts only loss=ce")
