"""What a training returns to Python: the record, the trained method, the data set, and which labels it learned from."""

from typing import TYPE_CHECKING, NamedTuple

from labelnoise.records.store import Record

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from torch import Tensor

    from labelnoise.data.dataset import Dataset
    from labelnoise.training.method import Method


class Trained(NamedTuple):
    """A finished training. N is the number of images in the data set's training part, or in its long tail.

    Attributes:
        record: the content of its JSON file.
        method: the trained method. It keeps its memories and judgement in the order of `train_index`.
        dataset: as it was loaded, or its long tail, before the noise: its `train_labels` are not those that the method
            learned from, and its `true_labels` are the true ones, or None.
        noisy_labels: (N,), int64, after the noise: what the method learned from.
        train_index: (M,), sorted, the positions of the images that the method trained on: its training set's image i is
            the data set's image train_index[i]. All N without num_val and num_trusted.
        val_index, trusted_index: the positions of those that num_val held out and that num_trusted (trusted_from=train)
            set aside; a long tail has its trusted images apart, as `dataset.trusted_images`.
    """

    record: Record
    method: "Method"
    dataset: "Dataset"
    noisy_labels: "Tensor"
    train_index: "Tensor"
    val_index: "Tensor"
    trusted_index: "Tensor"

    def probabilities(self, images: "Tensor") -> "Tensor":
        """What the method predicts for images as the data set has them, such as `dataset.test_images`.

        Shapes: (N, channels, H, W), uint8 -> (N, C), float32 on the CPU; rows sum to 1.
        """
        from labelnoise.training.evaluate import probabilities

        return probabilities(self.method, images, self.dataset.mean, self.dataset.std)
