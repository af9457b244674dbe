"""The page of an audit: thumbnails, worst first, to review by key. A static HTML file that loads nothing else."""

import base64
import hashlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from labelnoise.files.html import asset, render_with_script

if TYPE_CHECKING:
    from torch import Tensor


class Image(NamedTuple):
    """An image to decide on.

    Attributes:
        path: its file, or its number.
        given, proposed: names of classes.
        probability: of the proposed class.
        score: the larger, the more probably the given label is wrong.
        issue: the second opinion: true, false or empty.
        pixels: (channels, H, W), uint8.
    """

    path: str
    given: str
    proposed: str
    probability: float
    score: float
    issue: str
    pixels: "Tensor"


def render(name: str, classes: Sequence[str], images: Sequence[Image], count: int) -> str:
    """The page.

    Args:
        name: of the data set.
        images: worst first.
        count: the number of images that were judged.
    """
    listed = repr([(image.path, image.given, image.proposed) for image in images])
    return render_with_script(
        "labelnoise.audit",
        asset("labelnoise.audit", "audit.js"),
        name=name,
        classes=classes,
        images=[(image, png(image.pixels)) for image in images],
        count=count,
        identity=hashlib.sha256(listed.encode()).hexdigest()[:16],
    )


def png(pixels: "Tensor") -> str:
    """An image (channels, H, W), uint8, as a data: URL."""
    from PIL import Image as Pillow

    array = pixels.permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Pillow.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
