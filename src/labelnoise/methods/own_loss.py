"""For methods that have a loss of their own: they accept the default, cross-entropy, and refuse any other."""

from functools import partial
from typing import Any

from labelnoise.losses import ce
from labelnoise.training.method import Setup


def only_ce(setup: Setup, method: str) -> None:
    """Refuse a loss that the method would not use.

    Args:
        method: as the user wrote it, such as method=elr.
    Raises:
        ValueError: the configured loss is not plain cross-entropy.
    """
    loss: Any = setup.loss
    while isinstance(loss, partial) and not loss.args and not loss.keywords:
        loss = loss.func
    if loss is not ce:
        name = getattr(getattr(loss, "func", loss), "__name__", "?")
        raise ValueError(f"loss={name}: {method} has a loss of its own and takes loss=ce alone")
