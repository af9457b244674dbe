"""Lines on a data set from files, before training: what was read and what was not."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from labelnoise.data.left_out import counted, in_short, named
from labelnoise.data.listing import Entry, Listed


class Read(NamedTuple):
    """Attributes: a part's entries that could be read; the hashes of their bytes; how many are of one colour."""

    entries: Sequence[Entry]
    digests: Sequence[bytes]
    flat: int


def lines(name: str, found: Listed, parts: Sequence[Read], count: int) -> tuple[str, ...]:
    """A line on what was read, one on what was left out, and the warnings.

    Args:
        name: of the data set.
        parts: the training, validation and test part.
        count: the number of images that were to be read.
    """
    train, val, test = parts
    sizes = Counter(entry.label for entry in train.entries)
    low, high = (choose(found.classes, key=lambda label: sizes[label]) for choose in (min, max))
    flat = sum(part.flat for part in parts)
    each = f"{sizes[low]:,} (class {named(low)}) to {sizes[high]:,} (class {named(high)}) images"
    said = [
        f"{len(found.classes):,} classes with " + (each if sizes[low] < sizes[high] else f"{sizes[low]:,} images each"),
        f"{len(train.entries):,} training, {len(val.entries):,} validation and {len(test.entries):,} test images",
        f"{flat or 'none'} of one flat colour",
        _twice(train, val, test),
    ]
    left = list(found.left_out)
    if unread := count - sum(len(part.entries) for part in parts):
        left.append(f"{counted(unread, 'image')} that cannot be read")
    return (
        f"{name}: {'; '.join(said)}",
        f"{name}: left out: {in_short(left) or 'nothing'}",
        *(f"warning: {warning}" for warning in found.warnings),
    )


def _twice(train: Read, val: Read, test: Read) -> str:
    """How many images outside training are byte for byte training images too."""
    trained = dict(zip(train.digests, train.entries, strict=True))
    same = [
        (entry, trained[digest])
        for part in (test, val)
        for entry, digest in zip(part.entries, part.digests, strict=True)
        if digest in trained
    ]
    if not same:
        return "none byte-identical in training and test"
    first, its_copy = same[0]
    return f"{len(same):,} byte-identical in training and test ({named(its_copy.path)} is {named(first.path)})"
