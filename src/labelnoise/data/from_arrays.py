"""A data set from arrays of images and labels: numpy's, torch's or lists."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelnoise.data.dataset import Dataset, pairs
from labelnoise.data.from_files import counted, mean_and_std


def from_arrays(
    name: str,
    train_images: Any,
    train_labels: Any,
    test_images: Any,
    test_labels: Any,
    classes: Sequence[str] | None = None,
    *,
    true_labels: Any = None,
    val_images: Any = None,
    val_labels: Any = None,
    val_is_clean: bool = False,
    mistaken_for: Mapping[int, int] | None = None,
    superclass: Sequence[int] | None = None,
) -> Dataset:
    """The data set of these arrays; mean and deviation are those of the training images.

    Images are uint8, (N, H, W) or with a last or a second axis of channels, and square, all of one size; labels (N,)
    are whole numbers from 0.

    Args:
        name: as in the `dataset.name` of its YAML file.
        train_labels: as given, right or wrong.
        test_labels: the true ones.
        classes: names of the C classes; None: their numbers, up to the largest label.
        true_labels: (N,), of the training images: `train_labels` itself if these are right, so that a noise can flip
            them; None: unknown, only noise=given and noise=file are possible.
        val_images, val_labels: a held-out part of its own.
        val_is_clean: whether val_labels are known to be the true ones.
        mistaken_for: for noise=asym, class -> the class that it is mistaken for.
        superclass: (C,), of each class, for a method that needs it.
    Raises:
        ValueError: an array has the wrong type, shape or values; names it.
    """
    given = [labels for labels in (train_labels, test_labels, true_labels, val_labels) if labels is not None]
    if (val_images is None) != (val_labels is None):
        raise ValueError("val_images, val_labels: both are needed, or none")
    count = len(classes) if classes is not None else 1 + max(int(np.max(_array(one), initial=0)) for one in given)
    train, test = images_of("train_images", train_images), images_of("test_images", test_images)
    val = None if val_images is None else images_of("val_images", val_images)
    for what, part in (("test_images", test), ("val_images", val)):
        if part is not None and part.shape[1:] != train.shape[1:]:
            raise ValueError(f"{what}: are of shape {_shape(part[0])}, the training images of shape {_shape(train[0])}")
    mean, std = mean_and_std(counted(train))
    return Dataset(
        name=name,
        train_images=train,
        train_labels=labels_of("train_labels", train_labels, count, len(train)),
        test_images=test,
        test_labels=labels_of("test_labels", test_labels, count, len(test)),
        classes=tuple(map(str, range(count) if classes is None else classes)),
        mean=mean,
        std=std,
        mistaken_for=None if mistaken_for is None else pairs(count, dict(mistaken_for)),
        superclass=None if superclass is None else torch.tensor(superclass),
        true_labels=None if true_labels is None else labels_of("true_labels", true_labels, count, len(train)),
        val_images=val,
        val_labels=None if val is None else labels_of("val_labels", val_labels, count, len(val)),
        val_is_clean=val_is_clean,
    )


def images_of(name: str, images: Any) -> Tensor:
    """Images as a data set has them: (N, H, H), (N, H, H, channels) or (N, channels, H, H) -> (N, channels, H, H).

    Raises:
        ValueError: they are not uint8, or of another shape; begins with `name`.
    """
    array = _array(images)
    if array.dtype != np.uint8:
        scaled = "; images from 0 to 1 become so by (255 * images).round().astype('uint8')"
        hint = scaled if np.issubdtype(array.dtype, np.floating) else ""
        raise ValueError(f"{name}: are {array.dtype}, must be uint8, 0 to 255{hint}")
    if array.ndim == 3:
        array = array[:, None]
    first, last = (array.ndim == 4 and array.shape[a] == array.shape[b] for a, b in ((2, 3), (1, 2)))
    if not len(array) or first == last:  # neither is square, or nothing tells which axis has the channels
        wanted = "(N, H, H), (N, H, H, channels) or (N, channels, H, H), square images"
        raise ValueError(f"{name}: have shape {_shape(array)}, must be {wanted}")
    return torch.from_numpy(np.require(array if first else array.transpose(0, 3, 1, 2), requirements=["C", "W"]))


def labels_of(name: str, labels: Any, num_classes: int, count: int | None = None) -> Tensor:
    """Labels as a tensor (N,), int64, on the CPU.

    Args:
        count: N, if it is known.
    Raises:
        ValueError: they are not whole numbers from 0 to below num_classes, or not one for each image.
    """
    array = _array(labels)
    if array.ndim != 1 or (count is not None and len(array) != count):
        wanted = "(N,)" if count is None else f"({count},), a label for each image"
        raise ValueError(f"{name}: have shape {_shape(array)}, must be {wanted}")
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name}: are {array.dtype}, must be whole numbers")
    outside = array[(array < 0) | (array >= num_classes)]
    if len(outside):
        raise ValueError(f"{name}: have the label {outside[0]}, must be 0 to {num_classes - 1}")
    return torch.from_numpy(array.astype(np.int64))


def _array(values: Any) -> np.ndarray:
    return np.asarray(values.detach().cpu().numpy() if isinstance(values, Tensor) else values)


def _shape(values: Any) -> str:
    return str(tuple(values.shape))
