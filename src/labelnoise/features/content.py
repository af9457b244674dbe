"""What a file of features may hold, and how it is read: arrays by name, and text about them. Nothing is unpickled."""

import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from labelnoise.features.tables import TABLES, read_table
from labelnoise.files.arrays import read_npy
from labelnoise.files.reading import check_regular

ENDINGS = (".npy", ".npz", ".safetensors", *TABLES)
ABOUT = ("dataset", "classes", "superclass", "mistaken_for")


class Content(NamedTuple):
    """Attributes: arrays, by name; about, what is known of them (ABOUT); is_table, whether they are columns."""

    arrays: dict[str, Any]
    about: dict[str, Any]
    is_table: bool = False


def read(path: str) -> Content:
    """The arrays in a file: numpy's, or torch's where a type is not numpy's.

    .npy: `features`. .npz and .safetensors: `features`, and, if there, `labels`, `true_labels`, `test_features`,
    `test_labels`, `val_features`, `val_labels`; `classes`, `superclass`, `mistaken_for` and `dataset` are arrays in the
    one, and in the other keys of a JSON object, its metadata `about`. Tables: every column by its name, no `features`.

    Args:
        path: with one of ENDINGS.
    Raises:
        ValueError: the file does not exist, is damaged or holds objects; begins with `features=`.
    """
    try:
        check_regular(path)
        return next(reader for ending, reader in _readers().items() if path.endswith(ending))(path)
    except FileNotFoundError:
        raise ValueError(f"features={path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"features={path}: {reason}") from None


def _readers() -> dict[str, Callable[[str], Content]]:
    return {".npy": _npy, ".npz": _npz, ".safetensors": _safetensors, **dict.fromkeys(TABLES, _table)}


def are_vectors(path: str) -> bool:
    """Whether a file has vectors, not images. Raises: as `read`."""
    content = read(path)
    return content.is_table or "features" not in content.arrays or content.arrays["features"].ndim < 3


def _npy(path: str) -> Content:
    return Content({"features": read_npy(path)}, {})


def _npz(path: str) -> Content:
    if not zipfile.is_zipfile(path):
        raise ValueError("not an .npz file")
    with np.load(path, allow_pickle=False) as file:
        try:
            arrays = {name: file[name] for name in file.files}
        except ValueError:
            raise ValueError("holds objects, must hold arrays of numbers and of text") from None
    about = {name: arrays.pop(name).tolist() for name in ABOUT if name in arrays}
    return Content(arrays, about)


def _safetensors(path: str) -> Content:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:  # mapped into memory
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
            text = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"not a .safetensors file ({error})") from None
    about = json.loads(text.get("about", "{}"))
    if not isinstance(about, dict):
        raise ValueError("its metadata `about` must be a JSON object")
    return Content(arrays, {name: about[name] for name in ABOUT if name in about})


def _table(path: str) -> Content:
    return Content(read_table(path), {}, is_table=True)


def as_tensor(values: Any) -> Tensor:
    """Numbers as a tensor; those that are mapped into memory stay there.

    Raises:
        ValueError: they are not numbers.
    """
    if isinstance(values, Tensor):
        return values
    if values.dtype.kind not in "fiub":
        raise ValueError(f"are {values.dtype}, must be numbers")
    if values.dtype.kind == "u" and values.dtype != np.uint8:
        values = values.astype(np.int64)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to it
        return torch.from_numpy(values)
