"""The weighted sum of two losses, such as an active and a passive one.

Source: Ma, Huang, Wang, Romano, Erfani, Bailey 2020, arXiv:2006.13554, equation 8.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from torch import Tensor

from labelnoise.losses.base import in_range

LossFunction = Callable[..., Tensor]


@cache
def _letters(loss: LossFunction) -> frozenset[str]:
    return frozenset(inspect.signature(loss).parameters) - {"logits", "labels"}


def weighted_sum(
    logits: Tensor,
    labels: Tensor,
    *,
    first: LossFunction,
    second: LossFunction,
    alpha: float,
    beta: float,
    **letters: Any,
) -> Tensor:
    """alpha * first + beta * second.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Args:
        first, second: losses `(logits, labels, **their letters) -> (B,)`.
        alpha, beta: >= 0.
        letters: hyper-parameters of the parts; each goes to whichever part has a parameter of that name.
    Raises:
        ValueError: a weight out of range, or a letter that neither part has.
    """
    in_range("alpha", alpha, 0)
    in_range("beta", beta, 0)
    unknown = letters.keys() - _letters(first) - _letters(second)
    if unknown:
        known = sorted((_letters(first) | _letters(second)) - {"detach"})
        raise ValueError(
            f"{min(unknown)}={letters[min(unknown)]}: no such parameter of this sum; it has {', '.join(known)}"
        )

    def value(loss: LossFunction) -> Tensor:
        return loss(logits, labels, **{name: v for name, v in letters.items() if name in _letters(loss)})

    return alpha * value(first) + beta * value(second)
