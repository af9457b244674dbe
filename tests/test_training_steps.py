"""Fifty training steps in float64 beside the released recipe, written out in plain torch.

The plain loop takes nothing of this project but the first weights and the draws (order, crops and flips come from one
generator in a stated order). Network, loss, gradient clipping, SGD and the cosine are its own, so whatever moves in
the package, the training has to stay the same arithmetic.
"""

import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import hydra
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.data.dataset import Dataset
from labelnoise.experiment.assemble import assemble
from labelnoise.experiment.compose import compose
from labelnoise.training.device import Place
from labelnoise.training.loop import fit
from labelnoise.training.state import TrainState

pytestmark = pytest.mark.usefixtures("one_thread")

CLASSES, SIZE, PADDING = 10, 8, 4
BATCH, STEPS_AN_EPOCH, EPOCHS, LEFT = 8, 13, 4, 5
IMAGES = BATCH * (STEPS_AN_EPOCH - 1) + LEFT
RATE, MOMENTUM, WEIGHT_DECAY = 0.01, 0.9, 1e-4
MEAN, STD = (0.5, 0.45, 0.4), (0.25, 0.3, 0.2)
Loss = Callable[[Tensor, Tensor], Tensor]
Taken = tuple[list[float], Tensor]


@pytest.mark.parametrize("network", ["cnn4", "cnn8"])
@pytest.mark.parametrize(("loss", "clip_norm"), [("ce", 5.0), ("agce", 1.0), ("nce_rce", 5.0)])
def test_every_step_and_the_last_weights_equal_a_plain_loops(network: str, loss: str, clip_norm: float) -> None:
    images, labels = pictures()
    plain = {"cnn4": cnn4, "cnn8": cnn8}[network]()
    overrides = [f"network={network}", f"loss={loss}", f"clip_norm={clip_norm}"]
    losses, weights = project_trains(images, labels, overrides, into=plain)
    norms: list[float] = []
    wanted_losses, wanted_weights = plain_loop(images, labels, plain, LOSSES[loss], clip_norm, norms)

    assert len(losses) == EPOCHS * STEPS_AN_EPOCH
    assert losses == pytest.approx(wanted_losses, rel=1e-12)
    assert (weights - wanted_weights).norm() <= 1e-12 * wanted_weights.norm()
    # what is compared is not trivial: it learns, and gradients are clipped (in cnn4 some and some not)
    assert sum(losses[-STEPS_AN_EPOCH:]) < sum(losses[:STEPS_AN_EPOCH])
    assert sum(norm > clip_norm for norm in norms) > 0
    assert network == "cnn8" or sum(norm < clip_norm for norm in norms) > 0


def numbers(network: nn.Module) -> Tensor:
    """All weights and running statistics as one vector."""
    values = [*network.parameters(), *(value for value in network.buffers() if value.is_floating_point())]
    return torch.cat([value.detach().reshape(-1) for value in values])


def pictures() -> tuple[Tensor, Tensor]:
    """Random images (N, 3, H, W), uint8, whose brightness hints at their class, and labels (N,)."""
    draw = torch.Generator().manual_seed(7)
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=draw)
    noise = torch.randint(0, 100, (IMAGES, 3, SIZE, SIZE), generator=draw)
    return (noise + 15 * labels[:, None, None, None]).to(torch.uint8), labels


# ------------------------------------------------------------------------------------------------ what the project does


def project_trains(images: Tensor, labels: Tensor, overrides: list[str], into: nn.Module) -> Taken:
    """Loss of each step and last weights of a whole training by the project; its first weights are copied to `into`."""
    length = [f"epochs={EPOCHS}", f"batch_size={BATCH}", f"eval_every={EPOCHS}", "seed=3"]
    cfg = compose(["dataset=cifar10", *length, *overrides])
    dataset = Dataset("cifar10", images, labels, images[:2], labels[:2], tuple("0123456789"), MEAN, STD)
    criterion, losses = hydra.utils.instantiate(cfg.loss), []

    def noted(logits: Tensor, labels: Tensor) -> Tensor:
        values = criterion(logits, labels)
        losses.append(float(values.detach().mean()))
        return values

    place = Place(torch.device("cpu"), torch.float32, 1)
    method, yardstick = assemble(cfg, dataset, labels, noted, place)
    # images come as float32; from here on everything is float64
    method.network.double().register_forward_pre_hook(lambda _, given: (given[0].double(),))
    with torch.no_grad():
        for target, source in zip(into.parameters(), method.network.parameters(), strict=True):
            target.copy_(source)
    listener = SimpleNamespace(keep=lambda state: None, step=lambda: None, epoch=lambda row: None)
    fit(method, TrainState(), yardstick, listener)
    return losses, numbers(method.network)


# --------------------------------------------------------------------------------------------- the same in plain words


def plain_loop(
    images: Tensor, labels: Tensor, network: nn.Module, loss: Loss, clip_norm: float, norms: list[float]
) -> Taken:
    """Loss of each step and last weights; the gradients' norms before clipping go into `norms`."""
    draws = torch.Generator().manual_seed(3)
    weights = list(network.parameters())
    speeds = [torch.zeros_like(weight) for weight in weights]
    losses = []
    for epoch in range(EPOCHS):
        rate = RATE * 0.5 * (1 + math.cos(math.pi * epoch / EPOCHS))
        for index in torch.randperm(IMAGES, generator=draws).split(BATCH):
            value = loss(network(normalised(shifted_and_flipped(images[index], draws))), labels[index])
            gradients = torch.autograd.grad(value, weights)
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
            shrink = min(1.0, clip_norm / (norm + 1e-6))
            with torch.no_grad():
                for weight, speed, gradient in zip(weights, speeds, gradients, strict=True):
                    speed.mul_(MOMENTUM).add_(shrink * gradient + WEIGHT_DECAY * weight)
                    weight.sub_(rate * speed)
            losses.append(float(value.detach()))
            norms.append(norm)
    return losses, numbers(network)


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


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)


def asymmetric_gce(logits: Tensor, labels: Tensor) -> Tensor:
    """((a + 1)^q - (a + p_y)^q) / q with a = q = 0.6."""
    p = F.softmax(logits, 1)[torch.arange(len(labels)), labels]
    return ((1.6**0.6 - (0.6 + p) ** 0.6) / 0.6).mean()


def normalized_ce_and_reverse_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y / -sum_k log p_k, plus -sum_k p_k log(one-hot_k) with 1e-4 in place of 0."""
    log_p, one_hot = F.log_softmax(logits, 1), F.one_hot(labels, CLASSES).double()
    active = (one_hot * log_p).sum(1) / log_p.sum(1)
    passive = -(log_p.exp() * one_hot.clamp(min=1e-4).log()).sum(1)
    return (active + passive).mean()


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "agce": asymmetric_gce, "nce_rce": normalized_ce_and_reverse_ce}
