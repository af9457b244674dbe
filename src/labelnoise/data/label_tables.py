"""Images listed in a CSV with their labels. Opens no image."""

import csv
import os
from collections import Counter
from pathlib import Path, PurePosixPath

from labelnoise.data.left_out import LeftOut, is_image, named
from labelnoise.data.listing import Entry, Found
from labelnoise.data.part_names import PARTS, part_of

NEEDED = ("path", "label")  # columns


def from_csv(root: Path, name: str) -> Found:
    """The images listed in a CSV with the columns `path` and `label`, and optionally `split` (the parts).

    Without `split`, the first folder of each path gives the part, if these folders are those of parts. Parts have any
    of the names of `part_of`.

    Raises:
        ValueError: the file cannot be read, lacks a column, or has an invalid row.
    """
    entries = []
    for row in _rows(root, name, "labels"):
        path, split = _inside(root, row["path"], name), row.get("split") or ""
        if split and not part_of(split):
            raise ValueError(f"{name}: {path} has split {split!r}, must be one of {', '.join(PARTS)}")
        entries.append(Entry(path, row["label"], part_of(split)))
    if 0 < (without := sum(not entry.part for entry in entries)) < len(entries):
        raise ValueError(f"{name}: {without:,} of {len(entries):,} rows have no split; give it for all or none")
    if not any(entry.part for entry in entries):
        entries = _parts_by_folder(name, entries)
    left = LeftOut(root)
    left.unlisted(_unlisted(root, entries), name)
    return Found(entries, left.lines())


def with_corrected(root: Path, name: str, found: Found) -> Found:
    """The entries with corrected labels from a second CSV with the columns `path` and `label`.

    Raises:
        ValueError: as `from_csv`; two corrected labels for one image, or a corrected label for an unlisted image.
    """
    corrected: dict[str, str] = {}
    for row in _rows(root, name, "corrected"):
        path = _inside(root, row["path"], name)
        if corrected.setdefault(path, row["label"]) != row["label"]:
            raise ValueError(f"{name}: {path} has two labels, {corrected[path]!r} and {row['label']!r}")
    if unknown := corrected.keys() - {entry.path for entry in found.entries}:
        raise ValueError(f"{name}: {min(unknown)} is not one of the images ({len(unknown):,} such rows)")
    entries = [entry._replace(corrected=corrected.get(entry.path, "")) for entry in found.entries]
    return found._replace(entries=entries)


def _parts_by_folder(name: str, entries: list[Entry]) -> list[Entry]:
    """The entries with the parts that their first folders name, if these are train and possibly val and test.

    Raises:
        ValueError: training and another part are there, and folders that are no part.
    """
    tops = Counter(PurePosixPath(entry.path).parts[0] for entry in entries)
    parts = {part_of(top) for top in tops}
    # a class may be called train, and then it is the label of all its images
    if "train" not in parts or all(PurePosixPath(entry.path).parts[0] == entry.label for entry in entries):
        return entries
    if "" not in parts:
        return [entry._replace(part=part_of(PurePosixPath(entry.path).parts[0])) for entry in entries]
    if len(parts) > 2:
        unknown = next(top for top in tops if not part_of(top))
        raise ValueError(
            f"{name}: lists {tops[unknown]:,} images in {named(unknown)}, which is not a name of {', '.join(PARTS)}, "
            "beside those in such folders; give the part of every image in a column split"
        )
    return entries


def _unlisted(root: Path, entries: list[Entry]) -> int:
    """The number of images beside the listed ones that are not listed."""
    listed = {entry.path for entry in entries}
    count = 0
    for folder in {PurePosixPath(path).parent for path in listed}:
        try:
            names = [path.name for path in (root / folder).iterdir()]
        except OSError:  # there is no such folder: its images are reported as missing
            continue
        count += sum(is_image(name) and (folder / name).as_posix() not in listed for name in names)
    return count


def _rows(root: Path, name: str, option: str) -> list[dict[str, str]]:
    where = f"dataset.load.{option}={name}"
    if Path(name).is_absolute():  # a run's id would depend on the folder's location
        raise ValueError(f"{where}: must be relative to data_dir={root}")
    file = root / _inside(root, name, where)
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            if missing := [column for column in NEEDED if column not in columns]:
                has = ", ".join(column or "one without a name" for column in columns) or "none"
                raise ValueError(f"{where}: has no column {' and '.join(missing)}; its columns are {has}")
            rows = [{key: (row[key] or "").strip() for key in columns} for row in reader]
    except UnicodeError as error:
        raise ValueError(f"{where}: cannot be read in data_dir={root}, is not UTF-8 ({error})") from None
    except (OSError, csv.Error) as error:
        raise ValueError(f"{where}: cannot be read in data_dir={root} ({error})") from None
    for number, row in enumerate(rows, 2):
        if empty := next((column for column in NEEDED if not row[column]), None):
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
