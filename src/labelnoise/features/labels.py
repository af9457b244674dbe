"""The labels in a file of features: which they are, their classes, and numbers of each class."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelnoise.noise.given import LABEL_FILES, label_array


def named(arrays: dict[str, Any], asked: str | None, option: str, usual: tuple[str, ...]) -> tuple[Any, str | None]:
    """Labels, and the name of their array, by the option or by what they are usually called; None if there are none."""
    if asked is None:
        name = next((name for name in usual if name in arrays), None)
        return (None, None) if name is None else (arrays[name], name)
    if asked in arrays:
        return arrays[asked], asked
    if asked.endswith(LABEL_FILES):
        return label_array(asked, f"dataset.load.{option}={asked}"), None
    named = ", ".join(sorted(arrays))
    raise ValueError(f"dataset.load.{option}={asked}: must be one of {named}, or a file ({', '.join(LABEL_FILES)})")


def classes_of(about: dict[str, Any], labels: dict[str, Any]) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The classes, and labels as their numbers; those that are None stay so."""
    values = {part: None if of is None else _flat(part, of) for part, of in labels.items()}
    given = [of for of in values.values() if of is not None]
    names = about.get("classes")
    if names is not None and not isinstance(names, list):
        raise ValueError("classes: must be a list of names")
    kinds = {of.dtype.kind in "iub" for of in given}
    if len(kinds) > 1:
        raise ValueError("labels: some are numbers and some are text; all must be of one kind")
    if names is not None and not kinds.pop():
        places = {str(name): number for number, name in enumerate(names)}
        if unknown := sorted({str(label) for of in given for label in of} - places.keys()):
            raise ValueError(f"labels: {unknown[0]} is not among its classes")
        values = {part: None if of is None else np.array([places[str(v)] for v in of]) for part, of in values.items()}
        given = [of for of in values.values() if of is not None]
    if names is not None:
        top = max(int(of.max(initial=0)) for of in given)
        if top >= len(names) or any(int(of.min(initial=0)) < 0 for of in given):
            raise ValueError(f"labels: must be 0 to {len(names) - 1}, for its {len(names)} classes")
        numbered = {part: None if of is None else torch.from_numpy(of.astype(np.int64)) for part, of in values.items()}
        return tuple(map(str, names)), numbered
    found = np.unique(np.concatenate(given))
    if len(found) < 2:
        raise ValueError(f"labels: are all {found[0] if len(found) else 'missing'}, must be of at least two classes")
    numbered = {
        part: None if of is None else torch.from_numpy(np.searchsorted(found, of)) for part, of in values.items()
    }
    return tuple(_name(value) for value in found), numbered


def _flat(part: str, labels: Any) -> np.ndarray:
    array = np.asarray(labels.float() if isinstance(labels, Tensor) and labels.dtype == torch.bfloat16 else labels)
    what = {"given": "labels", "right": "true labels"}.get(part, f"{part} labels")
    if array.ndim != 1:
        raise ValueError(f"{what}: have shape {array.shape}, must be (N,)")
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise ValueError(f"{what}: {int(np.isnan(array).sum()):,} are missing")
        if not (np.isfinite(array) & (array == array.round())).all():
            raise ValueError(f"{what}: are numbers with fractions, must be classes")
        array = array.astype(np.int64)
    if array.dtype.kind == "U" and (array == "").any():
        raise ValueError(f"{what}: {int((array == '').sum()):,} are missing")
    return array


def _name(value: Any) -> str:
    return str(value.item() if isinstance(value, np.generic) else value)


def per_class(about: dict[str, Any], field: str, count: int) -> Tensor | None:
    """A number of each class (C,), None if it is not known. Raises: ValueError: it is no such list."""
    values = about.get(field)
    if values is None:
        return None
    if not isinstance(values, list) or len(values) != count or not all(isinstance(v, int) for v in values):
        raise ValueError(f"{field}: must be {count} whole numbers, one for each class")
    if min(values) < 0 or (field == "mistaken_for" and max(values) >= count):
        raise ValueError(f"{field}: must be from 0 to {count - 1}")
    return torch.tensor(values)
