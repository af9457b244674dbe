"""Decodes and resizes image files to uint8 tensors, with Pillow in worker processes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

BAD = 0.01  # largest share of files that may be unreadable
LISTED = 20  # largest number of them in a message
FEW = 256  # with fewer files, starting worker processes takes longer than decoding
MOST = 8  # worker processes
CHUNK = 32  # files that a worker returns at once


class Decoded(NamedTuple):
    """Attributes: images (M, channels, size, size), uint8; kept (M,), their positions among the files, in order."""

    images: Tensor
    kept: Tensor


def read_image(path: Path, size: int, colour: bool) -> np.ndarray | str:
    """One image (size, size, channels), uint8, or the reason why it cannot be read.

    It is rotated by its EXIF orientation, its shorter side is resized to `size`, and it is cropped to the central
    square.
    """
    from PIL import Image, ImageOps

    mode = "RGB" if colour else "L"
    try:
        with Image.open(path) as image:
            image.draft(mode, (size, size))  # decodes a JPEG at about this size, several times faster
            fitted = ImageOps.fit(ImageOps.exif_transpose(image).convert(mode), (size, size), Image.Resampling.BILINEAR)
    except FileNotFoundError:
        return "no such file"
    except Exception as error:  # Pillow raises many types of errors for a damaged file
        return (str(error).splitlines() or [type(error).__name__])[0].replace(str(path), path.name)
    return np.asarray(fitted).reshape(size, size, -1)


def decode(root: Path, paths: Sequence[str], size: int, colour: bool) -> Decoded:
    """All images that can be read; the others are listed on standard error and omitted.

    Args:
        paths: relative to root.
    Raises:
        ValueError: more than 1% cannot be read.
    """
    channels = 3 if colour else 1
    out = np.empty((len(paths), size, size, channels), dtype=np.uint8)
    bad: dict[int, str] = {}
    for position, image in enumerate(_each([root / path for path in paths], size, colour)):
        if isinstance(image, str):
            bad[position] = image
        else:
            out[position - len(bad)] = image
    report_bad([(paths[i], reason) for i, reason in bad.items()], len(paths))
    kept = torch.tensor([i for i in range(len(paths)) if i not in bad], dtype=torch.long)
    images = torch.from_numpy(out[: len(kept)]).permute(0, 3, 1, 2)  # channels_last, as in TrainSet
    return Decoded(images, kept)


def look_through(root: Path, paths: Sequence[str], size: int, colour: bool) -> tuple[Tensor, Tensor]:
    """Decode all images without keeping them.

    Returns:
        The positions of those that can be read (M,), and how many of their pixels have each value (channels, 256),
        float64.
    Raises:
        ValueError: as `decode`.
    """
    counts = np.zeros((3 if colour else 1, 256))
    bad: dict[int, str] = {}
    for position, image in enumerate(_each([root / path for path in paths], size, colour)):
        if isinstance(image, str):
            bad[position] = image
        else:
            counts += [np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(len(counts))]
    report_bad([(paths[i], reason) for i, reason in bad.items()], len(paths))
    return torch.tensor([i for i in range(len(paths)) if i not in bad]), torch.from_numpy(counts)


def report_bad(bad: Sequence[tuple[str, str]], count: int) -> None:
    """List the files that cannot be read.

    Args:
        bad: path and reason of each. count: number of all files.
    Raises:
        ValueError: they are more than 1%.
    """
    if not bad:
        return
    lines = [f"{path} ({reason})" for path, reason in bad[:LISTED]]
    lines += [f"and {len(bad) - LISTED:,} more"] if len(bad) > LISTED else []
    text = f"{len(bad):,} of {count:,} images cannot be read"
    if len(bad) > BAD * count:
        raise ValueError(f"{text}, more than {BAD:.0%}: {'; '.join(lines)}")
    print(f"{text} and are left out:", *lines, sep="\n  ", file=sys.stderr)


def workers_for_decoding() -> int:
    """The number of worker processes: one for each core that this process may use, at most eight."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST, usable)


class Files(torch.utils.data.Dataset[Any]):
    """Image files as a dataset for torch's DataLoader, which starts the worker processes."""

    def __init__(self, paths: Sequence[Path], size: int, colour: bool) -> None:
        self._paths, self._size, self._colour = paths, size, colour

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, position: int) -> np.ndarray | str:
        return read_image(self._paths[position], self._size, self._colour)


def as_list(batch: list[Any]) -> list[Any]:
    """A collate function that returns the images unchanged."""
    return batch


def _each(paths: Sequence[Path], size: int, colour: bool) -> Any:
    """Each image or reason, in order."""
    workers = 0 if len(paths) < FEW else workers_for_decoding()
    loader = torch.utils.data.DataLoader(
        Files(paths, size, colour), batch_size=CHUNK, num_workers=workers, collate_fn=as_list
    )
    for chunk in loader:
        yield from chunk
