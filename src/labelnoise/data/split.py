"""Splits a training set into a training, a held-out and a trusted part."""

import numpy as np
import torch
from torch import Tensor


def split(labels: Tensor, num_val: int, num_trusted: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the training, held-out and trusted images, each sorted; the trusted ones balanced over the classes.

    The images are taken in a random order. Without a trusted part the labels decide nothing. With one they decide which
    images are trusted, and so which are left for the other parts; but labels that come after the last trusted image in
    the order do not matter, unless a class has too few images for its share.

    Args:
        labels: (N,), true ones if there is a trusted part.
        num_val, num_trusted: sizes of the held-out and the trusted part; the rest is for training.

    Raises:
        ValueError: no training images would be left.
    """
    count = len(labels)
    if num_val + num_trusted > count - 2:
        raise ValueError(f"num_val={num_val} num_trusted={num_trusted}: leave no training images of {count}")
    order = np.random.RandomState(seed).permutation(count)
    # Round-robin over the classes: the r-th image of each class comes before any (r+1)-th.
    ordered = labels.numpy()[order]
    rank = np.empty(count, dtype=np.int64)
    for c in np.unique(ordered):
        rank[ordered == c] = np.arange((ordered == c).sum())
    turn = order[np.argsort(rank, kind="stable")]
    trusted = turn[:num_trusted]
    rest = order[~np.isin(order, trusted)]
    train, val, chosen = (torch.from_numpy(np.sort(part)) for part in (rest[num_val:], rest[:num_val], trusted))
    return train, val, chosen
