"""Pre-activation ResNet-18 for small images (He et al. 2016, arXiv:1603.05027)."""

import torch
from torch import Tensor, nn

from labelnoise.networks.base import BatchNormReLU, Conv3x3, Network


class PreActBlock(nn.Module):
    """Two 3x3 convolutions, each after batch normalisation and ReLU; the shortcut shares the first activation."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.act1, self.act2 = BatchNormReLU(channels), BatchNormReLU(width)
        self.conv1 = Conv3x3(channels, width, stride, bias=False)
        self.conv2 = Conv3x3(width, width, bias=False)
        self.shortcut = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        activated = self.act1(x)
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        return torch.add(self.conv2(self.act2(self.conv1(activated))), shortcut)


def preact_resnet18(num_classes: int, channels: int, size: int) -> Network:
    """Four stages of two blocks, widths 64 to 512, global average pooling; PyTorch's default initialisation."""
    layers: list[nn.Module] = [Conv3x3(channels, 64, bias=False)]
    width = 64
    for stage, out in enumerate((64, 128, 256, 512)):
        layers += [PreActBlock(width, out, stride=1 if stage == 0 else 2), PreActBlock(out, out, stride=1)]
        width = out
    body = nn.Sequential(*layers, BatchNormReLU(width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(body, nn.Linear(width, num_classes))
