"""A network with its optimizer, schedule, clipping and precision."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, cast

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
        during: the epochs over which the schedule runs, from its first value to its last.
        clip_norm: largest global L2 norm of the gradient, or None.
        precision: of the network's arithmetic, float32 or bfloat16 (by autocast; weights stay float32).
        compile: whether to run the network through torch.compile.
        penalty: `weights -> 0-d`, a regulariser of the weights that is added to every loss; or None.
        make_again: n -> the network with the initial weights of its n-th start, from 1, on the CPU; for `restart`.
    Attributes:
        during: as above; a method may change it.
    """

    def __init__(
        self,
        network: nn.Module,
        make_optimizer: MakeOptimizer,
        schedule: Schedule,
        during: range,
        clip_norm: float | None,
        precision: torch.dtype,
        compile: bool = False,
        penalty: Penalty | None = None,
        make_again: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        # Not torch.compile(network), which is a module: its weights would be in the state twice.
        self._run = torch.compile(network.forward) if compile else network.__call__
        self._weights = [weight for weight in network.parameters() if weight.requires_grad]
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
        self.schedule, self.during, self._clip_norm = schedule, during, clip_norm
        self.precision, self._penalty = precision, penalty
        self._make_again, self._starts = make_again, 0

    def forward(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits: in training in the run's precision, in evaluation as float32. Shapes: (B, channels, H, W) -> (B, C).

        Args:
            weights: from `lookahead`, used instead of the network's own.
        """
        with self._autocast(images):
            logits = self._run(images) if weights is None else self._with(weights, self.network, images)
        return logits if self.training or logits.dtype != torch.bfloat16 else logits.float()

    def with_features(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """Logits and the penultimate features. Shapes: (B, channels, H, W) -> (B, C), (B, num_features).

        Args:
            weights: as in `forward`.
        """
        both = _WithFeatures(self.network)
        with self._autocast(images):
            return both(images) if weights is None else self._with(weights, both, images)

    @torch.no_grad()
    def evaluated(self, images: Tensor) -> Tensor:
        """Logits as in evaluation, without gradients, also in the middle of a step: as a teacher's.

        Shapes: (B, channels, H, W) -> (B, C).
        """
        training = self.training
        self.eval()
        logits = self(images)
        self.train(training)
        return logits

    @property
    def num_features(self) -> int:
        """D, the number of penultimate features of an image."""
        return cast(int, self.network.num_features)

    def head(self, features: Tensor) -> Tensor:
        """Logits of penultimate features. Shapes: (B, D) -> (B, C)."""
        network: Any = self.network
        with self._autocast(features):
            return network.head(features)

    def _autocast(self, inputs: Tensor) -> torch.autocast:
        return torch.autocast(inputs.device.type, self.precision, enabled=self.precision != torch.float32)

    def _with(self, weights: dict[str, Tensor], module: nn.Module, images: Tensor) -> Any:
        """The output of the network, or of a module around it, at other weights. Its buffers, such as running
        statistics, do not change."""
        state = {**{name: buffer.clone() for name, buffer in self.network.named_buffers()}, **weights}
        prefix = "" if module is self.network else "network."
        return functional_call(module, {prefix + name: value for name, value in state.items()}, (images,))

    def begin_epoch(self, epoch: int) -> None:
        """Set the learning rate of an epoch (from 0)."""
        factor = self.schedule(max(epoch - self.during.start, 0), max(len(self.during), 1))
        for i, (group, rate) in enumerate(zip(self.optimizer.param_groups, self._rates, strict=True)):
            group["lr"] = rate * factor if self._on_device is None else self._on_device[i].fill_(rate * factor)

    def restart(self, during: range) -> None:
        """Start anew in place, in a stage's first epoch: new initial weights, and an optimizer without a past.

        The weights depend only on seed_init, on which network of the run this is, and on how often it was restarted.

        Args:
            during: the stage's epochs; the schedule now runs over these.
        """
        if self._make_again is None:
            raise ValueError("a learner that was given a network, not a function that makes one, cannot be restarted")
        self._starts, self.during = self._starts + 1, during
        fresh = self._make_again(self._starts).state_dict()
        for name, value in self.network.state_dict().items():
            value.copy_(fresh[name])
        self.optimizer.state.clear()
        self.begin_epoch(during.start)

    def lookahead(
        self,
        loss: Tensor,
        weights: dict[str, Tensor] | None = None,
        rate: float | Tensor | None = None,
        create_graph: bool = True,
    ) -> dict[str, Tensor]:
        """The weights after a virtual SGD step on `loss` (0-d), in their layout. The network itself does not change.

        Args:
            weights: at which `loss` was computed, from an earlier `lookahead`; None: the network's own.
            rate: of the step; None: the optimizer's present learning rate.
            create_graph: whether they are differentiable in what the step's gradient depends on.
        """
        named = dict(self.network.named_parameters()) if weights is None else weights
        gradients = torch.autograd.grad(loss, list(named.values()), create_graph=create_graph, retain_graph=True)
        rate = self.optimizer.param_groups[0]["lr"] if rate is None else rate
        return {name: weight.clone().sub_(rate * g) for (name, weight), g in zip(named.items(), gradients, strict=True)}

    def update(self, loss: Tensor) -> None:
        """One optimizer step on `loss` (0-d). Only this network's weights get a gradient."""
        for weight in self._weights:  # as the optimizer's zero_grad, without its hooks
            weight.grad = None
        (loss if self._penalty is None else loss + self._penalty(self._weights)).backward(inputs=self._weights)
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._weights, self._clip_norm)
        self.optimizer.step()

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state and that of `restart`, so that a method's `state_dict()` includes them."""
        during = [self.during.start, self.during.stop]
        return {**self.optimizer.state_dict(), "starts": self._starts, "during": during}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Load it, but keep settings that depend on the device: a run may resume on another one."""
        self._starts, self.during = state["starts"], range(*state["during"])
        groups = [group | own for group, own in zip(state["param_groups"], self._by_device, strict=True)]
        self.optimizer.load_state_dict({"state": state["state"], "param_groups": groups})


class _WithFeatures(nn.Module):
    """A network whose output is both logits and features, as a module: `functional_call` calls nothing else."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        network: Any = self.network
        features = network.features(images)
        return network.head(features), features


class Learners(nn.ModuleList):
    """Several learners, for a method with more than one network."""

    def __init__(self, learners: Iterable[Learner]) -> None:
        super().__init__(learners)

    def __iter__(self) -> Iterator[Learner]:
        return cast(Iterator[Learner], super().__iter__())

    def __getitem__(self, k: int) -> Learner:  # type: ignore[override]  # slices of learners serve nobody
        return cast(Learner, super().__getitem__(k))


class MakeLearner(Protocol):
    """Makes a learner from the configuration; an argument that is given replaces the configured part.

    The initial weights of the n-th network depend only on seed_init and n.

    Args:
        network: `(num_classes, channels, size) -> network`.
        optimizer: parameters -> optimizer.
        schedule: `(epoch, epochs) -> factor`.
        extra_outputs: number of logits beyond one per class.
        during: the epochs over which the schedule runs, for a network that is trained in one stage only; the whole run
            by default.
    """

    def __call__(
        self,
        *,
        network: MakeNetwork | None = None,
        optimizer: MakeOptimizer | None = None,
        schedule: Schedule | None = None,
        extra_outputs: int = 0,
        during: range | None = None,
    ) -> Learner: ...
