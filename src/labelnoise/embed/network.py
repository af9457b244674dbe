"""The network that embeds images: its weights, and what it expects of an image."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.networks.pretrained import begin_with, digest, from_file, normalisation, published, refuse_unknown
from labelnoise.networks.timm_model import TimmNetwork

LARGE = 64  # pixels; smaller images are embedded at three times their size, others at the network's own


class Embedder(NamedTuple):
    """A network in evaluation mode, and its transform.

    Attributes:
        model: its name in timm.
        weights: hash of its weights, see `networks.pretrained.digest`.
        size: pixels of a side of its input.
        mean, std: of each of three channels, in [0, 1] units.
    """

    network: TimmNetwork
    model: str
    weights: str
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def facts(self) -> dict[str, object]:
        """As the file of features has them."""
        transform = f"bicubic to {self.size} pixels, then (x - {list(self.mean)}) / {list(self.std)}"
        return {"network": self.model, "weights": self.weights, "size": self.size, "transform": transform}


def embedder(model: str, weights: str | None, size: int | None, pixels: int) -> Embedder:
    """Build it.

    Args:
        model: a name of timm.
        weights: a file; None: the published ones.
        size: of its input; None: three times `pixels`, a side of the images, up to LARGE, beyond it, and for a network
            whose position embedding is of one size, the network's own.
    Raises:
        ValueError: the weights are not there or of another network, or it takes no images of this size.
    """
    import timm

    refuse_unknown(model)
    if size is None:
        known: Any = timm.get_pretrained_cfg(model) or timm.create_model(model).pretrained_cfg
        small = pixels <= LARGE and not known.fixed_input_size
        size = 3 * pixels if small else int(known.input_size[-1])
    reason = ""
    fits: list[dict[str, Any]] = [{}, {"img_size": size}]
    for fit in fits:
        try:
            network = TimmNetwork(timm.create_model(model, **fit), frozen=True).eval()
            with torch.no_grad():
                network.features(torch.zeros(1, 3, size, size))
            break
        except Exception as error:  # timm's networks raise many different errors for a size they do not support
            reason = reason or (str(error).splitlines() or [type(error).__name__])[0]
    else:
        raise ValueError(f"size={size}: network.model={model} takes no such images ({reason})")
    given = published(model) if weights is None else from_file(weights)
    begin_with(network, given, "network.pretrained=true" if weights is None else f"network.weights={weights}")
    mean, std = normalisation(model)
    return Embedder(network, model, digest(network.model.state_dict()), size, mean, std)


def embedded(made: Embedder, images: Tensor, precision: torch.dtype) -> Tensor:
    """Features of images. Shapes: (B, 1 or 3, H, W) uint8 -> (B, D), float32.

    Args:
        precision: of the network's arithmetic, float32 or bfloat16.
    """
    scaled = images.float().div_(255).expand(-1, 3, -1, -1)
    if scaled.shape[-1] != made.size:
        scaled = F.interpolate(scaled, (made.size, made.size), mode="bicubic", antialias=True).clamp_(0, 1)
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (made.mean, made.std))
    inputs = ((scaled - mean) / std).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast(images.device.type, precision, enabled=precision != torch.float32):
        return made.network.features(inputs).float()
