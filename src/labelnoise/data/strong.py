"""Strong augmentation of a whole batch on its device: RandAugment, then Cutout. Each image draws its own."""

from collections.abc import Callable
from math import atan, degrees
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked

BINS = 30  # magnitudes are 0 to 30
SIGNED, UNSIGNED = 9, 5  # operations with and without a sign


def operations(magnitude: int, size: int, sign: int) -> list[Callable[[Tensor], Tensor]]:
    """RandAugment's 14 operations on a batch (B, channels, size, size), uint8: first those with a sign.

    Args:
        magnitude: 0 to BINS.
        size: pixels.
        sign: 1 or -1.
    Source: the ranges of torchvision's RandAugment.
    """
    from torchvision.transforms.v2 import functional as F

    strength = magnitude / BINS
    shear = degrees(atan(sign * 0.3 * strength))
    shift = int(sign * 150 / 331 * size * strength)
    factor = 1 + sign * 0.9 * strength
    return [
        lambda x: F.affine(x, angle=0.0, translate=[0, 0], scale=1.0, shear=[shear, 0.0], center=[0, 0]),
        lambda x: F.affine(x, angle=0.0, translate=[0, 0], scale=1.0, shear=[0.0, shear], center=[0, 0]),
        lambda x: F.affine(x, angle=0.0, translate=[shift, 0], scale=1.0, shear=[0.0, 0.0]),
        lambda x: F.affine(x, angle=0.0, translate=[0, shift], scale=1.0, shear=[0.0, 0.0]),
        lambda x: F.rotate(x, sign * 30 * strength),
        lambda x: F.adjust_brightness(x, factor),
        lambda x: F.adjust_saturation(x, factor),
        lambda x: F.adjust_contrast(x, factor),
        lambda x: F.adjust_sharpness(x, factor),
        lambda x: F.posterize(x, 8 - round(4 * strength)),
        lambda x: F.solarize(x, 255 * (1 - strength)),
        F.autocontrast,
        F.equalize,
        lambda x: x,
    ]


@checked
def rand_augment(
    images: Tensor,
    generator: torch.Generator,
    ops: Annotated[int, Ge(0), Le(14)],
    magnitude: Annotated[int, Ge(0), Le(BINS)],
    cutout: Annotated[float, Ge(0), Le(1)],
) -> Tensor:
    """Apply `ops` random operations to each image, one after another, then set a random square to zero.

    Shapes: (B, channels, H, W) uint8, 1 or 3 channels -> the same.
    Args:
        generator: on the images' device.
        ops: operations an image, each drawn from all 14.
        magnitude: of the operations; their signs are random.
        cutout: side of the square as a share of the image's; its centre is any pixel. 0: none.
    Raises:
        ValueError: an argument out of range.
    Sources: Cubuk et al. 2020, arXiv:1909.13719; DeVries, Taylor 2017, arXiv:1708.04552.
    """
    batch, device = len(images), images.device
    variants = [operations(magnitude, images.shape[-1], sign) for sign in (1, -1)]
    for _ in range(ops):
        drawn = torch.randint(0, SIGNED + UNSIGNED, (batch,), generator=generator, device=device)
        negative = torch.randint(0, 2, (batch,), generator=generator, device=device).bool() & (drawn < SIGNED)
        done = images
        for number, (plus, minus) in enumerate(zip(*variants, strict=True)):
            done = _where(drawn.eq(number) & ~negative, plus, images, done)
            if number < SIGNED:
                done = _where(drawn.eq(number) & negative, minus, images, done)
        images = done
    if cutout:
        centre = torch.randint(0, images.shape[-1], (2, batch), generator=generator, device=device)
        images = images.masked_fill(square(centre, images.shape[-1], round(cutout * images.shape[-1])), 0)
    return images


def _where(chosen: Tensor, function: Callable[[Tensor], Tensor], images: Tensor, others: Tensor) -> Tensor:
    """`function` of the chosen images, `others` elsewhere.

    Shapes: chosen (B,) bool, images and others (B, channels, H, W) -> the same as these.

    A GPU computes it for all of them: to count the chosen ones it would have to wait.
    """
    if images.device.type != "cpu":
        return torch.where(chosen[:, None, None, None], function(images), others)
    index = chosen.nonzero().flatten()
    return others.index_copy(0, index, function(images[index])) if len(index) else others


def square(centre: Tensor, size: int, side: int) -> Tensor:
    """Which pixels lie in a square around each centre. Shapes: (2, B), rows and columns -> (B, 1, size, size), bool."""
    first = (centre - side // 2)[..., None]
    place = torch.arange(size, device=centre.device)
    rows, columns = (place >= first) & (place < first + side)
    return (rows[:, :, None] & columns[:, None, :])[:, None]
