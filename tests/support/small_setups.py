"""What a method is built from, small: linear networks in float64 on random images."""

import torch
from torch import nn

from labelnoise.data.train_set import TrainSet
from labelnoise.losses import ce
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup


def images(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def small_setup(labels: list[int], classes: int = 3, epochs: int = 10, trusted: list[int] | None = None) -> Setup:
    """Linear networks in float64 on random images."""
    facts = (classes, (0.5,), (0.25,), None, torch.Generator().manual_seed(0))
    few = None if trusted is None else TrainSet(images(len(trusted), 1), torch.tensor(trusted), *facts)
    train = TrainSet(images(len(labels)), torch.tensor(labels), *facts, few)
    made = 0

    def make_learner(during: range | None = None, **_: object) -> Learner:
        nonlocal made
        number, made = made, made + 1

        def initial(start: int) -> nn.Module:
            torch.manual_seed(number + 1000 * start)
            return nn.Sequential(nn.Flatten(), nn.Linear(16, classes))

        make = lambda weights: torch.optim.SGD(weights, lr=0.1)  # noqa: E731
        still = lambda epoch, epochs: 1.0  # noqa: E731
        return Learner(initial(0), make, still, during or range(epochs), None, torch.float32, make_again=initial)

    return Setup(make_learner, ce, train, Clock(epochs, len(labels)))


def planted(wrong: int = 36) -> tuple[Setup, torch.Tensor]:
    """Images whose class is easy to see, the first `wrong` of them with a wrong label, and forty trusted ones.

    Returns:
        setup; whether each label is right.
    """
    facts = (3, (0.5,), (0.25,), None, torch.Generator().manual_seed(0))

    def bright(truth: torch.Tensor, seed: int) -> torch.Tensor:
        pictures = images(len(truth), seed) // 2
        for c in range(3):
            pictures[truth == c, :, c] += 100
        return pictures

    truth, few = torch.arange(120) % 3, torch.arange(40) % 3
    labels = torch.where(torch.arange(120) < wrong, (truth + 1) % 3, truth)
    train = TrainSet(bright(truth, 0), labels, *facts, TrainSet(bright(few, 1), few, *facts))

    def initial(start: int) -> nn.Module:
        torch.manual_seed(start)
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))

    def make_learner(**_: object) -> Learner:
        make = lambda weights: torch.optim.SGD(weights, lr=0.05)  # noqa: E731
        still = lambda epoch, epochs: 1.0  # noqa: E731
        return Learner(initial(0), make, still, range(40), None, torch.float32, make_again=initial)

    return Setup(make_learner, ce, train, Clock(40, 20)), labels == truth
