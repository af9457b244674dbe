"""Small trainings whose steps are compared with recordings of them."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from labelnoise.data.augment import crop_flip_rotate
from labelnoise.data.train_set import TrainSet
from labelnoise.losses import ce
from labelnoise.networks.base import BatchNormReLU
from labelnoise.training.clock import Clock
from labelnoise.training.graphs import Steps
from labelnoise.training.learner import Learner
from labelnoise.training.method import Method, Setup
from labelnoise.training.schedules import cosine
from support.recorders import outputs

EPOCHS, IMAGES, BATCH = 3, 46, 8  # five full steps and a partial one in an epoch

SGD = partial(torch.optim.SGD, lr=0.05, momentum=0.9, weight_decay=1e-3)


def make(method: Callable[[Setup], Method], batch_size: int = BATCH) -> Method:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 1, 8, 8), dtype=torch.uint8)
    facts = (4, (0.5,), (0.5,), partial(crop_flip_rotate, padding=1, flip=True, degrees=0.0), generator)
    labels = torch.randint(0, 4, (IMAGES,))
    train = TrainSet(images, labels, *facts, TrainSet(images[:BATCH], labels[:BATCH], *facts))

    def make_learner(network: Any = None, optimizer: Any = SGD, extra_outputs: int = 0) -> Learner:
        ours = nn.Sequential(
            nn.Conv2d(1, 4, 3), BatchNormReLU(4), nn.Dropout(0.2), nn.Flatten(), nn.Linear(144, 4 + extra_outputs)
        )
        made = ours if network is None else network(4, 1, 8)
        return Learner(made, optimizer, cosine, range(EPOCHS), 5.0, torch.float32)

    return method(Setup(make_learner, ce, train, Clock(EPOCHS, batch_size)))


def train(method: Method, steps: Steps, epochs: int = EPOCHS) -> list[dict[str, Tensor]]:
    """All outputs of all steps, and the state at the end."""
    seen = []
    for method.clock.epoch in range(epochs):
        for one in method.learners():
            one.begin_epoch(method.clock.epoch)
        method.train()
        method.begin_epoch()
        for feed in method.feeds():
            seen.append({name: value.clone() for name, value in outputs(steps(feed)).items()})
    random.seed(0)
    return [*seen, {name: value for name, value in method.state_dict().items() if isinstance(value, Tensor)}]


def same(a: list[dict[str, Tensor]], b: list[dict[str, Tensor]]) -> bool:
    return len(a) == len(b) and all(
        x.keys() == y.keys() and all(torch.equal(x[name], y[name]) for name in x) for x, y in zip(a, b, strict=True)
    )


def plainly(method: Callable[[Setup], Method], batch_size: int = BATCH) -> list[dict[str, Tensor]]:
    made = make(method, batch_size)
    return train(made, Steps(made))
