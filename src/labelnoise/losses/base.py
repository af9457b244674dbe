"""What losses share: log-probabilities that stay finite, the check of a hyper-parameter's range, the module form."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn


def in_range(name: str, value: float, low: float, high: float = float("inf"), *, open_low: bool = False) -> None:
    """Refuse a hyper-parameter outside [low, high], or (low, high] if `open_low`.

    Raises:
        ValueError: names the parameter, its value and what is allowed.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and (low < value if open_low else low <= value) and value <= high:
        return
    allowed = f"{name} {'>' if open_low else '>='} {low:g}" + (f" and <= {high:g}" if high < float("inf") else "")
    raise ValueError(f"{name}={value}: must be a number with {allowed}")


def at_least_single(logits: Tensor) -> Tensor:
    """`logits` in float32, or as they are if wider: the losses' logarithms need it."""
    return logits if logits.dtype == torch.float64 else logits.float()


def log_probs(logits: Tensor) -> Tensor:
    """log p_k for every class. Shapes: (B, C) -> (B, C)."""
    return at_least_single(logits).log_softmax(dim=1)


def of_label(values: Tensor, labels: Tensor) -> Tensor:
    """The entry of the given label. Shapes: (B, C), (B,) -> (B,)."""
    return values.gather(1, labels[:, None]).squeeze(1)


def log_prob_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """log p_y. Shapes: (B, C), (B,) -> (B,)."""
    return of_label(log_probs(logits), labels)


def log_complements(logits: Tensor) -> Tensor:
    """log(1 - p_k) for every class, finite with a finite gradient at any finite logits. Shapes: (B, C) -> (B, C).

    log1p(-p_k) is exact while p_k <= 1/2 and -inf at saturation, so the largest class takes the other classes'
    log-sum-exp instead.
    """
    z = at_least_single(logits)
    largest = torch.zeros_like(z, dtype=torch.bool).scatter_(1, z.argmax(dim=1, keepdim=True), True)
    others = z.masked_fill(largest, float("-inf")).logsumexp(dim=1, keepdim=True) - z.logsumexp(dim=1, keepdim=True)
    probs = z.softmax(dim=1).masked_fill(largest, 0.0)
    return torch.where(largest, others, torch.log1p(-probs))


def log_complement_of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """log(1 - p_y). Shapes: (B, C), (B,) -> (B,)."""
    z = at_least_single(logits)
    others = z.scatter(1, labels[:, None], float("-inf"))
    return others.logsumexp(dim=1) - z.logsumexp(dim=1)


class Loss(nn.Module):
    """A loss function as a module that drops into any training loop.

    criterion = Loss(agce, a=0.6, q=0.6)
    criterion(logits, labels).backward()

    Args:
        function: `(logits (B, C), labels (B,), **parameters) -> (B,)`.
        reduction: "mean" and "sum" give a 0-d tensor, "none" the per-sample values (B,).
        parameters: the function's hyper-parameters.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        reduction: Literal["mean", "sum", "none"] = "mean",
        **parameters: Any,
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction={reduction}: must be mean, sum or none")
        self.function, self.reduction, self.parameters_of_loss = function, reduction, parameters

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        values = self.function(logits, labels, **self.parameters_of_loss)
        return values if self.reduction == "none" else getattr(values, self.reduction)()

    def extra_repr(self) -> str:
        parameters = "".join(f", {name}={value}" for name, value in self.parameters_of_loss.items())
        return f"{getattr(self.function, '__name__', self.function)}, reduction={self.reduction}{parameters}"


def needs_of(loss: Callable[..., Any]) -> frozenset[str]:
    """What a loss needs beyond logits and labels: its own declaration, and those of the parts bound to a sum."""
    if isinstance(loss, partial):
        bound = [value for value in (*loss.args, *loss.keywords.values()) if callable(value)]
        return frozenset().union(needs_of(loss.func), *map(needs_of, bound))
    return getattr(loss, "needs", frozenset())
