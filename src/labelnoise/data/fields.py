"""Checks that a data set is what the fields of `Dataset` say, before anything is computed from it."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from labelnoise.data.dataset import Dataset
from labelnoise.data.streamed import StreamedImages


def refuse_fields(dataset: Any, name: str) -> None:
    """Refuse a data set with a field of a wrong type, shape or range.

    Args:
        name: of the function that made it, for the message.
    Raises:
        ValueError: names the field, what it is and what it must be.
    """
    try:
        _check(dataset)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check(dataset: Any) -> None:
    if not isinstance(dataset, Dataset):
        raise ValueError(f"gave {type(dataset).__name__}, must give a labelnoise.data.dataset.Dataset")
    d, count = dataset, _images("train_images", dataset.train_images)
    if not isinstance(d.classes, tuple) or len(d.classes) < 2 or not all(isinstance(name, str) for name in d.classes):
        raise ValueError(f"classes={str(d.classes)[:60]}: must be a tuple of at least two names")
    shape = tuple(d.train_images.shape[1:])
    _labels("train_labels", d.train_labels, count, d.num_classes)
    _labels("test_labels", d.test_labels, _images("test_images", d.test_images, shape), d.num_classes)
    if d.true_labels is not None:
        _labels("true_labels", d.true_labels, count, d.num_classes)
    for part, images, labels in (
        ("val", d.val_images, d.val_labels),
        ("trusted", d.trusted_images, d.trusted_labels),
    ):
        if (images is None) != (labels is None):
            raise ValueError(f"{part}_images and {part}_labels: must both be given, or both be None")
        if images is not None:
            _labels(f"{part}_labels", labels, _images(f"{part}_images", images, shape), d.num_classes)
    _per_channel("mean", d.mean, shape[0], -math.inf)
    _per_channel("std", d.std, shape[0], 0.0)
    if d.mistaken_for is not None:
        _labels("mistaken_for", d.mistaken_for, d.num_classes, d.num_classes)
    if d.superclass is not None:
        _labels("superclass", d.superclass, d.num_classes, d.num_classes)
    if d.paths is not None and len(d.paths) != count:
        raise ValueError(f"paths: has {len(d.paths):,} entries, must have {count:,}, one for each training image")
    if d.kept is not None:
        _positions("kept", d.kept, count)


def _images(field: str, images: Any, shape: tuple[int, ...] | None = None) -> int:
    """The number of images, after checking them. `shape`: of each one of the training images."""
    what = "must be (N, channels, height, width), torch.uint8, or (N, D), floating point, on the CPU"
    if not isinstance(images, StreamedImages):
        if not isinstance(images, Tensor):
            raise ValueError(f"{field}: is {type(images).__name__}, {what}")
        vectors = images.dim() == 2 and images.is_floating_point()
        if not (vectors or (images.dim() == 4 and images.dtype == torch.uint8)) or images.device.type != "cpu":
            raise ValueError(f"{field}: is {tuple(images.shape)}, {images.dtype}, on {images.device}; {what}")
    if not len(images) or 0 in images.shape[1:]:
        raise ValueError(f"{field}: is {tuple(images.shape)}, must not be empty")
    if shape is not None and tuple(images.shape[1:]) != shape:
        raise ValueError(f"{field}: are {tuple(images.shape[1:])} each, must be {shape}, as the training images")
    return len(images)


def _labels(field: str, labels: Any, count: int, classes: int) -> None:
    what = f"must be ({count:,},), torch.int64, on the CPU"
    if not isinstance(labels, Tensor):
        raise ValueError(f"{field}: is {type(labels).__name__}, {what}")
    if labels.shape != (count,) or labels.dtype != torch.int64 or labels.device.type != "cpu":
        raise ValueError(f"{field}: is {tuple(labels.shape)}, {labels.dtype}, on {labels.device}; {what}")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise ValueError(f"{field}: from {lowest} to {highest}, must be from 0 to {classes - 1}")


def _positions(field: str, index: Any, count: int) -> None:
    what = f"must be ({count:,},), torch.int64, on the CPU"
    if not isinstance(index, Tensor):
        raise ValueError(f"{field}: is {type(index).__name__}, {what}")
    if index.shape != (count,) or index.dtype != torch.int64 or index.device.type != "cpu":
        raise ValueError(f"{field}: is {tuple(index.shape)}, {index.dtype}, on {index.device}; {what}")
    if int(index[0]) < 0 or bool((index.diff() <= 0).any()):
        raise ValueError(f"{field}: must rise from 0 or more")


def _per_channel(field: str, values: Any, channels: int, above: float) -> None:
    whole = isinstance(values, Sequence) and len(values) == channels
    if not whole or not all(isinstance(v, int | float) and math.isfinite(v) and v > above for v in values):
        more = "" if above == -math.inf else f" above {above:g}"
        raise ValueError(f"{field}={str(values)[:60]}: must be {channels} finite numbers{more}, one for each channel")
