"""Options that have another name now, or none: one line says what to write instead."""

from collections.abc import Iterable

OPTIONS = {"regime": "recipe", "tuned.regime": "tuned.recipe"}  # also below them, as in regime.lr
VALUES = {
    "loss.a=auto": "must be a number; labelnoise losscheck prints the smallest a that tolerates the noise",
    "hydra/launcher=basic": "was removed; hydra.launcher.n_jobs=1 runs one after another",
}


def refuse_old(overrides: Iterable[str]) -> None:
    """Refuse an override with an old name.

    Raises:
        ValueError: names the new one.
    """
    for override in overrides:
        name, _, value = override.lstrip("+~").partition("=")
        if reason := VALUES.get(f"{name}={value}"):
            raise ValueError(f"{override}: {reason}")
        for old, new in OPTIONS.items():
            if name == old or name.startswith(f"{old}."):
                rest = override.lstrip("+~")[len(old) :]
                raise ValueError(f"{override}: {old} is called {new} now" + (f", {new}{rest}" if rest else ""))
