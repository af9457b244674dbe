"""The images of one part of a data set, with the labels they were given and the true ones, to evaluate a network on."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from omegaconf import DictConfig

from labelnoise.experiment.parts import positions, validating

if TYPE_CHECKING:
    from torch import Tensor

    from labelnoise.data.dataset import Dataset

Split = Literal["train", "val", "test"]


class ImageSet(NamedTuple):
    """Some of a data set's images.

    Attributes:
        images: (M, channels, H, W), uint8, indexed like a tensor.
        position: (M,), that of each among the whole data set's images `of`, of which a long tail keeps some.
        of: "training", "validation" or "test": which of the data set's arrays of images.
        given: (M,), the labels the run trains or validates with; None for test images.
        true: (M,), the true labels; None if unknown.
    """

    images: Any
    position: "Tensor"
    of: str
    given: "Tensor | None"
    true: "Tensor | None"


def image_set(cfg: DictConfig, dataset: "Dataset", labels: "Tensor", split: Split) -> ImageSet:
    """The images that a run trains on with noisy labels (train), chooses its epoch by (val) or is tested on (test).

    Args:
        labels: (N,), noisy, of the training images.
    Raises:
        ValueError: the run has no validation images.
    """
    import torch

    from labelnoise.data.subset import subset

    if split == "test":
        everything = torch.arange(len(dataset.test_labels))
        return ImageSet(dataset.test_images, everything, "test", None, dataset.test_labels)
    if split == "val" and not cfg.num_val:
        index = validating(cfg, dataset)
        if index is None or not len(index) or dataset.val_images is None or dataset.val_labels is None:
            raise ValueError("split=val: the run holds no images out (num_val=0), and the data set has no such part")
        given = dataset.val_labels[index]
        true = given if dataset.val_is_clean else None
        return ImageSet(dataset.val_images[index], index, "validation", given, true)
    train, val, _ = positions(cfg, dataset, labels)
    index = train if split == "train" else val
    part = subset(dataset, index)
    return ImageSet(part.train_images, dataset.original(index), "training", labels[index], part.true_labels)
