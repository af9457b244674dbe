"""Losses built from losses: a weighted sum, such as of an active and a passive loss, and a bias on the label's logit.

Sources: Ma, Huang, Wang, Romano, Erfani, Bailey 2020, arXiv:2006.13554, equation 8 (the sum);
Staats, Thamm, Rosenow 2025 (AAAI), arXiv:2306.05497 (the bias).
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

from annotated_types import Ge
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, at_least_single

__all__ = ["logit_bias", "weighted_sum"]

LossFunction = Callable[..., Tensor]


@cache
def _hyper_parameters(loss: LossFunction) -> frozenset[str]:
    return frozenset(inspect.signature(loss).parameters) - {"logits", "labels"}


@checked
def weighted_sum(
    logits: Tensor,
    labels: Tensor,
    *,
    first: LossFunction,
    second: LossFunction,
    alpha: Annotated[float, Ge(0)],
    beta: Annotated[float, Ge(0)],
    **hyper_parameters: Any,
) -> Tensor:
    """alpha * first + beta * second.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Args:
        first, second: losses `(logits, labels, **their hyper-parameters) -> (B,)`.
        hyper_parameters: of the parts, passed to each part that has one of that name. What a part needs beyond logits
            and labels is passed in the same way.
    Raises:
        ValueError: a weight out of range, or a hyper-parameter that neither part has.
    """
    known = _hyper_parameters(first) | _hyper_parameters(second)
    for name in hyper_parameters.keys() - known:
        listed = ", ".join(sorted(known - {"detach"}))
        raise ValueError(f"{name}={hyper_parameters[name]}: no such hyper-parameter of this sum; it has {listed}")

    def value(loss: LossFunction) -> Tensor:
        own = _hyper_parameters(loss)
        return loss(logits, labels, **{name: v for name, v in hyper_parameters.items() if name in own})

    return alpha * value(first) + beta * value(second)


@checked
def logit_bias(
    logits: Tensor, labels: Tensor, *, loss: LossFunction, bias: Annotated[float, Ge(0)], **hyper_parameters: Any
) -> Tensor:
    """A loss of the logits with `bias` added to the label's logit, so a bounded loss has a gradient from the start.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Args:
        loss: `(logits, labels, **its hyper-parameters) -> (B,)`.
        bias: at log(C - 1) an untrained network has p_y = 1/2.
        hyper_parameters: the loss's.
    Raises:
        ValueError: bias out of range, or raised by the loss.
    Source: Staats, Thamm, Rosenow 2025, arXiv:2306.05497.
    """
    z = at_least_single(logits)
    return loss(z + bias * at_label(z, labels), labels, **hyper_parameters)
