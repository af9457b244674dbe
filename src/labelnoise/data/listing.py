"""Lists the images of a folder with their labels, from class subfolders or a CSV. Opens no image."""

import csv
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

PARTS = ("train", "val", "test")
# The endings that torchvision.datasets.ImageFolder accepts.
ENDINGS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


class Entry(NamedTuple):
    """An image of a folder.

    Attributes:
        path: relative to the folder, with slashes.
        label: the name of its class.
        part: train, val or test; empty if not given.
        corrected: the name of its true class; empty if not given.
    """

    path: str
    label: str
    part: str = ""
    corrected: str = ""


class Listed(NamedTuple):
    """The images of a folder, ordered by path, and the class names, ordered by class number."""

    root: Path
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]


def listed(root: Path, entries: Iterable[Entry], classes: Iterable[str] | None) -> Listed:
    """Check the entries and order them by path.

    Args:
        classes: names; None: those of the training images, sorted; whole numbers are sorted by value.
    Raises:
        ValueError: no images, an unknown label, an empty class, or corrected labels for only some training images.
    """
    ordered = tuple(sorted(set(entries)))
    if not ordered:
        raise ValueError(f"data_dir={root}: holds no images ({', '.join(ENDINGS)})")
    check_unique(ordered)
    trained = [entry for entry in ordered if entry.part in ("", "train")]
    names = tuple(classes) if classes is not None else sorted_names(entry.label for entry in trained)
    if len(names) < 2:
        raise ValueError(f"data_dir={root}: has {len(names)} class of training images, must have at least 2")
    if len(set(names)) < len(names):
        raise ValueError(f"dataset.load.classes={','.join(names)}: names a class twice")
    for entry in ordered:
        if wrong := next((name for name in (entry.label, entry.corrected) if name and name not in names), None):
            raise ValueError(f"{entry.path}: has label {wrong!r}, which is not one of the classes {shown(names)}")
    check_no_empty_class(names, (entry.label for entry in trained))
    if 0 < (missing := sum(not entry.corrected for entry in trained)) < len(trained):
        raise ValueError(
            f"dataset.load.corrected: {missing:,} of {len(trained):,} training images have no corrected label; list "
            "all of them, including those whose given label is right"
        )
    return Listed(root, ordered, names)


def check_unique(ordered: tuple[Entry, ...]) -> None:
    """Refuse an image that is listed with two labels or in two parts.

    Args:
        ordered: the entries, ordered by path.
    """
    twice = [(a, b) for a, b in itertools.pairwise(ordered) if a.path == b.path]
    if twice:
        first, second = twice[0]
        differ = [f"labels {first.label!r} and {second.label!r}"] if first.label != second.label else []
        differ += [f"parts {first.part!r} and {second.part!r}"] if first.part != second.part else []
        raise ValueError(f"{first.path}: is listed twice, with {' and '.join(differ)} ({len(twice):,} such images)")


def check_no_empty_class(classes: Iterable[str], labels: Iterable[str]) -> None:
    """Refuse classes without a training image."""
    if empty := sorted(set(classes) - set(labels)):
        raise ValueError(f"class {shown(empty)}: has no training image")


def sorted_names(labels: Iterable[str]) -> tuple[str, ...]:
    """Each label once, sorted; whole numbers by their value."""
    names = set(labels)
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=int if numbers else None))


def shown(names: Iterable[str]) -> str:
    """At most five names, for a message."""
    first = list(names)
    return ", ".join(first[:5]) + (f" and {len(first) - 5:,} more" if len(first) > 5 else "")


def content_hash(found: Listed) -> str:
    """A hash of paths, sizes in bytes, labels, parts and classes, but not of the folder's location."""
    digest = hashlib.sha256(repr(found.classes).encode())
    for entry in found.entries:
        try:
            size = (found.root / entry.path).stat().st_size
        except OSError:
            size = -1
        digest.update(repr((*entry, size)).encode())
    return "sha256:" + digest.hexdigest()[:16]


# ------------------------------------------------------------------------------------------------------------ folders


def from_folders(root: Path) -> list[Entry]:
    """The images in class folders `<class>/...`; if there is a `train/`, in those inside `train/`, `val/` and `test/`.

    Raises:
        ValueError: the folder does not exist, or one of its class folders has no image.
    """
    check_folder(root)
    given = [part for part in PARTS if (root / part).is_dir()] if (root / "train").is_dir() else [""]
    entries = []
    for part in given:
        for folder in sorted(path for path in (root / part).iterdir() if path.is_dir() and path.name[0] != "."):
            images = images_below(folder)
            entries += [Entry(path.relative_to(root).as_posix(), folder.name, part) for path in images]
    return entries


