"""A trained network that a method asks and does not change: a teacher that was saved."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Scale = tuple[Sequence[float], Sequence[float]]


class Frozen(nn.Module):
    """Logits of a network in evaluation mode, without gradients.

    Args:
        network: `images (B, channels, H, W) -> (B, C or more)`, on its device.
        num_classes: C; further outputs are left out.
        precision: of the network's arithmetic, float32 or bfloat16.
        trained: mean and std of each channel, in [0, 1] units, by which the network's images were normalised.
        given: those by which the images that it is asked about are normalised.
    """

    factor: Tensor
    shift: Tensor

    def __init__(
        self, network: nn.Module, num_classes: int, precision: torch.dtype, trained: Scale, given: Scale
    ) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).to(memory_format=torch.channels_last)
        self._num_classes, self._precision = num_classes, precision
        mean, std, new_mean, new_std = (torch.tensor(v, dtype=torch.float64) for v in (*trained, *given))
        # (x new_std + new_mean - mean) / std; exactly x where both are the same
        self.register_buffer("factor", (new_std / std).float()[:, None, None], persistent=False)
        self.register_buffer("shift", ((new_mean - mean) / std).float()[:, None, None], persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> "Frozen":
        """Stays in evaluation mode: its running statistics do not change."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits. Shapes: (B, channels, H, W), normalised as `given` -> (B, C)."""
        with torch.autocast(images.device.type, self._precision, enabled=self._precision != torch.float32):
            return self.network(images * self.factor + self.shift)[:, : self._num_classes]
