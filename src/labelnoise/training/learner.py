"""A network with its optimizer, schedule, clipping and precision."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call

MakeNetwork = Callable[[int, int, int], nn.Module]
MakeOptimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
Schedule = Callable[[int, int], float]
Penalty = Callable[[list[nn.Parameter]], Tensor]

# Device types on which the learning rate is a tensor on the device, which a CUDA graph reads at every replay. On a CPU
# it stays a number, so that records equal earlier ones.
TENSOR_RATES = ("cuda",)
BY_DEVICE = {"capturable", "fused", "foreach"}  # an optimizer's settings that depend on the device
FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # accept a tensor rate without synchronising


class Learner(nn.Module):
    """Network, optimizer, schedule, clipping and precision.

    Args:
        network: `images (B, channels, H, W) -> logits (B, C)`, on its device.
        make_optimizer: parameters -> optimizer.
        schedule: `(epoch, epochs) -> factor` on the optimizer's learning rate.
        epochs: length of the run.
        clip_norm: largest global L2 norm of the gradient, or None.
        precision: of the network's arithmetic, float32 or bfloat16 (by autocast; weights stay float32).
        compile: whether to run the network through torch.compile.
        penalty: `weights -> 0-d`, a regulariser of the weights that is added to every loss; or None.
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
        penalty: Penalty | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        # Not torch.compile(network), which is a module: its weights would be in the state twice.
        self._run = torch.compile(network.forward) if compile else network.__call__
        self._weights = list(network.parameters())
        self.optimizer = make_optimizer(self._weights)
        self._rates = [group["lr"] for group in self.optimizer.param_groups]
        self._on_device: list[Tensor] | None = None
        device = self._weights[0].device
        if device.type in TENSOR_RATES and type(self.optimizer) in FUSED:
            self._on_device = [torch.tensor(float(rate), device=device) for rate in self._rates]
        for group in self.optimizer.param_groups:
            if "capturable" in group:  # Adam then counts its steps on the device, as CUDA graphs require
                group["capturable"] = self._weights[0].is_cuda
            if self._on_device is not None:
                group["fused"], group["foreach"] = True, False
        self._by_device = [{k: group[k] for k in BY_DEVICE & group.keys()} for group in self.optimizer.param_groups]
        self._schedule, self._first, self._epochs, self._clip_norm = schedule, 0, epochs, clip_norm
        self.precision, self._penalty = precision, penalty

    def forward(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits, in the run's precision. Shapes: (B, channels, H, W) -> (B, C).

        Args:
            weights: from `lookahead`, used instead of the network's own.
        """
        with self._autocast(images):
            if weights is None:
                return self._run(images)
            # Copies of the buffers, so that the virtual weights do not change the running statistics.
            buffers = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
            return functional_call(self.network, {**buffers, **weights}, (images,))

    def with_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and the penultimate features. Shapes: (B, channels, H, W) -> (B, C), (B, D)."""
        network: Any = self.network
        with self._autocast(images):
            features = network.features(images)
            return network.head(features), features

    def head(self, features: Tensor) -> Tensor:
        """Logits of penultimate features. Shapes: (B, D) -> (B, C)."""
        network: Any = self.network
        with self._autocast(features):
            return network.head(features)

    def _autocast(self, inputs: Tensor) -> torch.autocast:
        return torch.autocast(inputs.device.type, self.precision, enabled=self.precision != torch.float32)

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch (from 0)."""
        factor = self._schedule(max(epoch - self._first, 0), self._epochs)
        for i, (group, rate) in enumerate(zip(self.optimizer.param_groups, self._rates, strict=True)):
            group["lr"] = rate * factor if self._on_device is None else self._on_device[i].fill_(rate * factor)

    def learn_during(self, first: int, epochs: int) -> None:
        """Run the schedule over a part of the run, for a network that a method trains in one stage only.

        Args:
            first: the first epoch of the stage, from 0.
            epochs: its length.
        """
        self._first, self._epochs = first, epochs

    def lookahead(self, loss: Tensor) -> dict[str, Tensor]:
        """The weights after a virtual SGD step on `loss` (0-d), differentiable. The network itself does not change."""
        named = dict(self.network.named_parameters())
        gradients = torch.autograd.grad(loss, list(named.values()), create_graph=True)
        rate = self.optimizer.param_groups[0]["lr"]
        return {name: weight - rate * g for (name, weight), g in zip(named.items(), gradients, strict=True)}

    def update(self, loss: Tensor) -> None:
        """One optimizer step on `loss` (0-d)."""
        for weight in self._weights:  # as the optimizer's zero_grad, without its hooks
            weight.grad = None
        (loss if self._penalty is None else loss + self._penalty(self._weights)).backward()
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        self.optimizer.step()

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state, so that a method's `state_dict()` includes it."""
        return self.optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Load the optimizer's state, but keep settings that depend on the device: a run may resume on another one."""
        groups = [group | own for group, own in zip(state["param_groups"], self._by_device, strict=True)]
        self.optimizer.load_state_dict({**state, "param_groups": groups})


class MakeLearner(Protocol):
    """Makes a learner from the configuration; an argument that is given replaces the configured part.

    The initial weights of the n-th network depend only on seed_init and n.

    Args:
        network: `(num_classes, channels, size) -> network`.
        optimizer: parameters -> optimizer.
        schedule: `(epoch, epochs) -> factor`.
        extra_outputs: number of logits beyond one per class.
    """

    def __call__(
        self,
        *,
        network: MakeNetwork | None = None,
        optimizer: MakeOptimizer | None = None,
        schedule: Schedule | None = None,
        extra_outputs: int = 0,
    ) -> Learner: ...
