"""Data sets: shapes, counts, types, and the facts that go with them."""

import pytest
import torch
from support.configs import every
from support.data import HERE

from labelnoise.experiment.run import compose, load_noisy

COUNTS = {
    "digits": (1_437, 360, 1, 28, 10),
    "mnist": (60_000, 10_000, 1, 28, 10),
    "fashion_mnist": (60_000, 10_000, 1, 28, 10),
    "cifar10": (50_000, 10_000, 3, 32, 10),
    "cifar100": (50_000, 10_000, 3, 32, 100),
}


@pytest.mark.parametrize("name", every("dataset"))
def test_shapes_and_facts(name: str) -> None:
    if not HERE[name]:
        pytest.skip(f"{name} is not on this machine (LABELNOISE_DATA)")
    data, _ = load_noisy(compose([f"dataset={name}"]))
    (train, channels, size, _), test, classes = data.train_images.shape, len(data.test_labels), len(data.classes)
    assert (train, test, channels, size, classes) == COUNTS.get(name, (train, test, channels, size, classes))
    assert data.train_images.shape == (len(data.train_labels), channels, size, size)
    assert data.test_images.shape == (test, channels, size, size)
    assert data.train_images.dtype == data.test_images.dtype == torch.uint8
    assert data.name == name
    assert data.num_classes == len(set(data.classes)) == classes
    assert data.train_labels.unique().tolist() == data.test_labels.unique().tolist() == list(range(classes))
    # The published mean and deviation are those of the pixels, to what every seventh image tells of them
    # (not every tenth: MNIST's digits come round in tens).
    pixels = data.train_images[:: 7 if train > 10_000 else 1].float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(data.mean), atol=5e-3, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), torch.tensor(data.std), atol=1.5e-2, rtol=0)


def test_digits_split_never_changes(digits) -> None:
    assert (int(digits.train_images.long().sum()), int(digits.test_labels[:100].sum())) == (87_731_012, 474)
    assert digits.superclass is None
