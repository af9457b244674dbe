"""Every method keeps the rule that lets a GPU replay its steps, in every stage of a run and not in its first alone."""

import warnings
from typing import Any

import hydra
import pytest
import torch
from support.configs import TOLD, chosen, composed, every
from support.recorders import Frozen
from support.replaying import train
from torch import nn

from labelnoise.data.train_set import TrainSet
from labelnoise.losses import ce
from labelnoise.networks.base import BatchNormReLU, Network
from labelnoise.training import graphs, learner
from labelnoise.training.clock import Clock
from labelnoise.training.graphs import Steps
from labelnoise.training.learner import Learner
from labelnoise.training.method import Method, Setup
from labelnoise.training.schedules import cosine

EPOCHS, IMAGES, BATCH = 6, 52, 4  # thirteen steps an epoch: each kind comes often enough to be recorded


def make(name: str) -> Method:
    """The configured method on noise and a small network."""
    torch.manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 1, 8, 8), dtype=torch.uint8)
    labels = torch.arange(IMAGES) % 4
    augment = hydra.utils.instantiate(composed("dataset=cifar10").dataset.augment)
    facts = (4, (0.5,), (0.5,), augment, torch.Generator().manual_seed(0))
    train = TrainSet(images, labels, *facts, TrainSet(images[:8], labels[:8], *facts), strong=augment)

    def make_learner(extra_outputs: int = 0, **_: object) -> Learner:
        def initial(start: int = 0) -> Network:
            body = nn.Sequential(nn.Conv2d(1, 4, 3), BatchNormReLU(4), nn.Flatten())
            return Network(body, nn.Linear(144, 4 + extra_outputs))

        optimizer: Any = lambda weights: torch.optim.SGD(weights, lr=0.05, momentum=0.9)  # noqa: E731
        return Learner(initial(), optimizer, cosine, range(EPOCHS), 5.0, torch.float32, make_again=initial)

    common = ("noise=sym", "rate=0.4")
    cfg = composed(*common, f"method={name}", *TOLD[name]) if name in TOLD else chosen("method", name, *common)
    method = hydra.utils.instantiate(cfg.method)
    return method(Setup(make_learner, ce, train, Clock(EPOCHS, BATCH)))


@pytest.mark.parametrize("name", every("method"))
def test_every_methods_steps_can_be_replayed(name: str, monkeypatch) -> None:
    monkeypatch.setattr(graphs, "given_up", False)
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))
    replayed = make(name)
    recorder = Frozen(replayed)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*without a CUDA graph")
        recorded = train(replayed, Steps(replayed, recorder=recorder), EPOCHS)
    plain = make(name)  # now: it seeds torch's default generator
    expected = train(plain, Steps(plain), EPOCHS)
    assert len(recorded) == len(expected)
    for step, (a, b) in enumerate(zip(recorded, expected, strict=True)):
        assert a.keys() == b.keys(), step
        assert all(torch.equal(a[key], b[key]) for key in a), step
    assert recorder.recorded >= 1
