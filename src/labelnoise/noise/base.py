"""Shared by the noise functions: the facts they read, the type of a rate, and exact flipping per class.

A noise function maps `(facts, seed)` to noisy labels (N,), int64 on the CPU. It draws from numpy's RandomState, whose
streams are frozen: the same seed gives the same labels on every platform and version. Its attribute `expected`,
`(facts, rate) -> Expected`, is needed where the number of wrong labels meant is not `rate` of all; `of_whole = True`,
where it reads labels of the whole data set, of which a long tail takes its own.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple, Protocol

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

Rate = Annotated[float, Ge(0), Le(1)]


class Facts(Protocol):
    """What a noise function may know of a data set.

    Attributes:
        name: the data set's name.
        train_images: (N, channels, height, width), uint8.
        train_labels: (N,), int64, the given labels of the training images.
        true_labels: (N,), int64, their true labels, or None if they are not known.
        num_classes: C.
        mistaken_for: (C,), the class that each class is mistaken for, or the class itself if none; None if unknown.
    """

    @property
    def name(self) -> str: ...
    @property
    def train_images(self) -> Tensor: ...
    @property
    def train_labels(self) -> Tensor: ...
    @property
    def true_labels(self) -> Tensor | None: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def mistaken_for(self) -> Tensor | None: ...


class Expected(NamedTuple):
    """Attributes: wrong, the number of wrong labels that a noise means; spread, the largest usual distance from it."""

    wrong: float
    spread: float = 1.0


def drawn(facts: Facts, rate: float) -> Expected:
    """`Expected` of a noise that draws every label on its own: within three standard deviations."""
    count = len(facts.train_labels)
    return Expected(rate * count, max(1.0, 3 * (rate * (1 - rate) * count) ** 0.5))


def known_truth(facts: Facts) -> Tensor:
    """The true labels (N,), which a noise model flips.

    Raises:
        ValueError: they are not known.
    """
    if facts.true_labels is None:
        raise ValueError(
            f"dataset={facts.name} has no true labels to flip; use noise=given (its labels as they are) or noise=file"
        )
    return facts.true_labels


def flip_exactly(
    true_labels: Tensor,
    rate: float,
    num_classes: int,
    random: np.random.RandomState,
    target: Callable[[int, int], np.ndarray | int],
    moving: np.ndarray | None = None,
) -> Tensor:
    """Replace the labels of a fraction of each class's images, as `flips` counts them. Returns the noisy labels (N,).

    Args:
        true_labels: (N,).
        rate: fraction of each class.
        target: `(class, count)` -> the new labels of `count` images of that class; the class itself flips none.
        moving: (C,), bool, the classes that `target` changes; None: all.
    """
    labels = true_labels.numpy().copy()
    sizes = np.bincount(labels, minlength=num_classes)
    counts = flips(sizes, rate, np.ones(num_classes, dtype=bool) if moving is None else moving, random)
    for c in range(num_classes):
        members = np.flatnonzero(true_labels.numpy() == c)
        flipped = random.permutation(members)[: counts[c]]
        labels[flipped] = target(c, len(flipped))
    return torch.from_numpy(labels)


def flips(sizes: np.ndarray, rate: float, moving: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """How many labels of each class to flip (C,): round(rate * n), and in all `rate` of the labels of moving classes.

    Rounded down in each of many small classes, nothing would be left. So where the rounded counts miss their total by
    more than one label, all are rounded down and the labels that remain go to the classes with the largest fractions,
    at random among equals. A miss of two labels in more than 200 is left: so it is in the records of earlier versions.

    Args:
        sizes: (C,), images of each class.
        moving: (C,), bool, the classes whose labels change.
        random: asked only where labels remain.
    """
    wanted = np.where(moving, rate * sizes, 0)
    counts = np.array([round(count) for count in wanted])
    total = round(float(wanted.sum()))
    if abs(int(counts.sum()) - total) <= max(1, min(2, total / 100)):
        return counts
    wanted = wanted.round(9)  # 0.1 * 30 is a little more than 3
    counts = np.floor(wanted).astype(np.int64)
    order = random.permutation(len(sizes))
    order = order[np.argsort(counts[order] - wanted[order], kind="stable")]
    counts[order[: total - int(counts.sum())]] += 1
    return counts
