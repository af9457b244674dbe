"""Shared by the networks: the split into features and head, the layers between convolutions, the initialisation.

A function `(num_classes, channels, size) -> Network` makes a network for images of `channels` x `size` x `size`.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.cpu import batch_norm_relu, batch_norm_relu_evaluated, convolve3x3


def sides(shape: Sequence[int]) -> tuple[int, int]:
    """A network's `channels` and `size`, from the shape of an image, (channels, H, W), or a vector, (D,): D and 1."""
    return shape[0], shape[-1] if len(shape) == 3 else 1


class Network(nn.Module):
    """A body that gives features and a linear head that gives logits.

    `features(images (B, channels, H, W)) -> (B, D)`, `head(features) -> (B, C)`; the network applies both.

    Attributes:
        num_features: D.
    """

    def __init__(self, body: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.body, self.head, self.num_features = body, head, head.in_features

    def features(self, images: Tensor) -> Tensor:
        return self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


class BatchNormReLU(nn.BatchNorm2d):
    """Batch normalisation and ReLU, then 2x2 max-pooling if `pool`: the layers between two convolutions.

    A residual, if given, is added before the ReLU. On the CPU, training runs in fused kernels, and so does evaluation
    without a residual; everything else runs in plain torch.

    Shapes: (B, channels, H, W), residual the same -> the same, or (B, channels, H // 2, W // 2).
    Args:
        eps, momentum, affine: as in `nn.BatchNorm2d`.
    """

    def __init__(
        self, channels: int, pool: bool = False, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True
    ) -> None:
        super().__init__(channels, eps, momentum, affine)
        self.pool = pool

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        if self.affine and self.running_mean is not None and self.running_var is not None:
            numbers = (self.weight, self.bias, self.running_mean, self.running_var)
            if self.training:
                return batch_norm_relu(x, *numbers, self._count_batch(), self.eps, residual, self.pool)
            if residual is None:
                return batch_norm_relu_evaluated(x, *numbers, self.eps, self.pool)
        x = super().forward(x)
        x = F.relu(x if residual is None else x + residual)
        return F.max_pool2d(x, 2) if self.pool else x

    def _count_batch(self) -> float:
        """This batch's weight in the running statistics: `momentum`, or 1 / batches so far if that is None."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum


class Conv3x3(nn.Conv2d):
    """A 3x3 convolution with zero padding; on the CPU by Winograd's method where that is faster.

    Shapes: (B, channels, H, W) -> (B, width, H // stride, W // stride), rounded up.
    """

    def __init__(self, channels: int, width: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(channels, width, 3, stride, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return convolve3x3(x, self.weight, self.bias) if self.stride == (1, 1) else super().forward(x)


def kaiming_xavier_(network: nn.Module) -> None:
    """Kaiming-uniform convolutions (fan-in, ReLU) and Xavier-uniform linear weights; PyTorch's default for biases.

    Source: the code released with Ma et al. 2020 (arXiv:2006.13554) and Zhou et al. 2021 (arXiv:2106.03110).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight, mode="fan_in", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
