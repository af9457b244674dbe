"""An error in one line, as commands and sweeps report it."""

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException

from labelnoise.config.explain import explain
from labelnoise.files.claims import Claimed
from labelnoise.files.text import plain

LONGEST = 2000  # characters of a message; some list every option of a group


def one_line(error: Exception, overrides: list[str]) -> str:
    """The error in one line. An unexpected error also names its type and how to show the traceback."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HydraException | OmegaConfBaseException):
        return plain(explain(error, overrides), LONGEST)
    text = plain(str(error), LONGEST)
    if isinstance(error, ValueError | OSError | FloatingPointError | MemoryError | Claimed) and text:
        return text
    return f"{type(error).__name__}: {text[:300]} (LABELNOISE_TRACEBACK=1 shows where)"
