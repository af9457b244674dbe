"""WebVision-mini: the first 50 classes of WebVision 1.0's Google images, with its or ILSVRC12's validation images.

Layout in data_dir after unpacking the archives (reconstruction: the archives were not available):
    webvision/info/synsets.txt               one line per class: its WordNet id, then its names
    webvision/info/train_filelist_google.txt  lines `google/q0001/NAME.jpg CLASS`
    webvision/info/val_filelist.txt           lines `val000001.jpg CLASS`, of webvision/val_images_256
    ilsvrc12/val/n01440764/NAME.JPEG          ILSVRC12's validation images in folders by WordNet id
"""

from pathlib import Path
from typing import Literal

from labelnoise.arguments.ranges import checked
from labelnoise.data.class_folders import images_below
from labelnoise.data.dataset import Dataset
from labelnoise.data.from_files import Size, dataset_of, given_parts
from labelnoise.data.listing import Entry, Found, Listed, content_hash, lines_of, listed

CLASSES = 50
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as in the protocol

Test = Literal["webvision", "ilsvrc12"]


@checked
def webvision_mini(data_dir: str, size: Size = 224, test: Test = "webvision", stream: bool | None = None) -> Dataset:
    """65,944 noisy training images from the web in 50 classes, without true labels.

    Args:
        data_dir: contains webvision/, and ilsvrc12/ for its validation images; see above.
        size: pixels.
        test: the source of the test images.
        stream: as in `labelnoise.data.from_files.dataset_of`.
    Raises:
        ValueError: a file is missing or has malformed lines, or as `labelnoise.data.listing.listed`.
    Source: Li et al. 2017, arXiv:1708.02862; the 50 classes: Jiang et al. 2018, arXiv:1712.05055.
    """
    found = find(data_dir, test)
    return dataset_of("webvision_mini", found, given_parts(found), size, True, stream)._replace(mean=MEAN, std=STD)


def find(data_dir: str, test: Test) -> Listed:
    """The images and labels of `webvision_mini`, without opening an image."""
    root = Path(data_dir)
    info = root / "webvision" / "info"
    ids = [line.split()[0] for line in lines_of(info / "synsets.txt")[:CLASSES]]
    entries = _listed_in(info / "train_filelist_google.txt", "webvision", "train", ids)
    if test == "webvision":
        entries += _listed_in(info / "val_filelist.txt", "webvision/val_images_256", "test", ids)
    else:
        for name in ids:
            images = images_below(root / "ilsvrc12" / "val" / name)
            entries += [Entry(path.relative_to(root).as_posix(), name, "test") for path in images]
    return listed(root, Found(entries), ids)


def content(data_dir: str, test: Test = "webvision", **_: object) -> str:
    """The hash of the images for a run's id."""
    return content_hash(find(data_dir, test))


webvision_mini.content = content  # type: ignore[attr-defined]  # read by `labelnoise.config.identity`


def _listed_in(file: Path, folder: str, part: str, ids: list[str]) -> list[Entry]:
    """The entries of a list of paths and class numbers that belong to the first classes."""
    entries = []
    for line in lines_of(file):
        path, _, number = line.rpartition(" ")
        if not path or not number.isdecimal():
            raise ValueError(f"{file}: has the line {line!r}, must have a path and a class number")
        if int(number) < len(ids):
            entries.append(Entry(f"{folder}/{path}", ids[int(number)], part))
    return entries
