"""The plain convolutional networks of Ma et al. 2020 (arXiv:2006.13554) and Zhou et al. 2021 (arXiv:2106.03110)."""

from torch import nn

from labelnoise.networks.base import BatchNormReLU, Conv3x3, Network, kaiming_xavier_


def _cnn(widths: list[list[int]], hidden: int, num_classes: int, channels: int, size: int) -> Network:
    """Blocks of 3x3 convolutions, each block ending in 2x2 max-pooling, then one hidden layer."""
    layers: list[nn.Module] = []
    for block in widths:
        for position, width in enumerate(block):
            layers += [Conv3x3(channels, width), BatchNormReLU(width, pool=position == len(block) - 1)]
            channels = width
        size //= 2
    body = nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(channels * size * size, hidden), nn.BatchNorm1d(hidden), nn.ReLU()
    )
    network = Network(body, nn.Linear(hidden, num_classes))
    kaiming_xavier_(network)
    return network


def cnn4(num_classes: int, channels: int, size: int) -> Network:
    """Two convolutions and two linear layers: the network for MNIST, with 422,090 parameters there."""
    return _cnn([[32], [64]], 128, num_classes, channels, size)


def cnn8(num_classes: int, channels: int, size: int) -> Network:
    """Six convolutions and two linear layers: the network for CIFAR-10, with 1,639,794 parameters there."""
    return _cnn([[64, 64], [128, 128], [196, 196]], 256, num_classes, channels, size)
