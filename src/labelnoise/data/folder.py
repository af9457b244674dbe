"""Your own images: a folder of class subfolders, or of images with a CSV of their labels."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from labelnoise.arguments.ranges import checked
from labelnoise.data.dataset import Dataset
from labelnoise.data.from_files import Size, dataset_of, given_parts, set_aside
from labelnoise.data.listing import Listed, check_folder, content_hash, from_csv, from_folders, listed, with_corrected

Share = Annotated[float, Ge(0.01), Le(0.9)]


@checked
def folder(
    data_dir: str,
    size: Size = 64,
    colour: bool = True,
    labels: str | None = None,
    corrected: str | None = None,
    classes: list[str] | None = None,
    test: Share = 0.2,
    split_seed: int = 0,
    stream: bool | None = None,
) -> Dataset:
    """The images of a folder, resized, as uint8 tensors in memory; training images that do not fit there are streamed.

    With `train/` and `test/` folders, or a column `split` in the CSV, these are the parts (and `val/` a held-out part;
    it is the test part where there is no other). Else a share of each class is set aside to test on.

    Args:
        data_dir: the folder; all paths are relative to it, and no file outside it is read.
        size: pixels; the shorter side is resized to it and the square in the middle taken.
        colour: three channels, or one.
        labels: a CSV with the columns path and label; None: the images stand in one subfolder for each class.
        corrected: a second such CSV with the true labels of all training images; listed test images take theirs too.
        classes: their names in the order of their numbers; None: those of the training images, sorted.
        test: the share of each class to test on where no test part is given.
        split_seed: which images these are.
        stream: as of `labelnoise.data.from_files.dataset_of`.
    Raises:
        ValueError: bad input, in one line: see `labelnoise.data.listing`; or more than 1% of the images are unreadable.
    """
    found = find(data_dir, labels, corrected, classes)
    parts = given_parts(found) if any(entry.part for entry in found.entries) else set_aside(found, test, split_seed)
    return dataset_of("folder", found, parts, size, colour, stream)


def find(data_dir: str, labels: str | None, corrected: str | None, classes: list[str] | None) -> Listed:
    """What `folder` reads, before any image is opened. Raises: as `folder`."""
    root = Path(data_dir)
    check_folder(root)
    entries = from_folders(root) if labels is None else from_csv(root, labels)
    if corrected is not None:
        entries = with_corrected(root, corrected, entries)
    return listed(root, entries, None if classes is None else [str(name) for name in classes])


def content(
    data_dir: str,
    labels: str | None = None,
    corrected: str | None = None,
    classes: list[str] | None = None,
    **_: object,
) -> str:
    """What a run's id says of the images: a hash of their paths, sizes and labels, wherever the folder stands."""
    return content_hash(find(data_dir, labels, corrected, classes))


folder.content = content  # type: ignore[attr-defined]  # read by `labelnoise.experiment.identity`
