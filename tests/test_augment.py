"""The batched augmentation against torchvision's on PIL images, and the distribution of what is drawn."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as pil

from labelnoise.data.augment import crop_flip_rotate, transform

COUNT = 200


def reference(image: torch.Tensor, padding: int, top: int, left: int, flip: bool, angle: float | None) -> np.ndarray:
    """Crop, flip, rotate one image (channels, H, W) as torchvision does."""
    size = list(image.shape[1:])
    array = image.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array if array.shape[2] == 3 else array[..., 0])
    picture = pil.crop(pil.pad(picture, padding), top, left, *size)
    if flip:
        picture = pil.hflip(picture)
    if angle is not None:
        picture = pil.rotate(picture, angle, InterpolationMode.NEAREST)
    return np.asarray(picture).reshape(*size, -1)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28), (3, 15)])
@pytest.mark.parametrize("degrees", [None, 20.0, 180.0])
def test_equals_torchvision_on_pil_images(channels: int, size: int, degrees: float | None) -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(1, 256, (COUNT, channels, size, size), generator=random, dtype=torch.uint8)
    top, left = torch.randint(0, 9, (2, COUNT), generator=random)
    flipped = torch.rand(COUNT, generator=random) < 0.5
    angles = None
    if degrees is not None:
        angles = (torch.rand(COUNT, generator=random, dtype=torch.float64) * 2 - 1) * degrees
    got = transform(images, 4, top, left, flipped, angles)
    for i in range(COUNT):
        angle = None if angles is None else float(angles[i])
        expected = reference(images[i], 4, int(top[i]), int(left[i]), bool(flipped[i]), angle)
        np.testing.assert_array_equal(got[i].permute(1, 2, 0).numpy(), expected, err_msg=f"image {i}")


def test_draws_cover_their_ranges() -> None:
    """Each offset from 0 to 2 * padding and each flip equally likely, read off a picture of its own coordinates."""
    rows, columns = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    images = (rows * 16 + columns).to(torch.uint8).expand(4000, 1, 16, 16)
    out = crop_flip_rotate(images, torch.Generator().manual_seed(0), padding=2, flip=True, degrees=0.0)
    centre = out[:, 0, 8, 8].long()
    flipped = (out[:, 0, 8, 9].long() - centre) == -1
    shift = centre // 16 - 8
    assert sorted(shift.unique().tolist()) == [-2, -1, 0, 1, 2]
    assert all(abs(float((shift == s).double().mean()) - 0.2) < 0.03 for s in range(-2, 3))
    assert abs(float(flipped.double().mean()) - 0.5) < 0.03
    plain = crop_flip_rotate(images, torch.Generator().manual_seed(0), padding=0, flip=False, degrees=0.0)
    assert torch.equal(plain, images)


def test_the_generator_decides() -> None:
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8)

    def draw(seed: int) -> torch.Tensor:
        return crop_flip_rotate(images, torch.Generator().manual_seed(seed), padding=4, flip=True, degrees=20.0)

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
