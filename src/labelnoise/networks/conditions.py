"""What training asks of a network: logits for each image, and features with a head where a loss needs them."""

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def refuse_network(network: Any, name: str, images: tuple[int, ...], outputs: int, features: bool) -> None:
    """Call a network on two grey images, in evaluation mode, and refuse it unless it gives what training needs.

    Args:
        name: of the function that made it, for the message.
        images: shape of one image, (channels, height, width).
        outputs: number of logits.
        features: whether `features(images) -> (B, D)` and `head(features) -> (B, outputs)` are needed.
    Raises:
        ValueError: it does not.
    """
    if not isinstance(network, nn.Module):
        raise ValueError(f"{name}: gave {type(network).__name__}, must give a torch.nn.Module")
    given = torch.full((2, *images), 0.5)
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    logits = _called(name, network, given)
    _refuse_shape(name, logits, given, outputs)
    if features:
        needed = "which the loss or the regulariser needs"
        for part, of in (("features", "images"), ("head", "features")):
            if not callable(getattr(network, part, None)):
                raise ValueError(f"{name}: has no {part}({of}), {needed}")
        found = _called(f"{name}: features", network.features, given)
        if not isinstance(found, Tensor) or found.dim() != 2 or len(found) != len(given):
            raise ValueError(f"{name}: features of {tuple(given.shape)} gave {_shape(found)}, must give (2, D)")
        _refuse_shape(f"{name}: head", _called(f"{name}: head", network.head, found), found, outputs)
    for module, mode in modes:
        module.training = mode


def _called(name: str, function: Any, given: Tensor) -> Any:
    try:
        return function(given)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: cannot be computed from {tuple(given.shape)}: {reason}") from None


def _refuse_shape(name: str, logits: Any, given: Tensor, outputs: int) -> None:
    wanted = (len(given), outputs)
    if not isinstance(logits, Tensor) or logits.shape != wanted:
        raise ValueError(f"{name}: {tuple(given.shape)} gave {_shape(logits)}, must give {wanted}")
    if not logits.isfinite().all():
        raise ValueError(f"{name}: gave logits that are not finite")


def _shape(output: Any) -> Any:
    return tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
