"""CIFAR-10 and CIFAR-100, read and checked by torchvision."""

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from labelnoise.data.dataset import Dataset, obtain, pairs

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

# truck > automobile, bird > airplane, deer > horse, cat <> dog: Patrini et al. 2017, arXiv:1609.03683, section 5
LOOKALIKES = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def cifar10(data_dir: str) -> Dataset:
    """50,000 and 10,000 colour images of 32x32 pixels in 10 classes.

    Args:
        data_dir: folder that contains cifar-10-batches-py; if missing, it is downloaded there.
    Raises:
        FileNotFoundError: missing or damaged, and the download failed.
    Source: Krizhevsky 2009. Mean and standard deviation as in the code released with zhou2021.
    """
    train, test = _read("cifar10", "CIFAR10", data_dir)
    return _dataset(
        "cifar10",
        train,
        test,
        mean=(0.49139968, 0.48215827, 0.44653124),
        std=(0.24703233, 0.24348505, 0.26158768),
        mistaken_for=pairs(10, LOOKALIKES),
    )


def cifar100(data_dir: str) -> Dataset:
    """50,000 and 10,000 colour images of 32x32 pixels in 100 classes of 20 superclasses.

    Args:
        data_dir: folder that contains cifar-100-python; if missing, it is downloaded there.
    Raises:
        FileNotFoundError: missing or damaged, and the download failed.
    Source: Krizhevsky 2009. Mean and standard deviation as in the code released with zhou2021.
    """
    train, test = _read("cifar100", "CIFAR100", data_dir)
    superclass = _superclasses(Path(data_dir) / "cifar-100-python" / "test")
    return _dataset(
        "cifar100",
        train,
        test,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        mistaken_for=next_in_superclass(superclass),
        superclass=superclass,
    )


def next_in_superclass(superclass: Tensor) -> Tensor:
    """For each class the next one of its superclass; after the last comes the first. Shapes: (C,) -> (C,)."""
    following = torch.empty_like(superclass)
    for s in superclass.unique():
        members = (superclass == s).nonzero().flatten()
        following[members] = members.roll(-1)
    return following


def _read(name: str, kind: str, data_dir: str) -> "tuple[CIFAR10, CIFAR10]":
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    loader = getattr(datasets, kind)
    meta = (loader.meta["filename"], loader.meta["md5"])  # the class names; torchvision does not check this file
    folder = Path(data_dir) / loader.base_folder
    published = [(folder / file, md5) for file, md5 in (*loader.train_list, *loader.test_list, meta)]

    def faults() -> list[str]:
        present = [path for path, _ in published if path.is_file()]
        damaged = [path for path, md5 in published if path in present and not check_integrity(str(path), md5)]
        missing = [path for path, _ in published if present and path not in present]
        wrong = [f"{path} is damaged (not the published file)" for path in damaged]
        return wrong + [f"{path} is missing" for path in missing]

    def load() -> "tuple[CIFAR10, CIFAR10]":
        intact = all(check_integrity(str(path), md5) for path, md5 in published)
        train = loader(data_dir, train=True, download=not intact)
        return train, loader(data_dir, train=False)

    return obtain(name, folder, load, faults)


def _dataset(name: str, train: "CIFAR10", test: "CIFAR10", **facts: Any) -> Dataset:
    def images(part: "CIFAR10") -> Tensor:
        pixels = torch.from_numpy(part.data).permute(0, 3, 1, 2)  # torchvision has (N, height, width, channels)
        return pixels.contiguous(memory_format=torch.channels_last)  # the format of TrainSet, which then needs no copy

    labels = torch.tensor(train.targets)
    return Dataset(
        name=name,
        train_images=images(train),
        train_labels=labels,
        true_labels=labels,
        test_images=images(test),
        test_labels=torch.tensor(test.targets),
        classes=tuple(train.classes),
        **facts,
    )


class _ArraysOnly(pickle.Unpickler):
    """Reads the published pickle, which torchvision has checked, and creates only numpy arrays from it."""

    def find_class(self, module: str, name: str) -> Any:
        allowed = {
            "_reconstruct": np.empty(0).__reduce__()[0],
            "ndarray": np.ndarray,
            "dtype": np.dtype,
        }
        if module.split(".")[0] == "numpy" and name in allowed:
            return allowed[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not an array")


def _superclasses(path: Path) -> Tensor:
    """The superclass of each class (100,), from the file's coarse labels, which torchvision does not keep."""
    with path.open("rb") as file:
        entry = _ArraysOnly(file, encoding="latin1").load()
    superclass = torch.full((100,), -1)
    superclass[torch.tensor(entry["fine_labels"])] = torch.tensor(entry["coarse_labels"])
    return superclass
