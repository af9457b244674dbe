"""scikit-learn's handwritten digits: a real data set without a download, on which a run takes seconds."""

import torch
from torch.nn.functional import interpolate

from labelnoise.data.dataset import Dataset, pairs
from labelnoise.data.mnist import LOOKALIKES

TEST_IMAGES = 360
MEAN, STD = 0.3054, 0.3247  # of the training pixels


def digits() -> Dataset:
    """1,797 digits of 8x8 pixels, resized to 28x28, in a fixed stratified split: 1,437 for training, 360 for testing.

    Source: Alpaydin, Kaynak 1998, Optical Recognition of Handwritten Digits (UCI), test part, as in scikit-learn.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float()[:, None] * (255 / 16)
    images = interpolate(images, size=(28, 28), mode="bilinear").round().to(torch.uint8)
    labels = torch.from_numpy(bunch.target).long()
    train, test = train_test_split(range(len(labels)), test_size=TEST_IMAGES, random_state=0, stratify=bunch.target)
    return Dataset(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        true_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        classes=tuple(str(c) for c in range(10)),
        mean=(MEAN,),
        std=(STD,),
        mistaken_for=pairs(10, LOOKALIKES),
    )
