"""The listed images of a folder with their labels: what is refused, what is warned of, and their hash."""

import hashlib
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from labelnoise.data.eight_bits import converted_since
from labelnoise.data.left_out import ENDINGS, in_short, named

# What pandas reads as a missing value, in lower case.
MISSING = ("nan", "-nan", "na", "n/a", "<na>", "#na", "#n/a", "#n/a n/a", "null", "none", "1.#ind", "1.#qnan")


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


class Found(NamedTuple):
    """Attributes: the entries; what is left out, in words; warnings."""

    entries: list[Entry]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Listed(NamedTuple):
    """The images of a folder, ordered by path, and the class names, ordered by class number; the rest as in `Found`."""

    root: Path
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def listed(root: Path, found: Found, classes: Iterable[str] | None) -> Listed:
    """Check the entries and order them by path.

    Args:
        classes: names; None: those of the training images, sorted; whole numbers are sorted by value.
    Raises:
        ValueError: no images, a name that is not UTF-8, an unknown label, an empty class, or corrected labels for only
            some training images.
    """
    ordered = tuple(sorted(set(found.entries)))
    if not ordered:
        has = f"; left out: {in_short(found.left_out)}" if found.left_out else ""
        raise ValueError(f"data_dir={root}: holds no images ({', '.join(ENDINGS)}){has}")
    check_utf8(root, ordered, classes or ())
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
    return Listed(root, ordered, names, found.left_out, (*found.warnings, *odd_names(ordered)))


def check_utf8(root: Path, entries: Iterable[Entry], classes: Iterable[str]) -> None:
    """Refuse names that cannot be written into a page, a CSV or a saved network."""
    bad = [entry.path for entry in entries if not all(map(_is_utf8, entry))]
    if bad := bad or [name for name in classes if not _is_utf8(name)]:
        raise ValueError(
            f"data_dir={named(root)}: {named(bad[0])} has a name that is not UTF-8 ({len(bad):,} such names); rename "
            "it, for example with convmv"
        )


def _is_utf8(text: str) -> bool:
    return text == text.encode(errors="ignore").decode()


def odd_names(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Warnings of labels that look like missing values, and of those that differ only in case, spaces or `.0`."""
    counts = Counter(label for entry in entries for label in {entry.label, entry.corrected} - {""})
    alike = defaultdict(list)
    for label in sorted(counts):
        folded = re.sub(r"\s+", "", unicodedata.normalize("NFKC", label)).casefold()
        alike[re.sub(r"^(-?\d+)\.0+$", r"\1", folded)].append(label)
    missing = [label for label in sorted(counts) if label.strip().lower() in MISSING]
    groups = [labels for labels in alike.values() if len(labels) > 1]

    def several(labels: Iterable[str]) -> str:
        return " and ".join(f"{label!r} ({counts[label]:,})" for label in labels)

    warnings = []
    if missing:
        warnings.append(f"classes that look like missing values, with their number of images: {several(missing)}")
    if groups:
        names = shown((several(labels) for labels in groups), "; ")
        warnings.append(f"different classes that differ only in case, spaces or .0, with their images: {names}")
    return tuple(warnings)


def check_unique(ordered: tuple[Entry, ...]) -> None:
    """Refuse an image that is listed with two labels or in two parts.

    Args:
        ordered: the entries, ordered by path.
    """
    if twice := [(a, b) for a, b in itertools.pairwise(ordered) if a.path == b.path]:
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


def shown(names: Iterable[str], between: str = ", ") -> str:
    """At most five names, for a message."""
    first = list(names)
    return between.join(first[:5]) + (f" and {len(first) - 5:,} more" if len(first) > 5 else "")


def content_hash(found: Listed) -> str:
    """A hash of paths, sizes in bytes, labels, parts and classes, but not of the folder's location."""
    digest = hashlib.sha256(repr(found.classes).encode())
    for entry in found.entries:
        try:
            size = (found.root / entry.path).stat().st_size
        except OSError:
            size = -1
        digest.update(repr((*entry, size)).encode())
        if converted_since(found.root / entry.path):
            digest.update(b"8 bits, on white")  # so that a record of the clipped pixels is not taken for this run's
    return "sha256:" + digest.hexdigest()[:16]


def lines_of(file: Path) -> list[str]:
    """The non-empty lines of a data set's list file.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"data_dir: {file} cannot be read ({error})") from None
