"""Existing labels: the data set's, or those in a user's file."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Predicate
from torch import Tensor

from labelnoise.files.arrays import read_npy
from labelnoise.files.reading import read_bounded
from labelnoise.files.text import plain
from labelnoise.noise.base import Facts


def given(facts: Facts, seed: int) -> Tensor:
    """The data set's given labels. Shapes: -> (N,), int64."""
    return facts.train_labels.clone()


NUMBER = re.compile(r"-?\d+(\.\d*)?")

LABEL_FILES = (".npy", ".csv", ".json")
LabelFile = Annotated[
    str,
    Predicate(lambda path: path.endswith(LABEL_FILES)),
    "a file that ends in .npy, .csv or .json",
]


def from_file(facts: Facts, seed: int, path: LabelFile) -> Tensor:
    """The user's labels of the training images: one class number per image, in the data set's order.

    Shapes: -> (N,), int64.
    Args:
        path: .npy (an array of N whole numbers), .csv (one number per line, or the last column; see `_read_csv`) or
            .json (a list).
    Raises:
        ValueError: the file type is unknown, or the file cannot be read, has the wrong length or labels out of range.
    """
    wanted, labels = len(facts.train_labels), label_array(path, f"noise.path={path}")
    if labels.shape != (wanted,):
        reason = f"has shape {labels.shape}, must be ({wanted},), a label for each image"
        if path.endswith(".csv") and labels.shape == (wanted + 1,):  # pandas' header of a series without a name is 0
            reason += f"; if its first line, {labels[0]}, is a header, remove it"
        raise ValueError(f"noise.path={path}: {reason}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"noise.path={path}: holds {labels.dtype} values, must be whole numbers")
    outside = labels[(labels < 0) | (labels >= facts.num_classes)]
    if len(outside):
        raise ValueError(f"noise.path={path}: has label {outside[0]}, must be 0 to {facts.num_classes - 1}")
    return torch.from_numpy(labels.astype(np.int64))


def label_array(path: str, option: str) -> np.ndarray:
    """What a file of labels holds, as an array; see `from_file`.

    Args:
        option: that names the file, for the message.
    Raises:
        ValueError: the file type is unknown, or the file cannot be read.
    """
    try:
        return np.asarray(_READERS[Path(path).suffix](path))
    except KeyError:
        raise ValueError(f"{option}: must end in one of {', '.join(_READERS)}") from None
    except FileNotFoundError:
        raise ValueError(f"{option}: no such file") from None
    except (ValueError, OverflowError, OSError, EOFError, MemoryError, RecursionError, csv.Error) as error:
        raise ValueError(f"{option}: cannot be read as labels ({plain(str(error))})") from None


from_file.of_whole = True  # type: ignore[attr-defined]  # read by `labelnoise.experiment.assemble`


def _read_csv(path: str) -> list[int]:
    """The last column, without a header: a first line with text above a number, or nothing above text, as pandas' `,0`.

    Raises:
        ValueError: a value is not a whole number (3.0 is one), or the first column numbers the rows in another order.
    """
    rows = [row for row in csv.reader(read_bounded(path).decode("utf-8-sig").splitlines()) if row]
    first, second = (*rows[:2], [], [])[:2]
    if any(_heads(one.strip(), other.strip()) for one, other in zip(first, second, strict=False)):
        rows = rows[1:]
    labels = [_whole(row[-1]) for row in rows]
    numbers = [row[0].strip() for row in rows if len(row) > 1]
    if len(numbers) == len(rows) and all(number.isdecimal() for number in numbers):
        order = [int(number) for number in numbers]
        if sorted(order) == list(range(len(order))) != order:
            raise ValueError("its first column numbers the images in another order; sort the lines by it")
    return labels


def _whole(cell: str) -> int:
    """A whole number, also as pandas writes it in a column that had missing values: 3.0."""
    whole, _, fraction = cell.strip().partition(".")
    return int(cell if fraction.strip("0") else whole)


def _heads(cell: str, below: str) -> bool:
    return not NUMBER.fullmatch(cell) and bool(NUMBER.fullmatch(below) or (below and not cell))


_READERS: dict[str, Callable[[str], Any]] = {
    ".npy": read_npy,
    ".csv": _read_csv,
    ".json": lambda path: json.loads(read_bounded(path)),
}
