"""MNIST and Fashion-MNIST, read by torchvision."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from labelnoise.data.dataset import Dataset, obtain, pairs

LOOKALIKES = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}  # Patrini et al. 2017, arXiv:1609.03683, section 5
TOLERANCE = 2e-3  # of the published mean and deviation of the pixels, in [0, 1] units
MD5 = {  # of MNIST's unpacked files; torchvision checks only the archives
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def mnist(data_dir: str) -> Dataset:
    """60,000 and 10,000 grey digits of 28x28 pixels.

    Args:
        data_dir: folder that contains MNIST/raw; if missing, it is downloaded there.
    Raises:
        FileNotFoundError: missing or damaged, and the download failed.
    Source: LeCun, Bottou, Bengio, Haffner 1998.
    """
    return _load("mnist", "MNIST", data_dir, (0.1307,), (0.3081,), pairs(10, LOOKALIKES))


def fashion_mnist(data_dir: str) -> Dataset:
    """60,000 and 10,000 grey images of clothes of 28x28 pixels.

    Args:
        data_dir: folder that contains FashionMNIST/raw; if missing, it is downloaded there.
    Raises:
        FileNotFoundError: missing or damaged, and the download failed.
    Source: Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747.
    """
    return _load("fashion_mnist", "FashionMNIST", data_dir, (0.2860,), (0.3530,), None)


def _load(
    name: str, kind: str, data_dir: str, mean: tuple[float], std: tuple[float], mistaken_for: Tensor | None
) -> Dataset:
    from torchvision import datasets

    raw = Path(data_dir) / kind / "raw"

    def faults() -> list[str]:
        return [fault for file in MD5 if (raw / file).is_file() and (fault := _fault(kind, raw / file))]

    def load() -> tuple[datasets.MNIST, datasets.MNIST]:
        if faults():
            raise ValueError("not the published files")
        # torchvision creates the folder before it downloads, so request a download only if files are missing.
        missing = not all((raw / file).is_file() for file in MD5)
        both = [getattr(datasets, kind)(data_dir, train=train, download=missing) for train in (True, False)]
        for part, count in zip(both, (60_000, 10_000), strict=True):
            if len(part.data) != count or len(part.targets) != count:
                raise ValueError(f"{raw} holds {len(part.data)} images, not {count}")
        return both[0], both[1]

    train, test = obtain(name, raw.parent, load, faults)
    check_pixels(name, raw, train.data, mean[0], std[0])
    return Dataset(
        name=name,
        train_images=train.data[:, None],
        train_labels=train.targets,
        true_labels=train.targets,
        test_images=test.data[:, None],
        test_labels=test.targets,
        classes=tuple(train.classes),
        mean=mean,
        std=std,
        mistaken_for=mistaken_for,
    )


def _fault(kind: str, path: Path) -> str | None:
    """What is wrong with a file, or None. Fashion-MNIST's files have the same names as MNIST's."""
    is_mnists = hashlib.md5(path.read_bytes()).hexdigest() == MD5[path.name]
    if kind == "MNIST":
        return None if is_mnists else f"{path} is damaged (not the published file)"
    return f"{path} is MNIST's file, not {kind}'s" if is_mnists else None


def check_pixels(name: str, raw: Path, images: Tensor, mean: float, std: float) -> None:
    """Refuse images whose mean and deviation are not the published ones; not all files have a known checksum.

    Raises:
        ValueError: gives the means and deviations.
    """
    spread, ours = (float(value) for value in torch.std_mean(images.float() / 255, correction=0))
    if abs(ours - mean) > TOLERANCE or abs(spread - std) > TOLERANCE:
        raise ValueError(
            f"dataset={name}: {raw} holds other images (mean {ours:.4f}, deviation {spread:.4f} of their pixels, "
            f"published {mean:.4f} and {std:.4f}); put the published files there"
        )
