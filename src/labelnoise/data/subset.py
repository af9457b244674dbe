"""Some of a data set's training images, as a data set."""

from typing import Any

from torch import Tensor

from labelnoise.data.dataset import Dataset
from labelnoise.data.streamed import StreamedImages


def subset(dataset: Dataset, index: Tensor) -> Dataset:
    """The data set with only the training images at `index` (M,), in its order; the other parts stay as they are."""
    images = dataset.train_images
    part: Any = images.part(index) if isinstance(images, StreamedImages) else images[index]
    return dataset._replace(
        train_images=part,
        train_labels=dataset.train_labels[index],
        true_labels=None if dataset.true_labels is None else dataset.true_labels[index],
        paths=None if dataset.paths is None else tuple(dataset.paths[i] for i in index.tolist()),
        kept=index,
    )
