"""A teacher: a network whose weights are the exponential moving average of a learner's."""

import copy

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from labelnoise.training.learner import Learner


class Teacher(nn.Module):
    """The mean teacher of a learner.

    It uses torch's averaging function, but not AveragedModel, which waits for the device at every update to find out
    whether it is the first.

    Args:
        learner: the learner whose network is averaged.
        decay: weight of the old average at each update, in [0, 1).
    Raises:
        ValueError: decay out of range.
    Source: Tarvainen, Valpola 2017, arXiv:1703.01780, equation 1.
    """

    def __init__(self, learner: Learner, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: must be a number with decay >= 0 and < 1")
        self.network = copy.deepcopy(learner.network).requires_grad_(False)
        self._average, self._precision = get_ema_multi_avg_fn(decay), learner.precision

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits, in the learner's precision. Shapes: (B, channels, H, W) -> (B, C)."""
        with torch.autocast(images.device.type, self._precision, enabled=self._precision != torch.float32):
            return self.network(images)

    @torch.no_grad()
    def follow(self, learner: Learner) -> None:
        """Update the average. Buffers, such as running means, are copied."""
        self._average(list(self.network.parameters()), list(learner.network.parameters()), None)
        for mine, theirs in zip(self.network.buffers(), learner.network.buffers(), strict=True):
            mine.copy_(theirs)
