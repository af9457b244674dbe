"""Holds out one fold of a data set, to evaluate its images with a network that was not trained on them."""

from collections.abc import Callable
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.data.dataset import Dataset
from labelnoise.data.subset import subset

Folds = Annotated[int, Ge(2)]
Fold = Annotated[int, Ge(0)]


@checked
def held_out(whole: Callable[[], Dataset], path: str, fold: Fold, folds: Folds, seed: int) -> Dataset:
    """The data set with the other folds as the training part, and this one, with given labels, as the test part.

    Args:
        whole: loads the data set.
        path: .npy, the given labels (N,) of its training images.
        fold: the held-out fold, from 0.
        folds: number of folds.
        seed: of the folds.
    Raises:
        ValueError: there is no such fold, or the file does not have one label per training image.
    """
    if fold >= folds:
        raise ValueError(f"fold={fold}: must be below folds={folds}")
    dataset = whole()
    labels = torch.from_numpy(np.load(path, allow_pickle=False))
    if labels.shape != dataset.train_labels.shape:
        raise ValueError(f"path={path}: has {len(labels):,} labels, must have {len(dataset.train_labels):,}")
    held = fold_of(labels, folds, seed) == fold
    out, kept = held.nonzero().flatten(), (~held).nonzero().flatten()
    return subset(dataset, kept)._replace(
        train_labels=labels[kept],
        test_images=dataset.train_images[out],
        test_labels=labels[out],
        val_images=None,
        val_labels=None,
        kept=None,
        trusted_images=None,
        trusted_labels=None,
        notices=(),  # of the whole data set, not of a fold
    )


def fold_of(labels: Tensor, folds: int, seed: int) -> Tensor:
    """The fold of each image; each class is spread evenly over the folds. Shapes: (N,) -> (N,), 0 to folds - 1."""
    order = np.random.RandomState(seed).permutation(len(labels))
    by_class = order[np.argsort(labels.numpy()[order], kind="stable")]
    out = np.empty(len(labels), dtype=np.int64)
    out[by_class] = np.arange(len(labels)) % folds
    return torch.from_numpy(out)
