"""Which real data sets are here, and where the checkout is."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


DATA = Path(os.environ.get("LABELNOISE_DATA", REPOSITORY / "data"))


class Here(dict[str, bool]):
    """A data set that is not listed needs no files."""

    def __missing__(self, name: str) -> bool:
        return True


HERE = Here(
    {
        "mnist": (DATA / "MNIST/raw/train-images-idx3-ubyte").is_file(),
        "fashion_mnist": (DATA / "FashionMNIST/raw/train-images-idx3-ubyte").is_file(),
        "cifar10": (DATA / "cifar-10-batches-py/data_batch_1").is_file(),
        "cifar100": (DATA / "cifar-100-python/train").is_file(),
        "features": False,  # the user's own: test_features.py makes some
        "folder": False,  # test_folder.py makes some, test_web_data.py the next two
        "webvision_mini": False,
        "clothing1m": False,
        "cifar-n": (DATA / "cifar-n/CIFAR-10_human.pt").is_file(),
    }
)


def real(*names: str) -> pytest.MarkDecorator:
    """Skip if one of these data sets is not found."""
    missing = [name for name in names if not HERE[name]]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not in {DATA} (LABELNOISE_DATA)")
