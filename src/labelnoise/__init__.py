"""Train with noisy labels: robust losses, label noise, methods, and a complete record of every run.

`__all__` is the public interface, described in docs/library.md. Importing it loads no torch: each name is imported when
it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labelnoise import losses
    from labelnoise.config.compose import compose
    from labelnoise.data.from_arrays import from_arrays
    from labelnoise.experiment.own_labels import noisy_labels
    from labelnoise.experiment.own_setup import make_setup
    from labelnoise.experiment.run import run, train
    from labelnoise.launch.run_many import run_many
    from labelnoise.theory.checking import check
    from labelnoise.training.listener import Listener
    from labelnoise.training.loop import start_epoch

__all__ = [
    "Listener",
    "check",
    "compose",
    "from_arrays",
    "losses",
    "make_setup",
    "noisy_labels",
    "run",
    "run_many",
    "start_epoch",
    "train",
]
__version__ = "0.1.0"

_WHERE = {
    "Listener": "training.listener",
    "check": "theory.checking",
    "compose": "config.compose",
    "from_arrays": "data.from_arrays",
    "make_setup": "experiment.own_setup",
    "noisy_labels": "experiment.own_labels",
    "run": "experiment.run",
    "run_many": "launch.run_many",
    "start_epoch": "training.loop",
    "train": "experiment.run",
}


def __getattr__(name: str) -> Any:
    if name == "losses":
        return importlib.import_module("labelnoise.losses")
    if name in _WHERE:
        return getattr(importlib.import_module(f"labelnoise.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