def check_folder(root: Path) -> None:
    """Refuse a path that is not a folder."""
    if not root.is_dir():
        raise ValueError(f"data_dir={root}: no such folder")


def images_below(folder: Path) -> list[Path]:
    """The image files in a class's folder, sorted.

    Raises:
        ValueError: it does not exist or has none.
    """
    found = [
        Path(inside, name)
        for inside, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(ENDINGS) and name[0] != "."
    ]
    if not found:
        raise ValueError(f"class {folder.name}: {folder} holds no images ({', '.join(ENDINGS)})")
    return sorted(found)


def lines_of(file: Path) -> list[str]:
    """The non-empty lines of a data set's list file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"data_dir: {file} cannot be read ({error})") from None


# --------------------------------------------------------------------------------------------------------------- CSVs


def from_csv(root: Path, name: str) -> list[Entry]:
    """The images listed in a CSV with the columns `path` and `label`, and optionally `split` (train, val or test).

    Without `split`, the first folder of each path gives the part, if these folders are train and possibly val and test.

    Raises:
        ValueError: the file cannot be read, lacks a column, or has an invalid row.
    """
    rows = _rows(root, name, "labels", ("path", "label"))
    entries = [Entry(_inside(root, row["path"], name), row["label"], row.get("split") or "") for row in rows]
    if wrong := next((entry for entry in entries if entry.part and entry.part not in PARTS), None):
        raise ValueError(f"{name}: {wrong.path} has split {wrong.part!r}, must be one of {', '.join(PARTS)}")
    if 0 < (without := sum(not entry.part for entry in entries)) < len(entries):
        raise ValueError(f"{name}: {without:,} of {len(entries):,} rows have no split; give it for all or none")
    tops = Counter(PurePosixPath(entry.path).parts[0] for entry in entries)
    if not any(entry.part for entry in entries) and "train" in tops and set(tops) <= set(PARTS):
        return [entry._replace(part=PurePosixPath(entry.path).parts[0]) for entry in entries]
    return entries


def with_corrected(root: Path, name: str, entries: list[Entry]) -> list[Entry]:
    """The entries with corrected labels from a second CSV with the columns `path` and `label`.

    Raises:
        ValueError: as `from_csv`; two corrected labels for one image, or a corrected label for an unlisted image.
    """
    rows = _rows(root, name, "corrected", ("path", "label"))
    corrected: dict[str, str] = {}
    for row in rows:
        path = _inside(root, row["path"], name)
        if corrected.setdefault(path, row["label"]) != row["label"]:
            raise ValueError(f"{name}: {path} has two labels, {corrected[path]!r} and {row['label']!r}")
    if unknown := corrected.keys() - {entry.path for entry in entries}:
        raise ValueError(f"{name}: {min(unknown)} is not one of the images ({len(unknown):,} such rows)")
    return [entry._replace(corrected=corrected.get(entry.path, "")) for entry in entries]


def _rows(root: Path, name: str, option: str, needed: tuple[str, ...]) -> list[dict[str, str]]:
    where = f"dataset.load.{option}={name}"
    if Path(name).is_absolute():  # a run's id would depend on the folder's location
        raise ValueError(f"{where}: must be relative to data_dir={root}")
    file = root / _inside(root, name, where)
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            if missing := [column for column in needed if column not in columns]:
                has = ", ".join(columns) or "none"
                raise ValueError(f"{where}: has no column {' and '.join(missing)}; its columns are {has}")
            rows = [{key: (row[key] or "").strip() for key in columns} for row in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise ValueError(f"{where}: cannot be read in data_dir={root} ({error})") from None
    for number, row in enumerate(rows, 2):
        if empty := next((column for column in needed if not row[column]), None):
            raise ValueError(f"{where}: row {number} has no {empty}")
    return rows


def _inside(root: Path, path: str, where: str) -> str:
    """A normalised path relative to the folder.

    Raises:
        ValueError: it is outside the folder.
    """
    plain = os.path.normpath(os.path.relpath(path, root) if Path(path).is_absolute() else path)
    if plain == "." or Path(plain).parts[0] == ".." or "\0" in plain:
        raise ValueError(f"{where}: {path} is outside the data folder {root}")
    return Path(plain).as_posix()
