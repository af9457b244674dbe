"""Calls of configured functions without Hydra's checks at every call."""

import inspect
from functools import partial
from typing import Any

PACKAGE = __name__.partition(".")[0]


def direct(made: Any) -> Any:
    """Replace Hydra's partial of a function of this project, and such partials in its arguments, by functools.partial.

    Hydra's partial checks its arguments again at every call, which takes longer than most losses. The arguments of our
    functions were checked when the partial was made. Partials of other functions are left as Hydra made them.
    """
    ours = (
        isinstance(made, partial) and inspect.isfunction(made.func) and made.func.__module__.startswith(f"{PACKAGE}.")
    )
    if not ours:
        return made
    return partial(made.func, *map(direct, made.args), **{name: direct(v) for name, v in made.keywords.items()})
