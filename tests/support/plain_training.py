"""A training in plain torch, and the project's beside it in float64: what the tests of training steps share.

A plain loop takes nothing of the project but the first weights and the draws. Networks, views, gradients, clipping,
optimizers and schedules are written here once more; a test adds the equations of its method.

The draws: order, crops, flips and mixup's partners come from one generator with seed 3; Dirichlet shares and first
values of parameters from torch's default generator, with seed 3 after the networks were made.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import hydra
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.config.compose import compose
from labelnoise.data.dataset import Dataset
from labelnoise.data.split import split
from labelnoise.experiment.assemble import assemble
from labelnoise.experiment.components import Components
from labelnoise.training.device import Runtime
from labelnoise.training.loop import fit
from labelnoise.training.method import Method, StepResult
from labelnoise.training.state import TrainState

CLASSES, SIZE, PADDING = 10, 8, 4
BATCH, STEPS_AN_EPOCH, LEFT = 8, 13, 5
IMAGES = BATCH * (STEPS_AN_EPOCH - 1) + LEFT
WRONG = 0.4
SEED = 3
MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.3, 0.2)
RATES = {"sgd": 0.01, "adam": 0.001}
SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "cosine": lambda epoch, epochs: 0.5 * (1 + math.cos(math.pi * epoch / epochs)),
    "constant": lambda epoch, epochs: 1.0,
}


class Pictures(NamedTuple):
    """Random images (N, 3, H, W), uint8, whose brightness hints at their class; given and true labels (N,)."""

    images: Tensor
    labels: Tensor
    truth: Tensor


def pictures(wrong: float = 0.0) -> Pictures:
    """A share `wrong` of the labels is moved to another class."""
    draw = torch.Generator().manual_seed(7)
    truth = torch.randint(0, CLASSES, (IMAGES,), generator=draw)
    noise = torch.randint(0, 100, (IMAGES, 3, SIZE, SIZE), generator=draw)
    images = (noise + 15 * truth[:, None, None, None]).to(torch.uint8)
    moved = torch.rand(IMAGES, generator=draw) < wrong
    shift = torch.randint(1, CLASSES, (IMAGES,), generator=draw)
    return Pictures(images, torch.where(moved, (truth + shift) % CLASSES, truth), truth)


# --------------------------------------------------------------------------------------------------------- plain loops


class Plain:
    """Networks, their optimizers and the draws of a plain loop.

    Attributes:
        images, labels, truth: (N, 3, H, W) uint8, (N,) given, (N,) true.
        trusted, trusted_labels: the same of the trusted images.
        network, networks: the first one, and all.
        losses: of every step.
        memory: a buffer of the method -> what the plain loop has in its place at the end.
        norms: of the gradients before clipping.
        starts: of each network, the first weights of its further starts, in order.
    """

    def __init__(
        self, data: Pictures, networks: list[nn.Module], epochs: int, optimizer: str, clip_norm: float, trusted: int
    ) -> None:
        kept, _, few = split(data.truth, 0, trusted, SEED)  # a draw: which images are trusted
        self.images, self.labels, self.truth = (part[kept] for part in data)
        self.trusted, self.trusted_labels = data.images[few], data.truth[few]
        self.network, self.networks, self.length = networks[0], networks, epochs
        self.draws = torch.Generator().manual_seed(SEED)
        self._make, self.full_rate = {"sgd": Sgd, "adam": Adam}[optimizer], RATES[optimizer]
        self._optimizers, self._clip_norm = [self._make(list(network.parameters())) for network in networks], clip_norm
        self.losses: list[float] = []
        self.memory: dict[str, Tensor] = {}
        self.norms: list[float] = []
        self.starts: list[list[list[Tensor]]] = [[] for _ in networks]

    def __len__(self) -> int:
        return len(self.labels)

    def epochs(self, schedule: str = "cosine") -> Iterator[int]:
        for epoch in range(self.length):
            self.rate = self.full_rate * SCHEDULES[schedule](epoch, self.length)
            yield epoch

    def batches(self, among: Tensor | None = None) -> list[Tensor]:
        """All positions, or those given, in a random order; what would be a batch of one joins the one before."""
        among = torch.arange(len(self)) if among is None else among
        return self.portions(among[torch.randperm(len(among), generator=self.draws)])

    @staticmethod
    def portions(order: Tensor) -> list[Tensor]:
        last = len(order) - 1 if len(order) % BATCH == 1 and len(order) > 1 else len(order)
        starts = list(range(0, last, BATCH))
        return [order[start:end] for start, end in zip(starts, [*starts[1:], len(order)], strict=True)]

    def view(self, index: Tensor, images: Tensor | None = None) -> Tensor:
        """A shifted and flipped view. Shapes: (B,) -> (B, 3, H, W), float64."""
        return normalised(shifted_and_flipped((self.images if images is None else images)[index], self.draws))

    def still(self) -> Tensor:
        """All images without augmentation. Shapes: -> (N, 3, H, W), float64."""
        return normalised(self.images)

    @torch.no_grad()
    def restart(self, k: int = 0) -> None:
        """Network k starts anew: other first weights, new running statistics, an optimizer without a past."""
        for mine, first in zip(self.networks[k].parameters(), self.starts[k].pop(0), strict=True):
            mine.copy_(first)
        for layer in self.networks[k].modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.reset_running_stats()
        self.forget(k)

    def forget(self, k: int = 0) -> None:
        """Network k goes on with an optimizer without a past."""
        self._optimizers[k] = self._make(list(self.networks[k].parameters()))

    @torch.no_grad()
    def predicted(self, k: int = 0) -> Tensor:
        """Network k's probabilities of all images, in evaluation. Shapes: -> (N, C)."""
        self.networks[k].eval()
        p = F.softmax(self.networks[k](self.still()), 1)
        self.networks[k].train()
        return p

    def descend(self, value: Tensor, k: int = 0, noted: Tensor | None = None) -> None:
        """A step of network k on `value`; the step's loss is `value` or what is noted."""
        self.move(value, k)
        self.losses.append(float((value if noted is None else noted).detach()))

    def move(self, value: Tensor, k: int = 0) -> None:
        """`descend` without noting a loss."""
        self.follow(torch.autograd.grad(value, list(self.networks[k].parameters())), k)

    @torch.no_grad()
    def follow(self, gradients: tuple[Tensor, ...], k: int) -> None:
        """A step of network k along gradients, clipped."""
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
        shrink = min(1.0, self._clip_norm / (norm + 1e-6))
        self._optimizers[k]([shrink * gradient for gradient in gradients], self.rate)
        self.norms.append(norm)


