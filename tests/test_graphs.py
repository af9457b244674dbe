"""Whether steps can be captured as a CUDA graph: nothing in any of them waits for the device.

FakeTensorMode computes shapes only and refuses whatever would need a value: `.item()`, masks as indices, printing. So a
step that passes can be captured, up to what only a GPU shows.
"""

import contextlib
from collections.abc import Iterator
from functools import partial

import hydra
import pytest
import torch
from conftest import TOLD, chosen, composed, every
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from labelnoise.cpu import compiler
from labelnoise.data.train_set import TrainSet
from labelnoise.losses.base import needs_of
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup, StepResult


@contextlib.contextmanager
def shapes_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiler, "usable", lambda: False)  # a GPU runs the plain path
    with FakeTensorMode():
        yield


def take_two_steps(cfg: DictConfig, channels: int, size: int) -> StepResult:
    """Two steps of a configuration on images that have a shape only."""
    images = torch.zeros(64, channels, size, size, dtype=torch.uint8)
    labels = torch.zeros(64, dtype=torch.long)
    augment, generator = hydra.utils.instantiate(cfg.dataset.augment), torch.Generator()
    facts = (10, (0.5,) * channels, (0.5,) * channels, augment, generator)
    train = TrainSet(images, labels, *facts, TrainSet(images[:32], labels[:32], *facts))
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


@pytest.mark.parametrize("regulariser", every("regulariser"))
def test_no_regulariser_waits_for_the_device(regulariser: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(chosen("regulariser", regulariser, "dataset=digits"), 1, 8)


@pytest.mark.parametrize("loss", every("loss"))
def test_no_loss_waits_for_the_device(loss: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        result = take_two_steps(chosen("loss", loss, "dataset=digits"), 1, 8)
        assert result.loss.shape == ()
        assert result.predicted is not None
        assert result.predicted.shape == (32,)


def of_method(name: str) -> DictConfig:
    common = ("dataset=digits", "noise=sym", "rate=0.4")
    return composed(*common, f"method={name}", *TOLD[name]) if name in TOLD else chosen("method", name, *common)


@pytest.mark.parametrize("method", every("method"))
def test_no_method_waits_for_the_device(method: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(of_method(method), 1, 8)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_no_augmentation_waits_for_the_device(dataset: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(composed(f"dataset={dataset}", "network=cnn4"), 3, 32)


@pytest.mark.parametrize("network", [n for n in every("network") if n != "timm"])
def test_no_network_waits_for_the_device(network: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(chosen("network", network, "dataset=mnist"), 1, 28)


def test_waiting_would_be_seen(monkeypatch) -> None:
    with shapes_only(monkeypatch):
        monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *a: float(torch.ones(())))
        with pytest.raises(DataDependentOutputException):
            take_two_steps(composed("dataset=digits"), 1, 8)
