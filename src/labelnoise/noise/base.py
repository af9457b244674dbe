"""Shared by the noise functions: the facts they read, the type of a rate, and exact flipping per class.

A noise function maps `(facts, seed)` to noisy labels (N,), int64 on the CPU. It draws from numpy's RandomState, whose
streams are frozen: the same seed gives the same labels on every platform and version.
"""

from collections.abc import Callable
from typing import Annotated, Protocol

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
) -> Tensor:
    """Replace the labels of round(rate * n) of each class's n images. Returns the noisy labels (N,).

    Args:
        true_labels: (N,).
        rate: fraction of each class.
        target: `(class, count)` -> the new labels of `count` images of that class; the class itself flips none.
    """
    labels = true_labels.numpy().copy()
    for c in range(num_classes):
        members = np.flatnonzero(true_labels.numpy() == c)
        flipped = random.permutation(members)[: round(rate * len(members))]
        labels[flipped] = target(c, len(flipped))
    return torch.from_numpy(labels)
