"""Steps on shapes alone: FakeTensorMode refuses whatever would need a value."""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial

import hydra
import pytest
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from labelnoise.cpu import compiler
from labelnoise.data import strong
from labelnoise.data.train_set import TrainSet
from labelnoise.losses.base import needs_of
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup, StepResult


def of_all(chosen: Tensor, function: Callable[[Tensor], Tensor], images: Tensor, others: Tensor) -> Tensor:
    """`strong._where` as on a GPU."""
    return torch.where(chosen[:, None, None, None], function(images), others)


@contextlib.contextmanager
def shapes_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiler, "usable", lambda: False)  # a GPU runs the plain path
    monkeypatch.setattr(strong, "_where", of_all)
    with FakeTensorMode():
        yield


def take_two_steps(cfg: DictConfig, channels: int, size: int) -> StepResult:
    """Two steps of a configuration on images that have a shape only."""
    images = torch.zeros(64, channels, size, size, dtype=torch.uint8)
    labels = torch.zeros(64, dtype=torch.long)
    augment, strong_view = (hydra.utils.instantiate(cfg.dataset[kind]) for kind in ("augment", "strong"))
    generator = torch.Generator()
    facts = (10, (0.5,) * channels, (0.5,) * channels, augment, generator)
    train = TrainSet(images, labels, *facts, TrainSet(images[:32], labels[:32], *facts), strong_view)
    make, optimizer, schedule = map(hydra.utils.instantiate, (cfg.network, cfg.optimizer, cfg.schedule))

    loss, regulariser = hydra.utils.instantiate(cfg.loss), hydra.utils.instantiate(cfg.regulariser)
    loss = partial(loss, generator=generator) if "generator" in needs_of(loss) else loss
    of_weights = regulariser is not None and needs_of(regulariser) == {"weights"}

    def make_learner(extra_outputs: int = 0, **_: object) -> Learner:
        network = make(10 + extra_outputs, channels, size)
        penalty = regulariser if of_weights else None
        return Learner(network, optimizer, schedule, range(2), cfg.clip_norm, torch.bfloat16, penalty=penalty)

    setup = Setup(make_learner, loss, train, Clock(2, 32), None if of_weights else regulariser)
    method = hydra.utils.instantiate(cfg.method)(setup)
    method.begin_epoch()
    for feed in method.feeds():
        result = method.step(feed)
    return result
