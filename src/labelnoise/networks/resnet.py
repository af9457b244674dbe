"""Residual networks for small images (He et al. 2015, arXiv:1512.03385): torchvision's, with an unpooled 3x3 stem."""

from torch import Tensor, nn

from labelnoise.networks.base import BatchNormReLU, Conv3x3, Network, kaiming_xavier_


class BasicBlock(nn.Module):
    """torchvision's block, with each ReLU, and the sum before the last, moved into the batch normalisation.

    Its modules have the same names and are made in the same order, so the same seed gives the same weights. The
    arguments are those that torchvision's ResNet passes; those that these networks do not use must keep their defaults.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: object = None,
    ) -> None:
        super().__init__()
        assert (groups, base_width, dilation) == (1, 64, 1)
        self.conv1 = Conv3x3(inplanes, planes, stride, bias=False)
        self.bn1 = BatchNormReLU(planes)
        self.conv2 = Conv3x3(planes, planes, bias=False)
        self.bn2 = BatchNormReLU(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn2(self.conv2(self.bn1(self.conv1(x))), shortcut)


def _resnet(layers: list[int], num_classes: int, channels: int) -> Network:
    from torchvision.models import ResNet

    body = ResNet(BasicBlock, layers, num_classes)
    body.conv1 = Conv3x3(channels, 64, bias=False)
    body.bn1, body.relu, body.maxpool = BatchNormReLU(64), nn.Identity(), nn.Identity()
    head, body.fc = body.fc, nn.Identity()
    network = Network(body, head)
    kaiming_xavier_(network)
    return network


def resnet34(num_classes: int, channels: int, size: int) -> Network:
    """ResNet-34: the network for CIFAR-100, with 21,328,292 parameters there. Initialised as in zhou2021's code."""
    return _resnet([3, 4, 6, 3], num_classes, channels)


def resnet18(num_classes: int, channels: int, size: int) -> Network:
    """ResNet-18. Initialised as in zhou2021's code."""
    return _resnet([2, 2, 2, 2], num_classes, channels)
