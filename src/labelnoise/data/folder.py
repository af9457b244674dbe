"""Your own images: a folder of class subfolders, or of images with a CSV of their labels."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.data.dataset import Dataset
from labelnoise.data.decode import decode
from labelnoise.data.listing import (
    Entry,
    Listed,
    check_folder,
    check_no_empty_class,
    content_hash,
    from_csv,
    from_folders,
    listed,
    with_corrected,
)

Size = Annotated[int, Ge(8), Le(1024)]
Share = Annotated[float, Ge(0.01), Le(0.9)]


@checked
def folder(
    data_dir: str,
    size: Size = 64,
    colour: bool = True,
    labels: str | None = None,
    corrected: str | None = None,
    classes: list[str] | None = None,
    test: Share = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """The images of a folder, as uint8 tensors in memory.

    With `train/` and `test/` folders, or a column `split` in the CSV, these are the parts (and `val/` a held-out part;
    it is the test part where there is no other). Else a share of each class is set aside to test on.

    Args:
        data_dir: the folder; all paths are relative to it, and no file outside it is read.
        size: pixels; the shorter side is resized to it and the square in the middle taken.
        colour: three channels, or one.
        labels: a CSV with the columns path and label; None: the images stand in one subfolder for each class.
        corrected: a second such CSV with the true labels of all training images; listed test images take theirs too.
        classes: their names in the order of their numbers; None: those of the training images, sorted.
        test: the share of each class to test on where no test part is given.
        split_seed: which images these are.
    Raises:
        ValueError: bad input, in one line: see `labelnoise.data.listing`; or more than 1% of the images are unreadable.
    """
    found = find(data_dir, labels, corrected, classes)
    return in_memory("folder", found, divided(found, test, split_seed), size, colour)


def find(data_dir: str, labels: str | None, corrected: str | None, classes: list[str] | None) -> Listed:
    """What `folder` reads, before any image is opened. Raises: as `folder`."""
    root = Path(data_dir)
    check_folder(root)
    entries = from_folders(root) if labels is None else from_csv(root, labels)
    if corrected is not None:
        entries = with_corrected(root, corrected, entries)
    return listed(root, entries, None if classes is None else [str(name) for name in classes])


def content(
    data_dir: str,
    labels: str | None = None,
    corrected: str | None = None,
    classes: list[str] | None = None,
    **_: object,
) -> str:
    """What a run's id says of the images: a hash of their paths, sizes and labels, wherever the folder stands."""
    return content_hash(find(data_dir, labels, corrected, classes))


folder.content = content  # type: ignore[attr-defined]  # read by `labelnoise.experiment.identity`


class Parts(NamedTuple):
    """Attributes: the entries to train on, to hold out (possibly none) and to test on."""

    train: list[Entry]
    val: list[Entry]
    test: list[Entry]


def divided(found: Listed, share: float, seed: int) -> Parts:
    """The parts that the folder gives; where it gives none, a stratified test part.

    Raises:
        ValueError: there is nothing to test on.
    """
    given = [[entry for entry in found.entries if entry.part == part] for part in ("train", "val", "test")]
    if given[0]:
        train, val, test = given
        if not test:
            val, test = [], val
    else:
        train, val, test = _set_aside(found.entries, share, seed)
    if not test:
        raise ValueError(
            f"data_dir={found.root}: has no images to test on; add a test/ folder, or images to each class"
        )
    return Parts(train, val, test)


def _set_aside(entries: tuple[Entry, ...], share: float, seed: int) -> Parts:
    """A share of each class, by its given labels, at least one image of a class that has two."""
    random = np.random.RandomState(seed)
    labels = np.array([entry.label for entry in entries])
    chosen = np.zeros(len(entries), dtype=bool)
    for name in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == name))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        chosen[members[:count]] = True
    pairs = list(zip(entries, chosen, strict=True))
    return Parts([entry for entry, out in pairs if not out], [], [entry for entry, out in pairs if out])


def in_memory(name: str, found: Listed, parts: Parts, size: int, colour: bool) -> Dataset:
    """The data set of these parts, every image decoded.

    Raises:
        ValueError: more than 1% of the images cannot be read, or a class is left without one.
    """
    number = {label: i for i, label in enumerate(found.classes)}
    entries = [entry for part in parts for entry in part]
    decoded, kept = decode(found.root, [entry.path for entry in entries], size, colour)
    # kept positions stay in order, so each part is a slice of the one tensor
    first, second = (int((kept < end).sum()) for end in (len(parts.train), len(parts.train) + len(parts.val)))
    images, val_images, test_images = decoded[:first], decoded[first:second], decoded[second:]
    read = [entries[i] for i in kept.tolist()]
    train, val, test = read[:first], read[first:second], read[second:]
    check_no_empty_class(found.classes, (entry.label for entry in train))

    def numbers(part: list[Entry], label: Callable[[Entry], str]) -> Tensor:
        return torch.tensor([number[label(entry)] for entry in part], dtype=torch.long)

    mean, std = mean_and_std(images)
    return Dataset(
        name=name,
        train_images=images,
        train_labels=numbers(train, _given),
        true_labels=numbers(train, _best) if all(entry.corrected for entry in train) else None,
        test_images=test_images,
        test_labels=numbers(test, _best),
        val_images=val_images if val else None,
        val_labels=numbers(val, _best) if val else None,
        classes=found.classes,
        mean=mean,
        std=std,
        paths=tuple(entry.path for entry in train),
    )


def _given(entry: Entry) -> str:
    return entry.label


def _best(entry: Entry) -> str:
    return entry.corrected or entry.label


def mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel over all pixels, in [0, 1] units, exact; a constant channel's deviation is one grey level.

    Shapes: (N, channels, H, W), uint8.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        counts = torch.zeros(256, dtype=torch.float64)
        for chunk in images[:, channel].split(4096):
            counts += torch.bincount(chunk.flatten().int(), minlength=256)
        mean = float((counts * values).sum() / counts.sum())
        variance = float((counts * (values - mean) ** 2).sum() / counts.sum())
        means.append(mean)
        stds.append(max(variance**0.5, 1 / 255))
    return tuple(means), tuple(stds)
