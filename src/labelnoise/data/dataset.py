"""The data set type: images and labels as tensors, and facts about them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Loaded = TypeVar("Loaded")


class Dataset(NamedTuple):
    """Images and labels, on the CPU.

    Attributes:
        name: as in `dataset=`.
        train_images, test_images: (N, channels, height, width), uint8; or feature vectors (N, D), floating point.
            Training images that do not fit in memory are `labelnoise.data.streamed.StreamedImages`, with the shape and
            the indexing of the tensor.
        train_labels: (N,), int64, the given labels of the training images.
        test_labels: (N,), int64, the true labels of the test images.
        classes: names of the C classes.
        mean, std: of the training images, for each channel, in [0, 1] units; or of each column of vectors.
        mistaken_for: (C,), the class that each class is mistaken for (itself if none), or None if unpublished.
        superclass: (C,), the superclass of each class, or None.
        true_labels: (N,), int64, of the training images; None if unknown.
        val_images, val_labels: a separate held-out part, like the test part; None if there is none.
        val_is_clean: whether val_labels are known to be the true ones.
        paths: N, the files of the training images, relative to data_dir; None if an image has no file of its own.
        notices: lines for the user on what was read and what was not.
        kept: (N,), int64, rising: the positions of the training images in the data set that this one is a part of, such
            as a long tail; None: it is whole.
        trusted_images, trusted_labels: images with true labels that were set aside before a long tail was cut; None:
            `num_trusted` cuts them from the training images.
        source: name of the data set whose images the vectors stand for, in its order; noise is drawn as on these.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mistaken_for: Tensor | None = None
    superclass: Tensor | None = None
    true_labels: Tensor | None = None
    val_images: Tensor | None = None
    val_labels: Tensor | None = None
    val_is_clean: bool = False
    paths: tuple[str, ...] | None = None
    notices: tuple[str, ...] = ()
    kept: Tensor | None = None
    trusted_images: Tensor | None = None
    trusted_labels: Tensor | None = None
    source: str | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def original(self, index: Tensor) -> Tensor:
        """Where the training images at `index` are in the whole data set, and in a label file. Shapes: (M,) -> (M,)."""
        return index if self.kept is None else self.kept[index]


def pairs(num_classes: int, mistaken_for: dict[int, int]) -> Tensor:
    """`mistaken_for` as a tensor (C,); a class that is not in the dictionary maps to itself."""
    return torch.tensor([mistaken_for.get(c, c) for c in range(num_classes)])


def obtain(name: str, folder: Path, load: Callable[[], Loaded], faults: Callable[[], list[str]]) -> Loaded:
    """The result of torchvision's loader, or an error message with what is missing and how to get it.

    Args:
        name: of the data set, for the message.
        folder: of the data set, inside data_dir.
        load: reads the files, and downloads them if they are missing.
        faults: describes each file that is damaged, or missing while others are present.
    Raises:
        FileNotFoundError: the files are missing or damaged and could not be downloaded.
    """
    fresh = [path for path in (folder, folder.parent) if not path.exists()]
    try:
        return load()
    except (OSError, RuntimeError, ValueError, AssertionError, EOFError) as error:
        wrong = faults()
        for path in fresh:  # torchvision creates folders before it downloads
            shutil.rmtree(path, ignore_errors=True)
        if wrong:
            raise FileNotFoundError(
                f"dataset={name}: {wrong[0]}; put the published file there, or delete {folder} to have the data set "
                "downloaded again"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileNotFoundError(
            f"dataset={name}: not found in data_dir={folder.parent}, and downloading it failed ({reason}); put the "
            "published files there as torchvision lays them out, or point data_dir= or LABELNOISE_DATA at a folder "
            "that has them"
        ) from error
