"""Any timm network, adapted to small images."""

from typing import Any

import torch
from torch import Tensor, nn


class TimmNetwork(nn.Module):
    """A timm model split into `features(images) -> (B, D)` and `head(features) -> (B, C)`.

    Attributes:
        num_features: D.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        classifier = model.get_classifier()
        self.num_features: int = classifier.in_channels if isinstance(classifier, nn.Conv2d) else classifier.in_features

    def features(self, images: Tensor) -> Tensor:
        return self.model.forward_head(self.model.forward_features(images), pre_logits=True)

    def head(self, features: Tensor) -> Tensor:
        classifier = self.model.get_classifier()
        if isinstance(classifier, nn.Conv2d):  # some networks classify by a 1x1 convolution
            features = features[:, :, None, None]
        return classifier(features).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def timm_model(num_classes: int, channels: int, size: int, model: str) -> TimmNetwork:
    """The timm network `model` for images of `channels` x `size` x `size`.

    These variants are tried in turn: patches of an eighth of the image; smaller patches and windows; only the image
    size set; only smaller patches; the network unchanged. A ResNet's stem becomes 3x3 with stride 1, without pooling.
    The first variant that runs with a last feature map larger than 1x1 is taken, otherwise the first that runs.

    Args:
        model: a name in `timm.list_models()`.
    Raises:
        ValueError: timm has no such network, or no variant runs on such images.
    """
    import timm

    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('_')[0]}*")[:5]
        raise ValueError(
            f"network.model={model}: timm has no such network" + (f"; near: {', '.join(near)}" if near else "")
        )
    patch = max(size // 8, 1)
    fits: list[dict[str, Any]] = [
        {"img_size": size, "patch_size": patch},
        {"img_size": size, "patch_size": max(patch // 2, 1), "window_size": size // 8},
        {"img_size": size},
        {"patch_size": max(patch // 2, 1)},
        {},
    ]
    fallback, reason = None, ""
    for fit in fits:
        try:
            built = timm.create_model(model, num_classes=num_classes, in_chans=channels, **fit)
            _small_stem(built, channels)
            network = TimmNetwork(built)
            pixels = _map_size(network, num_classes, channels, size)
            if pixels is None:
                continue
            if pixels > 1:
                return network
            fallback = fallback or network
        except Exception as error:  # timm's networks raise many different errors for a size they do not support
            reason = (str(error).splitlines() or [type(error).__name__])[0]
    if fallback is not None:
        return fallback
    raise ValueError(f"network.model={model}: cannot be built for {channels}x{size}x{size} images ({reason})")


def _small_stem(model: Any, channels: int) -> None:
    stem = getattr(model, "conv1", None)
    if isinstance(stem, nn.Conv2d) and isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.conv1 = nn.Conv2d(channels, stem.out_channels, 3, padding=1, bias=stem.bias is not None)
        model.maxpool = nn.Identity()


@torch.no_grad()
def _map_size(network: TimmNetwork, num_classes: int, channels: int, size: int) -> int | None:
    """The number of pixels or tokens before the head; None unless the head of the features gives the (B, C) logits."""
    images = torch.zeros(2, channels, size, size)
    network.eval()
    features = network.features(images)
    good = features.dim() == 2 and network.head(features).shape == (2, num_classes)
    good = good and torch.allclose(network.head(features), network.model(images), atol=1e-4)
    whole = network.model.forward_features(images)
    network.train()
    if not good:
        return None
    return whole.shape[1] if whole.dim() == 3 else whole[0].numel() // network.model.num_features
