"""A network with its optimizer: everything that one gradient step needs."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Schedule = Callable[[int, int], float]


class Learner(nn.Module):
    """Network, optimizer, schedule, clipping and precision.

    Args:
        network: `images (B, channels, H, W) -> logits (B, C)`, on its device.
        make_optimizer: parameters -> optimizer.
        schedule: `(epoch, epochs)` -> factor on the optimizer's learning rate.
        epochs: length of the run.
        clip_norm: largest global L2 norm of the gradient, or None.
        compile: run the network through torch.compile.
        precision: of the network's arithmetic, float32 or bfloat16 (by autocast; weights stay float32).
    """

    def __init__(
        self,
        network: nn.Module,
        make_optimizer: MakeOptimizer,
        schedule: Schedule,
        epochs: int,
        clip_norm: float | None,
        precision: torch.dtype,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        # A function, not torch.compile(network): that is a module, whose weights the state would hold twice.
        self._run = torch.compile(network.forward) if compile else network.__call__
        self._weights = list(network.parameters())
        self.optimizer = make_optimizer(self._weights)
        for group in self.optimizer.param_groups:
            if "capturable" in group:  # Adam counts its steps on the device then, as a CUDA graph needs
                group["capturable"] = self._weights[0].is_cuda
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._schedule, self._epochs, self._clip_norm, self._precision = schedule, epochs, clip_norm, precision

    def forward(self, images: Tensor) -> Tensor:
        """Logits. Shapes: (B, channels, H, W) -> (B, C), in the run's precision."""
        with torch.autocast(images.device.type, self._precision, enabled=self._precision != torch.float32):
            return self._run(images)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of this epoch (from 0) and go to training mode."""
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._schedule(epoch, self._epochs)
        self.train()

    def update(self, loss: Tensor) -> None:
        """One optimizer step down the gradient of `loss` (0-d)."""
        for weight in self._weights:  # what the optimizer's zero_grad does, without its hooks
            weight.grad = None
        loss.backward()
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        self.optimizer.step()

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state, so that a method's `state_dict()` is all of it."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state)
