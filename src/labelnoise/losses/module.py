"""A loss function as an `nn.Module`, for any training loop."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from labelnoise.losses.base import needs_of, try_out

__all__ = ["Loss"]


class Loss(nn.Module):
    """A loss function as a module.

    criterion = Loss(agce, a=0.6, q=0.6)
    criterion(logits, labels).backward()

    The logits give the number of classes. What the function needs beyond logits and labels (`needs_of`) is passed by
    name in the call: `Loss(gjs, pi=0.5)(logits, labels, other_logits=...)`.

    Args:
        function: `(logits (B, C), labels (B,), **hyper_parameters) -> (B,)`.
        reduction: "mean" and "sum" give a 0-d tensor, "none" the function's own values.
        hyper_parameters: the function's.
    Raises:
        ValueError: a hyper-parameter is missing, unknown or out of range, or the reduction is unknown.
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        reduction: Literal["mean", "sum", "none"] = "mean",
        **hyper_parameters: Any,
    ) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction={reduction}: must be mean, sum or none")
        self.function, self.reduction, self.hyper_parameters = function, reduction, hyper_parameters
        self.needs = needs_of(partial(function, **hyper_parameters))
        _check_hyper_parameters(function, hyper_parameters, self.needs)

    def forward(self, logits: Tensor, labels: Tensor, **needed: Any) -> Tensor:
        values = self.function(logits, labels, **needed, **self.hyper_parameters)
        return values if self.reduction == "none" else getattr(values, self.reduction)()

    def extra_repr(self) -> str:
        parameters = "".join(f", {name}={value}" for name, value in self.hyper_parameters.items())
        return f"{getattr(self.function, '__name__', self.function)}, reduction={self.reduction}{parameters}"


def _check_hyper_parameters(function: Callable[..., Any], given: dict[str, Any], needed: frozenset[str]) -> None:
    """Check names against the signature. Check ranges by a call on zero logits, for the package's own functions."""
    name = getattr(function, "__name__", str(function))
    parameters = dict(list(inspect.signature(function).parameters.items())[2:])
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    known = {n: p for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD and n not in needed}
    for unknown in () if takes_any else sorted(given.keys() - known.keys()):
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise ValueError(f"{unknown}={given[unknown]}: {name} has no such hyper-parameter; {has}")
    for missing in [n for n, p in known.items() if p.default is p.empty and n not in given]:
        raise ValueError(f"{missing}: {name} needs a value, {missing}=...")
    own = function.func if isinstance(function, partial) else function
    if getattr(own, "__module__", "").startswith("labelnoise."):  # a user's function may not accept ten classes
        try_out(function, **given)
