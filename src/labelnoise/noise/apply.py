"""Calls a noise function, and refuses a result that is no label for each image."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from labelnoise.losses.class_tree import parents
from labelnoise.noise.base import Facts


def apply(noise: Callable[[Any, int], Any], facts: Facts, seed: int, name: str) -> Tensor:
    """The noisy labels of a data set (N,), int64.

    Args:
        name: of the function, for the message.
    Raises:
        ValueError: raised by the noise; the result is not (N,) whole numbers below the number of classes (of nodes of
            the class tree, for a noise that has `imprecise`); or it wrote into the data set's own labels.
    """
    own = {"train_labels": facts.train_labels}
    if facts.true_labels is not None:
        own["true_labels"] = facts.true_labels
    before = {field: labels.clone() for field, labels in own.items()}
    labels = noise(facts, seed)
    for field, kept in before.items():
        if not torch.equal(own[field], kept):
            own[field].copy_(kept)
            raise ValueError(f"{name}: wrote into {field} of the data set; it must change a copy, {field}.clone()")
    count, classes = len(facts.train_labels), facts.num_classes
    if getattr(getattr(noise, "func", noise), "imprecise", False):
        classes = len(parents(classes, getattr(facts, "superclass", None)))
    what = f"must give ({count:,},) whole numbers from 0 to {classes - 1}"
    if not isinstance(labels, Tensor):
        raise ValueError(f"{name}: gave {type(labels).__name__}, {what}, a tensor")
    if labels.shape != (count,) or labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise ValueError(f"{name}: gave {tuple(labels.shape)}, {labels.dtype}, {what}")
    labels = labels.to("cpu", torch.int64)
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise ValueError(f"{name}: gave labels from {int(labels.min())} to {int(labels.max())}, {what}")
    if labels.data_ptr() in {kept.data_ptr() for kept in own.values()}:  # a later change would reach the data set's
        return labels.clone()
    return labels
