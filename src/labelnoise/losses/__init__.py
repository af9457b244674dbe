"""Every loss by its name: `from labelnoise.losses import agce`.

A loss is a function `(logits (B, C), labels (B,)) -> (B,)` of per-sample values; the caller reduces.
`Loss(agce, a=0.6, q=0.6)` is the same as an `nn.Module` for anyone's training loop. Names are looked up in the modules
of this folder, so a new file needs no line here; it must not have the name of a loss.
"""

import importlib
import pkgutil
from typing import Any


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        for module in pkgutil.iter_modules(__path__):
            found = getattr(importlib.import_module(f"{__name__}.{module.name}"), name, None)
            if callable(found):
                return found
    raise AttributeError(f"module {__name__!r} has no loss {name!r}")
