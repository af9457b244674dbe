"""Decodes and resizes image files to uint8 tensors, with Pillow in worker processes."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from labelnoise.data.eight_bits import eight_bits
from labelnoise.files.reading import read_bounded

BAD = 0.01  # largest share of files that may be unreadable
LISTED = 20  # largest number of them in a message
FEW = 256  # with fewer files, starting worker processes takes longer than decoding
MOST = 8  # worker processes
CHUNK = 32  # files that a worker returns at once


class Seen(NamedTuple):
    """The images that can be read.

    Attributes:
        kept: (M,), their positions among the files, in order.
        digests: M hashes of the files' bytes.
        flat: M, whether an image is of one colour.
    """

    kept: Tensor
    digests: tuple[bytes, ...]
    flat: tuple[bool, ...]


class Decoded(NamedTuple):
    """Attributes: images (M, channels, size, size), uint8; seen, which they are."""

    images: Tensor
    seen: Seen


class File(NamedTuple):
    """Attributes: image (size, size, channels), uint8, or the reason why it cannot be read; digest of its bytes."""

    image: np.ndarray | str
    digest: bytes


def read_file(path: Path, size: int, colour: bool) -> File:
    """One image as in `read_image`, and the hash of its file's bytes."""
    try:
        content = read_bounded(path)
    except FileNotFoundError:
        return File("no such file", b"")
    except (OSError, ValueError) as error:
        return File(str(error), b"")
    return File(read_image(path, size, colour), hashlib.blake2b(content, digest_size=16).digest())


def read_image(path: Path, size: int, colour: bool) -> np.ndarray | str:
    """One image (size, size, channels), uint8, or the reason why it cannot be read.

    It is rotated by its EXIF orientation, its shorter side is resized to `size`, and it is cropped to the central
    square. Deep and transparent pixels: see `labelnoise.data.eight_bits`.
    """
    from PIL import Image, ImageOps

    mode = "RGB" if colour else "L"
    try:
        with Image.open(path) as image:
            image.draft(mode, (size, size))  # decodes a JPEG at about this size, several times faster
            ImageOps.exif_transpose(image, in_place=True)
            fitted = ImageOps.fit(eight_bits(image, mode), (size, size), Image.Resampling.BILINEAR)
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
    out = np.empty((len(paths), size, size, 3 if colour else 1), dtype=np.uint8)
    seen = _look(root, paths, size, colour, out.__setitem__)
    images = torch.from_numpy(out[: len(seen.kept)]).permute(0, 3, 1, 2)  # channels_last, as in TrainSet
    return Decoded(images, seen)


def look_through(root: Path, paths: Sequence[str], size: int, colour: bool) -> tuple[Seen, Tensor]:
    """Decode all images without keeping them.

    Returns:
        Those that can be read, and how many of their pixels have each value (channels, 256), float64.
    Raises:
        ValueError: as `decode`.
    """
    counts = np.zeros((3 if colour else 1, 256))

    def add(_: int, image: np.ndarray) -> None:
        counts[:] += [np.bincount(image[..., channel].ravel(), minlength=256) for channel in range(len(counts))]

    return _look(root, paths, size, colour, add), torch.from_numpy(counts)


def _look(root: Path, paths: Sequence[str], size: int, colour: bool, take: Callable[[int, np.ndarray], None]) -> Seen:
    """Hand every image that can be read to `take(its number, image)`.

    Raises:
        ValueError: as `decode`.
    """
    bad: list[tuple[str, str]] = []
    kept: list[int] = []
    digests: list[bytes] = []
    flat: list[bool] = []
    for position, (image, digest) in enumerate(_each([root / path for path in paths], size, colour)):
        if isinstance(image, str):
            bad.append((paths[position], image))
        else:
            take(len(kept), image)
            kept.append(position)
            digests.append(digest)
            flat.append(bool((image == image[0, 0]).all()))
    report_bad(bad, len(paths))
    return Seen(torch.tensor(kept, dtype=torch.long), tuple(digests), tuple(flat))


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


def _read_chunk(paths: list[Path], size: int, colour: bool) -> list[File]:
    return [read_file(path, size, colour) for path in paths]


def _each(paths: list[Path], size: int, colour: bool) -> Iterator[File]:
    """Each file, in order. torch's DataLoader reads them where it collates, in its worker processes."""
    workers = 0 if len(paths) < FEW else workers_for_decoding()
    read = partial(_read_chunk, size=size, colour=colour)
    files: Any = paths  # a list serves as a data set
    for chunk in torch.utils.data.DataLoader(files, CHUNK, num_workers=workers, collate_fn=read):
        yield from chunk
