"""A long tail: fewer and fewer training images from the first class to the last."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from labelnoise.data.dataset import Dataset
from labelnoise.data.subset import subset

STREAM = 20190116  # beside the seed, so that the draws are not those of the noise, which has the same seed
SHOWN = 20  # classes whose sizes fit on a line


def long_tail(dataset: Dataset, imbalance: float | None, seed: int, trusted: Tensor | None = None) -> Dataset:
    """Keep n_c = floor(n_max * imbalance^(-c / (C - 1))) training images of class c, or all if it has fewer.

    n_max is the size of the largest class without the trusted images. Classes are those of the true labels, or of the
    given ones where the true are unknown. The images are drawn at random and stay in the data set's order; those of a
    larger imbalance are among those of a smaller one. Test and validation part, mean and deviation stay the data set's.

    Args:
        imbalance: at least 1; 1 or None is the data set as it is.
        seed: of the draw, `seed_noise` of a run.
        trusted: (T,), positions of images to set aside with their true labels before the tail is cut, or none.
    Raises:
        ValueError: the last class would have no image.
    Source: Cui et al. 2019, arXiv:1901.05555, section 5.1; sizes rounded as in the code of Cao et al. 2019,
        arXiv:1906.07413, which takes the mean size of the classes as n_max: CIFAR's are equal.
    """
    if imbalance is None or imbalance == 1:
        return dataset
    labels = _classes_of(dataset).numpy().copy()
    if trusted is not None:
        labels[trusted.numpy()] = dataset.num_classes  # of none of the classes
    largest = int(np.bincount(labels)[: dataset.num_classes].max())
    sizes = tail_sizes(largest, dataset.num_classes, imbalance)
    if not sizes[-1]:
        raise ValueError(
            f"dataset.imbalance={imbalance:g}: must be at most {largest} for dataset={dataset.name}, the images of its "
            "largest class, so that the last class keeps one"
        )
    random = np.random.RandomState([seed, STREAM])
    drawn = [random.permutation(np.flatnonzero(labels == c))[:size] for c, size in enumerate(sizes)]
    tail = subset(dataset, torch.from_numpy(np.sort(np.concatenate(drawn))))
    line = _in_short(len(labels), imbalance, class_sizes(tail))
    if trusted is not None:
        apart = subset(dataset, trusted)
        tail = tail._replace(trusted_images=apart.train_images, trusted_labels=apart.true_labels)
        line += f"; {len(trusted):,} trusted images set aside before"
    return tail._replace(notices=(*dataset.notices, line))


def tail_sizes(largest: int, num_classes: int, imbalance: float) -> list[int]:
    """The images of each class (C,), from `largest` to floor(largest / imbalance)."""
    exact = largest * imbalance ** (-np.arange(num_classes) / (num_classes - 1))
    return [int(size) for size in exact.round(9)]  # 49 * (1 / 49) is a little less than 1


def class_sizes(dataset: Dataset) -> list[int]:
    """The training images of each class (C,)."""
    return _classes_of(dataset).bincount(minlength=dataset.num_classes).tolist()


def tailed(whole: Callable[[], Dataset], imbalance: float, seed: int) -> Dataset:
    """The long tail of the data set that `whole` loads, as a component `dataset.load`."""
    return long_tail(whole(), imbalance, seed)


def _classes_of(dataset: Dataset) -> Tensor:
    return dataset.train_labels if dataset.true_labels is None else dataset.true_labels


def _in_short(whole: int, imbalance: float, sizes: list[int]) -> str:
    each = ", ".join(f"{size:,}" for size in sizes) if len(sizes) <= SHOWN else f"{sizes[0]:,} to {sizes[-1]:,}"
    return f"long tail of imbalance {imbalance:g}: {sum(sizes):,} of {whole:,} training images, by class {each}"
