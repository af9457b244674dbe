"""Your own images: a folder of class subfolders, or of images with a CSV of their labels."""

from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le

from labelnoise.arguments.ranges import Seed, checked
from labelnoise.data.class_folders import from_folders
from labelnoise.data.dataset import Dataset
from labelnoise.data.from_files import Size, dataset_of, given_parts, set_aside
from labelnoise.data.label_tables import from_csv, with_corrected
from labelnoise.data.listing import Listed, content_hash, listed

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
    split_seed: Seed = 0,
    stream: bool | None = None,
) -> Dataset:
    """The images of a folder, resized, as uint8 tensors in memory; training images that do not fit are streamed.

    The parts are the folders `train/` and `test/`, or the column `split` of the CSV; `val` is a held-out part, or the
    test part if there is no other. Without parts, a share of each class is set aside for testing. Any common name of a
    part in any case will do, see `labelnoise.data.part_names`.

    Args:
        data_dir: the folder; all paths are relative to it, and no file outside it is read.
        size: pixels; the shorter side is resized to it and the central square is cropped.
        colour: three channels, or one.
        labels: a CSV with the columns path and label; None: each class has a subfolder of images.
        corrected: a second such CSV with the true labels of all training images; it may also list test images.
        classes: names in the order of the class numbers; None: those of the training images, sorted.
        test: the test share of each class if there is no test part.
        split_seed: of the random choice of these images.
        stream: as in `labelnoise.data.from_files.dataset_of`.
    Raises:
        ValueError: bad input, see `labelnoise.data.listing`; or more than 1% of the images cannot be read.
    """
    found = find(data_dir, labels, corrected, classes)
    parts = given_parts(found) if any(entry.part for entry in found.entries) else set_aside(found, test, split_seed)
    return dataset_of("folder", found, parts, size, colour, stream)


def find(data_dir: str, labels: str | None, corrected: str | None, classes: list[str] | None) -> Listed:
    """The images and labels of `folder`, without opening an image. Raises: as `folder`."""
    root = Path(data_dir)
    if not root.is_dir():
        raise ValueError(f"data_dir={root}: no such folder")
    found = from_folders(root) if labels is None else from_csv(root, labels)
    if corrected is not None:
        found = with_corrected(root, corrected, found)
    return listed(root, found, None if classes is None else [str(name) for name in classes])


def content(
    data_dir: str,
    labels: str | None = None,
    corrected: str | None = None,
    classes: list[str] | None = None,
    **_: object,
) -> str:
    """The hash of the images for a run's id: of relative paths, sizes and labels, not of the folder's location."""
    return content_hash(find(data_dir, labels, corrected, classes))


folder.content = content  # type: ignore[attr-defined]  # read by `labelnoise.config.identity`
