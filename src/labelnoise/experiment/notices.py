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
    return [*dataset.notices, line, *_missed_rate(cfg.noise, dataset, facts["transition"])]


def validation(cfg: DictConfig, dataset: "Dataset") -> list[str]:
    """A line on the images that validate and on the trusted ones of the data set's own part, if there are any."""
    own = 0 if dataset.val_labels is None else len(dataset.val_labels)
    trusted = 0 if cfg.trusted_from == "train" else cfg.num_trusted or own
    line = validation_in_short(dataset, cfg.num_val, trusted)
    return [line] if line else []


def _missed_rate(noise: DictConfig, dataset: "Dataset", transition: list[list[int]] | None) -> list[str]:
    """A warning if not as many labels are wrong as the noise's rate says; no line if they are."""
    rate = noise.get("rate")
    if rate is None or transition is None:
        return []
    from labelnoise.noise.base import Expected

    expected = getattr(hydra.utils.get_object(noise["_target_"]), "expected", None)
    asked = Expected(rate * len(dataset.train_labels)) if expected is None else expected(dataset, rate)
    wrong = sum(sum(row) - row[c] for c, row in enumerate(transition))
    if abs(wrong - asked.wrong) <= asked.spread:
        return []
    return [f"warning: rate={rate}: {wrong:,} labels are wrong, not {asked.wrong:,.0f} as requested"]
