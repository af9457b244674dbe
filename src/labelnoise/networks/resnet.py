"""Residual networks for small images (He et al. 2015, arXiv:1512.03385): torchvision's with a 3x3 stem, unpooled."""

from torch import nn

from labelnoise.networks.base import Network, kaiming_xavier_


def _resnet(name: str, num_classes: int, channels: int) -> Network:
    from torchvision import models

    body = getattr(models, name)(num_classes=num_classes)
    body.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
    body.maxpool = nn.Identity()
    head, body.fc = body.fc, nn.Identity()
    network = Network(body, head)
    kaiming_xavier_(network)
    return network


def resnet34(num_classes: int, channels: int, size: int) -> Network:
    """ResNet-34: CIFAR-100's network, 21,328,292 parameters there. First weights as released with zhou2021."""
    return _resnet("resnet34", num_classes, channels)


def resnet18(num_classes: int, channels: int, size: int) -> Network:
    """ResNet-18. First weights as released with zhou2021."""
    return _resnet("resnet18", num_classes, channels)
