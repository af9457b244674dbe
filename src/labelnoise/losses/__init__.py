"""Every loss by name: `from labelnoise.losses import agce`.

A loss is a function `(logits (B, C), labels (B,)) -> (B,)` of per-sample values; the caller reduces.
`Loss(agce, a=0.6, q=0.6)` is the same loss as an `nn.Module` for your own training loop. `published("agce", "cifar10")`
returns the hyper-parameters on its card. The names are those in each module's `__all__` and the sums defined in
`configs/loss`; a new file needs no change here. The penalties are in `labelnoise.losses.regularisers`.
"""

import importlib
import pkgutil
from functools import cache
from typing import Any


@cache
def _modules() -> dict[str, str]:
    """The module that defines each public name."""
    return {
        name: module
        for module in (found.name for found in pkgutil.iter_modules(__path__))
        if module != "regularisers"
        for name in importlib.import_module(f"{__name__}.{module}").__all__
    }


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        if name in _modules():
            return getattr(importlib.import_module(f"{__name__}.{_modules()[name]}"), name)
        from labelnoise.losses import cards

        if name in cards.sums():
            return cards.sum_of(name)
    raise AttributeError(f"module {__name__!r} has no loss {name!r}")


def __dir__() -> list[str]:
    from labelnoise.losses import cards

    return sorted({*_modules(), *cards.sums()})
