"""Evaluation on images that the method is not trained on."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labelnoise.data.train_set import normalise, per_channel
from labelnoise.training.method import Method, Predict

EVAL_BATCH = 1000  # images, without a method


class Labelled(NamedTuple):
    """Images to evaluate on. Attributes: images (N, channels, H, W) uint8; labels (N,); mean, std (channels, 1, 1)."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor


def batches(method: Method, data: Labelled) -> Iterator[tuple[Tensor, Tensor]]:
    """Images as the network takes them, and their labels, as many at once as the method can evaluate."""
    together = method.evaluated_together
    for images, labels in zip(data.images.split(together), data.labels.split(together), strict=True):
        yield normalise(images, data.mean, data.std), labels


@torch.no_grad()
def confusion_matrix(
    method: Method, data: Labelled, after_batch: Callable[[], None] = lambda: None, predict: Predict | None = None
) -> Tensor:
    """How often each class (rows) is predicted as each class (columns). Shapes: -> (C, C), counts, on the CPU.

    Args:
        after_batch: called after each batch.
        predict: one of `Method.apart`; None: the method's own prediction.
    Raises:
        FloatingPointError: an output is not finite; the network has diverged.
    """
    method.eval()
    predict = predict or method.predict
    num_classes = method.train_set.num_classes
    counts = torch.zeros(num_classes**2, dtype=torch.long, device=data.labels.device)
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    for inputs, labels in batches(method, data):
        logits = predict(inputs)
        finite &= logits.isfinite().all()
        counts += torch.bincount(labels * num_classes + logits.argmax(dim=1), minlength=num_classes**2)
        after_batch()
    if not finite:
        raise FloatingPointError("the network's outputs are NaN or infinite")
    return counts.view(num_classes, num_classes).cpu()


@torch.no_grad()
def probabilities(method: Method, images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """The probabilities of the classes, without augmentation. Shapes: (N, channels, H, W), uint8 -> (N, C), float32.

    Args:
        mean, std: of each channel, in [0, 1] units.
    Returns:
        a tensor on the CPU; rows sum to 1.
    """
    method.eval()
    device = method.train_set.labels.device
    scale = [per_channel(values, images).to(device) for values in (mean, std)]
    parts = (normalise(part.to(device), *scale) for part in images.split(EVAL_BATCH))
    return torch.cat([method.predict(part).float().softmax(dim=1).cpu() for part in parts])


def accuracy(confusion: Tensor) -> float:
    """The share of the counts on the diagonal."""
    return float(confusion.diagonal().sum() / confusion.sum())
