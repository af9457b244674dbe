"""State that a method keeps outside its buffers: tensors are refused by name, numbers are kept by the checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.command import Ended, stop_at
from support.configs import TOLD, composed, every
from support.permuted_truth import COMMON, small

from labelnoise.experiment.assemble import assemble
from labelnoise.experiment.components import Components, make_loss
from labelnoise.training import checkpoints
from labelnoise.training.device import prepare
from labelnoise.training.loop import fit
from labelnoise.training.loose_state import (
    constants,
    numbers,
    refuse_changed_constants,
    refuse_loose_state,
    restore_numbers,
)
from labelnoise.training.method import Method
from labelnoise.training.state import TrainState

MINE = '''
import random
from collections import deque

import numpy as np
import torch

from labelnoise.methods.erm import ERM


class Mine(ERM):
    """Plain training, whose loss is divided by something that it remembers in a wrong place."""

    def __init__(self, setup, how: str) -> None:
        super().__init__(setup)
        self.how, self.labels = how, setup.train.labels
        START.get(how, lambda self: None)(self)

    def begin_epoch(self):
        if self.how == "late":
            self.kept = [torch.zeros(3)]

    def objective(self, outputs, batch):
        factor = 1.0
        if self.how == "counts":
            self.count += 1
            factor = 1 / self.count
        if self.how == "lists":
            self.seen["all"].append(len(batch.index))
            factor = 1 / len(self.seen["all"])
        if self.how == "changes":
            self.constant += 1
        return factor * super().objective(outputs, batch)


def optimizer(self):
    self.own = torch.optim.SGD(self.parameters(), lr=0.1)


START = {
    "tensor": lambda self: setattr(self, "ema", torch.zeros(3)),
    "list": lambda self: setattr(self, "past", deque([{"a": (torch.zeros(3),)}])),
    "array": lambda self: setattr(self, "past", np.zeros(3)),
    "generator": lambda self: setattr(self, "dice", torch.Generator()),
    "numpy": lambda self: setattr(self, "dice", np.random.default_rng(0)),
    "python": lambda self: setattr(self, "dice", random.Random(0)),
    "optimizer": optimizer,
    "shared": lambda self: setattr(self, "dice", self.train_set.generator),
    "counts": lambda self: setattr(self, "count", 0),
    "lists": lambda self: setattr(self, "seen", {"all": []}),
    "changes": lambda self: self.register_buffer("constant", torch.zeros(2), persistent=False),
}
'''
RUN = ("--config-dir=configs", "method=mine", "dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "batch_size=60")
RUN += ("num_trusted=1250", "network=cnn4", "threads=1")
STEPS = 4  # of an epoch: 187 images


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_method.py").write_text(MINE)
    (tmp_path / "configs" / "method").mkdir(parents=True)
    card = "_target_: my_method.Mine\n_partial_: true\nhow: ???\n"
    (tmp_path / "configs" / "method" / "mine.yaml").write_text(card)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


BUFFER = 'keep it with self.register_buffer("{}", ...), persistent=False if it never changes'
OUTSIDE = "outside the checkpoint, so a stopped run would go on without it; "
REFUSED = {
    "tensor": f"Mine.ema: is a tensor {OUTSIDE}{BUFFER.format('ema')}",
    "list": f"Mine.past: is a tensor {OUTSIDE}{BUFFER.format('past')}",
    "array": f"Mine.past: is of numpy {OUTSIDE}make it a tensor and {BUFFER.format('past')}",
    "generator": f"Mine.dice: is a random generator {OUTSIDE}draw from self.train_set.generator",
    "numpy": f"Mine.dice: is a random generator {OUTSIDE}draw from self.train_set.generator",
    "python": f"Mine.dice: is a random generator {OUTSIDE}draw from self.train_set.generator",
    "optimizer": f"Mine.own: is an optimizer {OUTSIDE}setup.make_learner(optimizer=...) makes a network with one",
    "late": f"Mine.kept: is a tensor {OUTSIDE}{BUFFER.format('kept')}",
    "changes": "Mine.constant: changed in training and is not in the checkpoint; register it without persistent=False",
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_a_checkpoint_would_forget_is_refused(how: str, train: Callable[..., Ended]) -> None:
    ended = train(*RUN, f"method.how={how}")
    assert (ended.code, ended.err) == (1, f"error: {REFUSED[how]}\n")
    assert not Path("runs").exists(), "in the first step at the latest, and nothing is left"


@pytest.mark.parametrize("how", ["counts", "lists"])
@pytest.mark.parametrize("step", [2, STEPS, STEPS + 1])
def test_numbers_are_kept_and_told(how: str, step: int, train: Callable[..., Ended]) -> None:
    run = (*RUN, f"method.how={how}")
    name = {"counts": "count", "lists": "seen"}[how]
    assert train(*run, "results=whole").code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "AT_LEAST", 0.0)
        stop_at(step, patch)
        stopped = train(*run)
    told = f"Mine.{name}: changed in training outside the method's buffers; the checkpoint keeps the value\n"
    assert stopped.code == 75
    assert stopped.err.count(told) == 1
    assert train(*run).code == 0
    whole, resumed = (json.loads(next(Path(folder).glob("*.json")).read_text()) for folder in ("whole", "runs"))
    assert resumed["environment"]["resumed"] == 1
    for key in ("history", "metrics"):
        assert resumed[key] == whole[key]


def test_what_belongs_to_the_training_set_may_hang_on_a_method(train: Callable[..., Ended]) -> None:
    ended = train(*RUN, "method.how=shared")
    assert (ended.code, ended.err) == (0, "")


def built(name: str) -> tuple[Method, object]:
    cfg = composed(*COMMON, "epochs=4", f"method={name}", *TOLD.get(name, ()))
    return assemble(cfg, *small(), Components(make_loss(cfg), prepare("cpu", "float32", 1)))


@pytest.mark.parametrize("name", every("method"))
def test_no_method_of_ours_keeps_state_outside_its_buffers(name: str) -> None:
    method, evaluation = built(name)
    before, fixed = numbers(method), constants(method)
    fit(method, TrainState(), evaluation)
    refuse_loose_state(method)
    refuse_changed_constants(method, fixed)
    assert numbers(method) == before


def test_a_checkpoint_sets_nothing_but_numbers() -> None:
    method, _ = built("elr")
    restore_numbers(method, {".lam": 7.0, ".new": [1, 2]})
    assert (method.lam, method.new) == (7.0, [1, 2])
    for path in (".predict", ".loss", ".train_set", "learner.forward"):
        with pytest.raises(TypeError, match="is no number or text"):
            restore_numbers(method, {path: 1})
    with pytest.raises(KeyError):
        restore_numbers(method, {"nowhere.x": 1})


def test_a_checkpoint_of_an_earlier_version_has_no_numbers() -> None:
    state = TrainState().state_dict()
    del state["numbers"]
    assert TrainState.of(state, torch.device("cpu")).numbers == {}