class Sgd:
    """Momentum 0.9 on gradients with weight decay."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights, self.speeds = weights, [torch.zeros_like(weight) for weight in weights]

    def __call__(self, gradients: list[Tensor], rate: float) -> None:
        for weight, speed, gradient in zip(self.weights, self.speeds, gradients, strict=True):
            speed.mul_(0.9).add_(gradient + 1e-4 * weight)
            weight.sub_(rate * speed)


class Adam:
    """Kingma and Ba 2015, algorithm 1."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights, self.steps = weights, 0
        self.moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]

    def __call__(self, gradients: list[Tensor], rate: float) -> None:
        self.steps += 1
        for weight, (m, v), gradient in zip(self.weights, self.moments, gradients, strict=True):
            m.mul_(0.9).add_(0.1 * gradient)
            v.mul_(0.999).add_(0.001 * gradient**2)
            mean, square = m / (1 - 0.9**self.steps), v / (1 - 0.999**self.steps)
            weight.sub_(rate * mean / (square.sqrt() + 1e-8))


def shifted_and_flipped(images: Tensor, draws: torch.Generator) -> Tensor:
    """Image by image: zeros around, a random window of the old size, mirrored or not. (B, 3, H, W) -> the same."""
    corners = torch.randint(0, 2 * PADDING + 1, (2, len(images)), generator=draws)
    mirrored = torch.rand(len(images), generator=draws) < 0.5

    def one() -> Iterator[Tensor]:
        for image, (top, left), mirror in zip(images, corners.T.tolist(), mirrored.tolist(), strict=True):
            window = F.pad(image, [PADDING] * 4)[:, top : top + SIZE, left : left + SIZE]
            yield window.flip(-1) if mirror else window

    return torch.stack(list(one()))


def normalised(images: Tensor) -> Tensor:
    """Rounded to float32, as the project hands images to its networks, then float64."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return ((images.float() / 255 - mean) / std).double()


def block(channels: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]


def head(features: int, hidden: int) -> list[nn.Module]:
    layers = [nn.Flatten(), nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU()]
    return [*layers, nn.Linear(hidden, CLASSES)]


def cnn4() -> nn.Module:
    size = SIZE // 4
    convolutions = [*block(3, 32), nn.MaxPool2d(2), *block(32, 64), nn.MaxPool2d(2)]
    return nn.Sequential(*convolutions, *head(64 * size * size, 128)).double()


def cnn8() -> nn.Module:
    size, layers, channels = SIZE // 8, [], 3
    for width in (64, 128, 196):
        layers += [*block(channels, width), *block(width, width), nn.MaxPool2d(2)]
        channels = width
    return nn.Sequential(*layers, *head(196 * size * size, 256)).double()


NETWORKS = {"cnn4": cnn4, "cnn8": cnn8}


def numbers(network: nn.Module) -> Tensor:
    """All weights and running statistics as one vector."""
    values = [*network.parameters(), *(value for value in network.buffers() if value.is_floating_point())]
    return torch.cat([value.detach().reshape(-1) for value in values])


def one_hot(labels: Tensor) -> Tensor:
    return torch.eye(CLASSES).double()[labels]


@torch.no_grad()
def misfit(plain: Plain) -> float:
    """The first network's cross-entropy at the true labels, in nats; the network stays as it is."""
    return float(F.cross_entropy(copy.deepcopy(plain.network)(plain.still()), plain.truth))


