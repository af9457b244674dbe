"""Augmentation of a whole batch on its device: shift, horizontal flip and rotation as one gather of uint8 pixels.

Equal, image by image, to torchvision's RandomCrop(size, padding), RandomHorizontalFlip and RandomRotation (nearest
neighbour, fill 0) on PIL images, in that order.
"""

from math import pi
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked


@checked
def crop_flip_rotate(
    images: Tensor,
    generator: torch.Generator,
    padding: Annotated[int, Ge(0), Le(256)],
    flip: bool,
    degrees: Annotated[float, Ge(0), Le(180)],
) -> Tensor:
    """Shift each image by up to `padding` pixels, filling with zeros; flip it with probability 1/2; rotate it.

    Shapes: (B, channels, H, W) uint8 -> the same.
    Args:
        generator: on the images' device.
        padding: pixels.
        flip: false: no flips.
        degrees: angles are uniform in [-degrees, degrees]; 0: no rotation.
    Raises:
        ValueError: padding or degrees out of range.
    """
    batch, device = len(images), images.device
    top, left = torch.randint(0, 2 * padding + 1, (2, batch), generator=generator, device=device)
    flipped = torch.rand(batch, generator=generator, device=device) < (0.5 if flip else 0.0)
    angles = None
    if degrees:
        angles = (torch.rand(batch, generator=generator, device=device, dtype=torch.float64) * 2 - 1) * degrees
    return transform(images, padding, top, left, flipped, angles)


def transform(
    images: Tensor, padding: int, top: Tensor, left: Tensor, flipped: Tensor, angles: Tensor | None = None
) -> Tensor:
    """The augmentation with given random numbers.

    Shapes: (B, channels, H, W) uint8 -> the same, in channels_last order.
    Args:
        padding: zeros on each side, pixels.
        top, left: (B,), corner of the crop in the padded image, 0 to 2 * padding.
        flipped: (B,), bool.
        angles: (B,), float64, counter-clockwise degrees, or None for no rotation.
    """
    B, C, H, W = images.shape
    device = images.device
    padded = images.new_zeros(B, H + 2 * padding, W + 2 * padding, C)
    padded[:, padding : padding + H, padding : padding + W] = images.permute(0, 2, 3, 1)
    rows, columns = torch.arange(H, device=device)[None, :, None], torch.arange(W, device=device)[None, None, :]
    inside = None
    if angles is not None:
        rows, columns = _rotated(angles, H, W)
        inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
        rows, columns = rows.clamp(0, H - 1), columns.clamp(0, W - 1)
    columns = torch.where(flipped[:, None, None], W - 1 - columns, columns) + left[:, None, None]
    rows = rows + top[:, None, None]
    out = padded[torch.arange(B, device=device)[:, None, None], rows, columns]
    if inside is not None:
        out = torch.where(inside[..., None], out, 0)
    return out.permute(0, 3, 1, 2)


def _rotated(angles: Tensor, H: int, W: int) -> tuple[Tensor, Tensor]:
    """Row and column (B, H, W) of the pixel that each pixel of the rotated image comes from.

    Pillow maps pixel centres with 16.16 fixed-point arithmetic; the same integers give the same pixels.
    """

    def fixed(value: Tensor) -> Tensor:
        return torch.floor(value * 65536 + 0.5).long()[:, None, None]

    radians = -angles * (pi / 180)
    cos, sin = radians.cos(), radians.sin()
    # Pillow's matrix: x_in = cos x + sin y + x0, y_in = -sin x + cos y + y0, about the centre of the image
    x0 = cos * (-W / 2) + sin * (-H / 2) + W / 2
    y0 = -sin * (-W / 2) + cos * (-H / 2) + H / 2
    x, y = torch.arange(W, device=angles.device)[None, None, :], torch.arange(H, device=angles.device)[None, :, None]
    columns = fixed(x0 + cos * 0.5 + sin * 0.5) + x * fixed(cos) + y * fixed(sin)
    rows = fixed(y0 - sin * 0.5 + cos * 0.5) + x * fixed(-sin) + y * fixed(cos)
    return rows >> 16, columns >> 16
