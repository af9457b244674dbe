"""Any timm network: adapted to small images, or as it is for larger ones and with pretrained weights."""

from typing import Any

import torch
from torch import Tensor, nn

SMALL = 64  # pixels, up to which stems and patches are made smaller


class TimmNetwork(nn.Module):
    """A timm model split into `features(images) -> (B, D)` and `head(features) -> (B, C)`.

    A distilled network has two classifiers on two tokens: its features are both tokens, its logits the mean of both.

    Args:
        model: of timm.
        frozen: whether only the last layer learns; the rest stays as it is, running statistics too.
    Attributes:
        num_features: D.
    """

    def __init__(self, model: Any, frozen: bool = False) -> None:
        super().__init__()
        self.model, self.frozen = model, frozen
        classifiers = model.get_classifier()
        self._two = isinstance(classifiers, tuple)
        first = classifiers[0] if self._two else classifiers
        inputs = first.in_channels if isinstance(first, nn.Conv2d) else first.in_features
        self.num_features: int = 2 * inputs if self._two else inputs
        if frozen:
            model.requires_grad_(False)
            for classifier in classifiers if self._two else [classifiers]:
                classifier.requires_grad_(True)
            model.eval()

    def train(self, mode: bool = True) -> "TimmNetwork":
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        found = self.model.forward_features(images)
        return found[:, :2].flatten(1) if self._two else self.model.forward_head(found, pre_logits=True)

    def head(self, features: Tensor) -> Tensor:
        classifier = self.model.get_classifier()
        if self._two:
            parts = features.chunk(2, dim=1)
            return sum(one(part) for one, part in zip(classifier, parts, strict=True)) / 2
        if isinstance(classifier, nn.Conv2d):  # some networks classify by a 1x1 convolution
            features = features[:, :, None, None]
        return classifier(features).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


def timm_model(
    num_classes: int,
    channels: int,
    size: int,
    model: str,
    pretrained: bool = False,
    weights: str | None = None,
    frozen: bool = False,
    begin: bool = True,
) -> TimmNetwork:
    """The timm network `model` for images of `channels` x `size` x `size`.

    Up to 64 pixels, without other weights, these variants are tried in turn: patches of an eighth of the image; smaller
    patches and windows; only the image size set; only smaller patches; the network unchanged. A ResNet's stem becomes
    3x3 with stride 1, without pooling. The first variant that runs with a last feature map larger than 1x1 is taken,
    otherwise the first that runs. Larger images, and pretrained weights, have the network's own stem and patches.

    Args:
        model: a name in `timm.list_models()`.
        pretrained: whether to begin with published weights, see `networks.pretrained.published`.
        weights: a file of weights to begin with, see `networks.pretrained.from_file`; the last layer is new if it is
            of other classes.
        frozen: whether only the last layer learns.
        begin: false: the same network, but the weights are not read, because others follow.
    Raises:
        ValueError: timm has no such network, no variant runs on such images, or the weights are not there or of another
            network.
    """
    import timm

    from labelnoise.networks.pretrained import begin_with, from_file, published, refuse_unknown

    refuse_unknown(model)
    given, own = None, pretrained or weights is not None
    if own and begin:
        given = published(model) if weights is None else from_file(weights)
    small = size <= SMALL and not own
    fallback, reasons = None, []
    for fit in _small_fits(size) if small else [{"img_size": size}, {}]:
        try:
            built = timm.create_model(model, num_classes=num_classes, in_chans=channels, **fit)
            if small:
                _small_stem(built, channels)
            network = TimmNetwork(built, frozen)
            pixels = _map_size(network, num_classes, channels, size)
        except Exception as error:  # timm's networks raise many different errors for a size they do not support
            if not (
                isinstance(error, TypeError) and "unexpected keyword argument" in str(error)
            ):  # it has no such size
                reasons.append((str(error).splitlines() or [type(error).__name__])[0])
            continue
        if given is not None:
            begin_with(network, given, f"network.weights={weights}" if weights else "network.pretrained=true")
        if pixels > 1 or not small:
            return network
        fallback = fallback or network
    if fallback is not None:
        return fallback
    reason = reasons[0] if reasons else "it takes no images"
    raise ValueError(f"network.model={model}: cannot be built for {channels}x{size}x{size} images ({reason})")


def _small_fits(size: int) -> list[dict[str, Any]]:
    patch = max(size // 8, 1)
    return [
        {"img_size": size, "patch_size": patch},
        {"img_size": size, "patch_size": max(patch // 2, 1), "window_size": size // 8},
        {"img_size": size},
        {"patch_size": max(patch // 2, 1)},
        {},
    ]


def _small_stem(model: Any, channels: int) -> None:
    stem = getattr(model, "conv1", None)
    if isinstance(stem, nn.Conv2d) and isinstance(getattr(model, "maxpool", None), nn.MaxPool2d):
        model.conv1 = nn.Conv2d(channels, stem.out_channels, 3, padding=1, bias=stem.bias is not None)
        model.maxpool = nn.Identity()


@torch.no_grad()
def _map_size(network: TimmNetwork, num_classes: int, channels: int, size: int) -> int:
    """The number of pixels or tokens before the head.

    Raises:
        ValueError: the head of the features does not give the network's own logits (B, C).
    """
    images = torch.zeros(2, channels, size, size)
    network.eval()
    features = network.features(images)
    if features.dim() != 2:
        raise ValueError(f"its features have shape {tuple(features.shape)}, must be (B, D)")
    logits = network.head(features)
    if logits.shape != (2, num_classes) or not torch.allclose(logits, network.model(images), atol=1e-4):
        raise ValueError("its logits are not those of a last layer on its features")
    whole = network.model.forward_features(images)
    network.train()
    return whole.shape[1] if whole.dim() == 3 else whole[0].numel() // network.model.num_features
