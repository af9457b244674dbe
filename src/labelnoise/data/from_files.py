"""A data set from listed image files: its parts, its pixels (in memory or streamed), and their statistics."""

import os
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.data.dataset import Dataset
from labelnoise.data.decode import decode, look_through
from labelnoise.data.left_out import in_short
from labelnoise.data.listing import Entry, Listed, check_no_empty_class
from labelnoise.data.streamed import StreamedImages
from labelnoise.data.what_was_read import Read, lines

Size = Annotated[int, Ge(8), Le(1024)]
SHARE = 0.5  # of the machine's memory; larger training sets are streamed


class Parts(NamedTuple):
    """Attributes: the training, held-out (possibly none) and test entries."""

    train: Sequence[Entry]
    val: Sequence[Entry]
    test: Sequence[Entry]


def given_parts(found: Listed) -> Parts:
    """The parts given by the entries; the val part is the test part if there is no other."""
    train, val, test = ([e for e in found.entries if e.part == part] for part in ("train", "val", "test"))
    return Parts(train, val, test) if test else Parts(train, [], val)


def set_aside(found: Listed, share: float, seed: int) -> Parts:
    """Set aside a share of each class, by given labels, for testing; see `share_of_each`."""
    chosen = share_of_each(np.array([entry.label for entry in found.entries]), share, seed)
    pairs = list(zip(found.entries, chosen, strict=True))
    return Parts([e for e, out in pairs if not out], [], [e for e, out in pairs if out])


def share_of_each(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """A share of each class's places, drawn at random; at least one of a class with two or more. (N,) -> (N,), bool."""
    random = np.random.RandomState(seed)
    chosen = np.zeros(len(labels), dtype=bool)
    for name in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == name))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        chosen[members[:count]] = True
    return chosen


def dataset_of(name: str, found: Listed, parts: Parts, size: int, colour: bool, stream: bool | None = None) -> Dataset:
    """The data set with these parts.

    Args:
        stream: whether to decode training images for every batch; None: if they would need more than half of the
            machine's memory. It changes no pixel.
    Raises:
        ValueError: there are no test images, more than 1% of the images cannot be read, or none of a class can.
    """
    if not parts.test:
        left = f" (left out: {in_short(found.left_out)})" if found.left_out else ""
        raise ValueError(
            f"data_dir={found.root}: has no images to test on; add a test/ folder, or images to each class{left}"
        )
    number = {label: i for i, label in enumerate(found.classes)}
    bytes_ = len(parts.train) * size * size * (3 if colour else 1)
    streamed = stream or (stream is None and bytes_ > SHARE * memory())
    images, val_images, test_images, read, counts = (_streamed if streamed else _in_memory)(found, parts, size, colour)
    train, val, test = (part.entries for part in read)
    check_no_empty_class(found.classes, (entry.label for entry in train))

    def numbers(part: Sequence[Entry], label: Callable[[Entry], str]) -> Tensor:
        return torch.tensor([number[label(entry)] for entry in part], dtype=torch.long)

    mean, std = mean_and_std(counts)
    return Dataset(
        name=name,
        train_images=images,
        train_labels=numbers(train, lambda entry: entry.label),
        true_labels=numbers(train, _best) if all(entry.corrected for entry in train) else None,
        test_images=test_images,
        test_labels=numbers(test, _best),
        val_images=val_images if val else None,
        val_labels=numbers(val, _best) if val else None,
        val_is_clean=bool(val) and all(entry.corrected for entry in val),
        classes=found.classes,
        mean=mean,
        std=std,
        paths=tuple(entry.path for entry in train),
        notices=lines(name, found, read, sum(map(len, parts))),
    )


def _best(entry: Entry) -> str:
    return entry.corrected or entry.label


def memory() -> int:
    """The machine's memory in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _in_memory(found: Listed, parts: Parts, size: int, colour: bool) -> tuple[Any, ...]:
    """The pixels of the three parts, what was read of each, and the counts of the training pixels."""
    entries = [entry for part in parts for entry in part]
    pixels, seen = decode(found.root, [entry.path for entry in entries], size, colour)
    # the kept positions are in order, so each part is a slice of one tensor
    ends = [int((seen.kept < end).sum()) for end in np.cumsum([len(part) for part in parts]).tolist()]
    slices = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
    images = [pixels[part] for part in slices]
    kept = [entries[i] for i in seen.kept.tolist()]
    read = [Read(kept[part], seen.digests[part], sum(seen.flat[part])) for part in slices]
    return *images, read, counted(images[0])


def _streamed(found: Listed, parts: Parts, size: int, colour: bool) -> tuple[Any, ...]:
    """As `_in_memory`, but the training images are read once as a check, and not kept."""
    seen, counts = look_through(found.root, [entry.path for entry in parts.train], size, colour)
    train = [parts.train[i] for i in seen.kept.tolist()]
    images = StreamedImages(found.root, [entry.path for entry in train], size, colour)
    _, val_images, test_images, (_, val, test), _ = _in_memory(found, parts._replace(train=[]), size, colour)
    return images, val_images, test_images, [Read(train, seen.digests, sum(seen.flat)), val, test], counts


def counted(images: Tensor) -> Tensor:
    """The number of pixels with each value. Shapes: (N, channels, H, W), uint8 -> (channels, 256), float64."""
    counts = torch.zeros(images.shape[1], 256, dtype=torch.float64)
    for chunk in images.split(4096):
        for channel in range(len(counts)):
            counts[channel] += torch.bincount(chunk[:, channel].flatten().int(), minlength=256)
    return counts


def mean_and_std(counts: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Of each channel, in [0, 1] units, from counts (channels, 256); the deviation is at least one grey level."""
    values = torch.arange(256, dtype=torch.float64) / 255
    means = (counts * values).sum(dim=1) / counts.sum(dim=1)
    variances = (counts * (values - means[:, None]) ** 2).sum(dim=1) / counts.sum(dim=1)
    return tuple(means.tolist()), tuple(variances.sqrt().clamp_min(1 / 255).tolist())
