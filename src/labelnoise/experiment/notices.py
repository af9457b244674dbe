"""The lines printed before training: what was read, the noise, and whether the noise is what was asked for."""

from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from labelnoise.experiment.metrics import noise_in_short, validation_in_short

if TYPE_CHECKING:
    from labelnoise.data.dataset import Dataset


def notices(cfg: DictConfig, dataset: "Dataset", facts: dict[str, Any]) -> list[str]:
    """The lines.

    Args:
        facts: on the noise, from `noise_facts`.
    """
    line = noise_in_short(dataset.name, facts, len(dataset.train_labels))
    T = facts["transition"]
    wrong = None if T is None else sum(sum(row) - row[c] for c, row in enumerate(T))
    missed = "" if wrong is None else missed_rate(cfg.noise, dataset, wrong)
    return [*dataset.notices, line, *([f"warning: {missed}"] if missed else [])]


def validation(cfg: DictConfig, dataset: "Dataset") -> list[str]:
    """A line on the images that validate and on the trusted ones of the data set's own part, if there are any."""
    own = 0 if dataset.val_labels is None else len(dataset.val_labels)
    trusted = 0 if cfg.trusted_from == "train" else cfg.num_trusted or own
    line = validation_in_short(dataset, cfg.num_val, trusted)
    return [line] if line else []


def missed_rate(noise: DictConfig, dataset: "Dataset", wrong: int) -> str:
    """How many labels are wrong, if not as many as the noise's rate says; else empty."""
    rate = noise.get("rate")
    if rate is None:
        return ""
    from labelnoise.noise.base import Expected

    expected = getattr(hydra.utils.get_object(noise["_target_"]), "expected", None)
    asked = Expected(rate * len(dataset.train_labels)) if expected is None else expected(dataset, rate)
    if abs(wrong - round(asked.wrong)) <= asked.spread:
        return ""
    return f"rate={rate}: {wrong:,} labels are wrong, not {asked.wrong:,.0f} as requested"
