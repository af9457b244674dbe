"""Clothing1M: a million images from online shops in 14 classes, labelled from the surrounding text.

Layout in data_dir after unpacking the archives (reconstruction: the archives were not available):
    clothing1m/category_names_eng.txt                        one line per class
    clothing1m/noisy_label_kv.txt, clean_label_kv.txt        lines `images/0/00/NAME.jpg CLASS`
    clothing1m/{noisy_train,clean_val,clean_test}_key_list.txt  lines `images/0/00/NAME.jpg`
"""

from pathlib import Path

from labelnoise.arguments.ranges import checked
from labelnoise.data.dataset import Dataset
from labelnoise.data.from_files import Size, dataset_of, given_parts
from labelnoise.data.listing import Entry, Found, Listed, content_hash, lines_of, listed

MEAN, STD = (0.6959, 0.6537, 0.6371), (0.3113, 0.3192, 0.3214)  # of the code released with wang2024
PARTS = (("train", "noisy_train"), ("val", "clean_val"), ("test", "clean_test"))


@checked
def clothing1m(data_dir: str, size: Size = 224, stream: bool | None = None) -> Dataset:
    """1,000,000 training images with noisy labels; with clean labels, 14,313 held-out and 10,526 test images.

    Args:
        data_dir: contains clothing1m/; see above.
        size: pixels.
        stream: as in `labelnoise.data.from_files.dataset_of`.
    Raises:
        ValueError: a file is missing or has malformed lines, or as `labelnoise.data.listing.listed`.
    Source: Xiao et al. 2015, Learning from Massive Noisy Labeled Data for Image Classification (CVPR).
    """
    found = find(data_dir)
    dataset = dataset_of("clothing1m", found, given_parts(found), size, True, stream)
    return dataset._replace(mean=MEAN, std=STD, val_is_clean=True)


def find(data_dir: str) -> Listed:
    """The images and labels of `clothing1m`, without opening an image."""
    root = Path(data_dir)
    home = root / "clothing1m"
    names = [line.replace(" ", "-") for line in lines_of(home / "category_names_eng.txt")]
    labels = {kind: _labels(home / f"{kind}_label_kv.txt", names) for kind in ("noisy", "clean")}
    entries = []
    for part, keys in PARTS:
        known = labels[keys.partition("_")[0]]
        for path in lines_of(home / f"{keys}_key_list.txt"):
            if path not in known:
                raise ValueError(f"{home / keys}_key_list.txt: {path} has no label in the label file")
            entries.append(Entry(f"clothing1m/{path}", known[path], part))
    return listed(root, Found(entries), names)


def content(data_dir: str, **_: object) -> str:
    """The hash of the images for a run's id."""
    return content_hash(find(data_dir))


clothing1m.content = content  # type: ignore[attr-defined]  # read by `labelnoise.config.identity`


def _labels(file: Path, names: list[str]) -> dict[str, str]:
    """The class of each image that the file lists."""
    labels = {}
    for line in lines_of(file):
        path, _, number = line.rpartition(" ")
        if not path or not number.isdecimal() or int(number) >= len(names):
            raise ValueError(f"{file}: has the line {line!r}, must have a path and a class from 0 to {len(names) - 1}")
        labels[path] = names[int(number)]
    return labels
