"""Images of every mode of Pillow's as 8 bits a channel. Pillow itself clips deeper pixels and drops transparency."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # imported when first needed
    from PIL import Image

SIXTEEN = 2**16 - 1
SCALES = (2**8 - 1, SIXTEEN, 2**32 - 1)  # the largest value, of images that do not say theirs
BITS_PER_SAMPLE = 258  # TIFF's tag


def eight_bits(image: "Image.Image", mode: str) -> "Image.Image":
    """The image in mode RGB or L: deeper pixels scaled to 8 bits, transparent ones on white.

    Pixels of 16 bits are scaled from the range of their format (of TIFF, its bits per sample). Those of 32 bits and
    floats from the smallest of 0 to 1 (floats alone), 255, 65,535 and 2^32 - 1 that contains the image's values.

    Raises:
        ValueError: values that are negative, not finite or above 2^32 - 1.
    """
    from PIL import Image

    if is_deep(image):
        return _scaled(image).convert(mode)
    if is_transparent(image):
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert(mode)
    return image.convert(mode)


def is_deep(image: "Image.Image") -> bool:
    """Whether a pixel has more than 8 bits in a channel."""
    return image.mode in ("I", "F") or image.mode.startswith("I;")


def is_transparent(image: "Image.Image") -> bool:
    """Whether a pixel may be transparent: by a channel, or a colour that stands for it."""
    return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info


def converted_since(path: Path) -> bool:
    """Whether the image's pixels are other than earlier versions read, which clipped and dropped; reads its header."""
    from PIL import Image

    if path.suffix.lower() in (".jpg", ".jpeg"):
        return False
    try:
        with Image.open(path) as image:
            return is_deep(image) or is_transparent(image)
    except Exception:  # Pillow raises many types of errors for a damaged file; `decode` reports them
        return False


def _scaled(image: "Image.Image") -> "Image.Image":
    """An image of deep pixels in mode L."""
    from PIL import Image

    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("has values that are not finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > SCALES[-1]:
        raise ValueError(f"has values from {low:g} to {high:g}, must be from 0 to {SCALES[-1]:g}")
    grey = np.rint(values * (255 / _largest(image, high))).astype(np.uint8)
    if (hidden := image.info.get("transparency")) is not None:
        grey[values == hidden] = 255
    return Image.fromarray(grey)


def _largest(image: "Image.Image", high: float) -> float:
    """The value that is white: of the image's format, else by its highest value."""
    if image.mode.startswith("I;"):
        bits = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, 16)
        bits = bits[0] if isinstance(bits, tuple) else bits
        return 2**bits - 1 if 8 < bits < 16 else SIXTEEN
    if image.format in ("PNG", "PPM") and image.mode == "I":
        return SIXTEEN  # these formats have at most 16 bits, scaled to all of them
    scales = (1, *SCALES) if image.mode == "F" else SCALES
    return next(largest for largest in scales if high <= largest)
