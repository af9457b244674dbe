"""The training data that a method may see: batches and the training set, on the device, without true labels."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

Augment = Callable[[Tensor, torch.Generator], Tensor]


class Batch(NamedTuple):
    """The images of a step.

    Attributes:
        index: (B,), position in the training set.
        images: (B, channels, H, W), float32, augmented and normalised.
        labels: (B,), noisy.
    """

    index: Tensor  # type: ignore[assignment]  # the field's name; a tuple's own index() is not used
    images: Tensor
    labels: Tensor


def normalise(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(images / 255 - mean) / std, float32, as networks take them; vectors are not divided by 255.

    Shapes: (B, channels, H, W) uint8, (channels, 1, 1); or (B, D) floating point, (D,) -> the same as the first.
    """
    if images.dtype != torch.uint8:
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)
    scaled = images.float().div_(255).sub_(mean).div_(std)
    return scaled.contiguous(memory_format=torch.channels_last)


def per_channel(values: Sequence[float], images: Tensor) -> Tensor:
    """Numbers of each channel in the shape and on the device to combine them with images: (channels, 1, 1) or (D,)."""
    return torch.tensor(values, device=images.device).view(-1, *[1] * (images.dim() - 2))


class TrainSet:
    """Images, as uint8, and noisy labels on one device.

    Args:
        images: (N, channels, H, W), uint8; or vectors (N, D), floating point.
        labels: (N,), noisy; a method that refines labels keeps its own copy.
        num_classes: C.
        mean, std: of each channel, in [0, 1] units.
        augment: `(images uint8, generator) -> images uint8`, or None.
        generator: on the images' device; order and augmentation are drawn from it.
        trusted: a small set with true labels, not part of this one, or None.
        strong: as `augment`, applied after it in a strong view; None: there is none.
    Attributes:
        on_device: whether steps read images only from the device, as CUDA graphs require.
    """

    on_device = True

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        augment: Augment | None,
        generator: torch.Generator,
        trusted: "TrainSet | None" = None,
        strong: Augment | None = None,
    ) -> None:
        # crops gather whole pixels
        self.images = images.contiguous(memory_format=torch.channels_last) if images.dim() == 4 else images
        self.labels, self.num_classes, self.trusted = labels, num_classes, trusted
        self._mean, self._std = per_channel(mean, images), per_channel(std, images)
        self._augment, self._strong, self.generator = augment, strong, generator

    def __len__(self) -> int:
        return len(self.labels)

    def view(self, index: Tensor, kind: Literal["weak", "strong"] = "weak") -> Tensor:
        """A freshly augmented view of the images. Shapes: (B,) -> (B, channels, H, W) float32, normalised.

        Args:
            kind: weak, by the data set's augmentation; strong, by that and then by its strong one.
        Raises:
            ValueError: the data set has no strong augmentation.
        """
        images = self.pixels(index)
        images = images if self._augment is None else self._augment(images, self.generator)
        if kind == "strong":
            if self._strong is None:
                raise ValueError("dataset.strong=null: this method needs a strong augmentation, such as ${strong}")
            images = self._strong(images, self.generator)
        return self.normalised(images)

    def plain(self, index: Tensor) -> Tensor:
        """The images without augmentation. Shapes: (B,) -> (B, channels, H, W) float32, normalised."""
        return self.normalised(self.pixels(index))

    def pixels(self, index: Tensor) -> Tensor:
        """The stored images. Shapes: (B,) -> (B, channels, H, W) uint8."""
        return self.images[index]

    def order(self, size: int, among: Tensor | None = None) -> list[Tensor]:
        """Every image once, in a new random order: the index (B,) of each batch; the last one may be smaller.

        Args:
            size: images per batch, >= 2. A single remaining image joins the batch before it, because batch
                normalisation cannot train on one image.
            among: (M,), positions to choose from; all by default.
        """
        device = self.labels.device
        among = torch.arange(len(self), device=device) if among is None else among
        drawn = among[torch.randperm(len(among), generator=self.generator, device=device)]
        parts = list(drawn.split(size))
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    def batch(self, index: Tensor) -> Batch:
        """The images at `index` (B,), freshly augmented, with their labels."""
        return Batch(index, self.view(index), self.labels[index])

    def normalised(self, images: Tensor) -> Tensor:
        return normalise(images, self._mean, self._std)