# ------------------------------------------------------------------------------------------------ the project beside it


def in_float64(method: Method) -> None:
    """Double all weights and memories of a method; images stay rounded to float32 and are doubled from there on."""
    method.double()
    for train in filter(None, (method.train_set, method.train_set.trusted)):
        train.normalised = lambda images, single=train.normalised: single(images).double()
    for learner in method.learners():  # evaluation hands over float32
        first = getattr(learner.network, "body", learner.network)  # a method may ask for the features alone
        first.register_forward_pre_hook(lambda _, given: (given[0].double(),))


def started(make: Callable[[int], nn.Module], starts: list[list[Tensor]], start: int) -> nn.Module:
    """A network with the weights of a further start, which are noted."""
    network = make(start)
    starts.append([weight.detach().double() for weight in network.parameters()])
    return network


class Both(NamedTuple):
    """Attributes: the trained method, the results of its steps, and the plain loop's side."""

    method: Method
    steps: list[StepResult]
    plain: Plain

    def chosen(self) -> list[int]:
        """How many images each step used with their labels."""
        return [int(step.selected.sum()) for step in self.steps if step.selected is not None]


def train_both(
    loop: Callable[[Plain], None],
    overrides: list[str],
    *,
    networks: int = 1,
    network: str = "cnn4",
    epochs: int = 4,
    wrong: float = WRONG,
    optimizer: str = "sgd",
    clip_norm: float = 5.0,
    trusted: int = 0,
    rel: float = 1e-9,
    own: Sequence[nn.Module] = (),
    learns: bool = True,
) -> Both:
    """Train with the project and by a plain loop; every step's loss, the last weights, statistics and memories must be
    equal.

    Args:
        own: copies of what the method trains beside its networks, after these.
        learns: whether the training must come closer to the true labels; a few steps of self-training need not.
    Raises:
        AssertionError: they are not, or the training did not come closer to the true labels.
    """
    data = pictures(wrong)
    length = [f"epochs={epochs}", f"batch_size={BATCH}", f"eval_every={epochs}", f"seed={SEED}"]
    fixed = [f"network={network}", f"optimizer={optimizer}", f"clip_norm={clip_norm}", f"num_trusted={trusted}"]
    cfg = compose(["dataset=cifar10", *overrides, *length, *fixed])
    images, labels, truth = data
    tested = images[:2], truth[:2]
    dataset = Dataset("cifar10", images, truth, *tested, tuple("0123456789"), MEAN, STD, true_labels=truth)
    copies = [
        *(NETWORKS[network]() for _ in range(networks)),
        *own,
    ]  # draws too, so before the project seeds the generator
    runtime = Runtime(torch.device("cpu"), torch.float32, 1)
    components = Components(hydra.utils.instantiate(cfg.loss), runtime)
    method, evaluation = assemble(cfg, dataset, labels, components)
    in_float64(method)
    for target, learner in zip(copies, method.learners(), strict=True):
        with torch.no_grad():
            for mine, first in zip(target.parameters(), learner.network.parameters(), strict=True):
                mine.copy_(first)
    plain = Plain(data, copies, epochs, optimizer, clip_norm, trusted)
    before = misfit(plain)

    steps: list[StepResult] = []
    step = method.step

    def noted(feed: object) -> StepResult:
        steps.append(step(feed))  # type: ignore[arg-type]
        return steps[-1]

    for k, learner in enumerate(method.learners()):
        learner._make_again = partial(started, learner._make_again, plain.starts[k])
    method.step = noted  # type: ignore[assignment, method-assign]
    fit(method, TrainState(), evaluation)
    torch.manual_seed(SEED)
    loop(plain)

    found = torch.stack([result.loss for result in steps])
    wanted = torch.tensor(plain.losses, dtype=torch.float64)
    torch.testing.assert_close(found, wanted, rtol=rel, atol=0, msg=lambda told: f"losses of the steps: {told}")
    for k, (learner, mine) in enumerate(zip(method.learners(), copies, strict=True)):
        theirs, own = numbers(learner.network), numbers(mine)
        assert float((theirs - own).norm()) <= rel * float(own.norm()), f"network {k} ends with other weights"
    for name, own in plain.memory.items():
        torch.testing.assert_close(method.get_buffer(name), own, rtol=rel, atol=1e-12, msg=f"{name} ends otherwise")
    assert not learns or misfit(plain) < before, "the first network learns nothing"
    return Both(method, steps, plain)
