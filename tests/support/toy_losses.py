"""Losses of more than logits and labels."""

from torch import Tensor

from labelnoise.losses import ce


def of_features(logits: Tensor, labels: Tensor, features: Tensor) -> Tensor:
    return ce(logits, labels) + 100 + features.mean(dim=1)


of_features.needs = frozenset({"features"})  # type: ignore[attr-defined]


def of_step(logits: Tensor, labels: Tensor, step: Tensor) -> Tensor:
    """The number of the update, and a loss that is too small to see."""
    return step + 1e-9 * ce(logits, labels)


of_step.needs = frozenset({"step"})  # type: ignore[attr-defined]
