"""The seam between trainer and method: what once failed in silence. Several learners wherever they stand, stages that
resume, memory that changes its length, outputs that come and go, steps on images of two kinds."""

from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig
from support.command import stop_at
from support.configs import TRUSTING, chosen, every

from labelnoise.experiment.run import run, train
from labelnoise.records.store import Record
from labelnoise.training import checkpoints, signals
from labelnoise.training.clock import Clock
from labelnoise.training.schedules import cosine, linear

COMMON = ["dataset=digits", "noise=sym", "rate=0.4", "num_val=60", "num_trusted=1240", "threads=1", "epochs=4"]


def job(method: str, results: Path, **values: object) -> DictConfig:
    """Of a method of configs/method, or of toy_methods.py.

    On few images; the rest is put aside as trusted ones, or as held-out ones where the method trains on the others.
    """
    if method in TRUSTING:
        values = {"num_val": 1240, "num_trusted": 60, **values}
    cfg = chosen("method", method if method.islower() else "erm", *COMMON, results=str(results), **values)
    if not method.islower():
        cfg.method._target_ = f"support.toy_methods.{method}"
    return cfg


def same(a: Record, b: Record) -> bool:
    return all(a[key] == b[key] for key in ("noise", "metrics", "history"))


# Each stores another kind of state: memories, a second network, a mixture's split, a histogram.
KINDS = ("l2rw", "refinery", "divide_mix", "p_diff")


@pytest.mark.parametrize(
    "method",
    [
        "TwoInAList",
        "Staged",
        *KINDS,
        *(pytest.param(name, marks=pytest.mark.slow) for name in every("method") if name not in KINDS),
    ],
)
def test_a_method_resumes_from_any_step(method: str, tmp_path: Path, monkeypatch) -> None:
    """Here twice: in its second epoch, and in the next one of the process that resumed it."""
    whole = run(job(method, tmp_path / "whole"), quiet=True)
    steps = 5  # of 137 images, 32 a batch; three in an epoch of the second stage
    cfg = job(method, tmp_path / "stopped")
    for step in (steps + 2, steps):
        monkeypatch.setattr(checkpoints, "AT_LEAST", 0.0)
        stop_at(step, monkeypatch)
        torch.manual_seed(step)  # what was drawn before must not matter
        with pytest.raises(signals.Stopped):
            run(cfg, quiet=True)
        monkeypatch.undo()
    torch.manual_seed(99)
    record = run(cfg, quiet=True)
    assert len(record["environment"]["earlier_pieces"]) == 2
    assert same(record, whole)


def test_learners_in_a_list_follow_their_schedules_and_train(tmp_path: Path) -> None:
    history = run(job("TwoInAList", tmp_path), quiet=True)["history"]
    factors = [cosine(epoch, 4) for epoch in range(4)]
    assert history["rate_first"] == pytest.approx([0.01 * f for f in factors], abs=1e-4)
    assert history["rate_second"] == pytest.approx([0.125 * f for f in factors], abs=1e-4)
    assert history["training"] == [1] * 4, "an evaluation came between"


def test_outputs_that_come_with_a_stage_are_null_before_it(tmp_path: Path) -> None:
    history = run(job("Staged", tmp_path), quiet=True)["history"]
    assert history["stage"] == [None, None, 1, 1]
    assert [value is None for value in history["entropy"]] == [True, True, False, False]
    assert [value is None for value in history["target_acc"]] == [True, True, False, False]
    assert history["proposed_acc"] == pytest.approx([0.6] * 4, abs=0.05), "the given labels themselves"


def test_run_hands_back_the_trained_method(tmp_path: Path) -> None:
    cfg = job("Staged", tmp_path)
    trained = train(cfg, quiet=True)
    method, dataset = trained.method, trained.dataset
    assert trained.record == run(cfg, quiet=True), "found again"
    audit = method.judgement()
    assert audit is not None
    assert audit.clean.shape == (137,)
    scores = method.score(lambda index, images, labels: method.predict(images))
    assert scores.shape == (137, 10)
    assert method.training is False
    assert len(dataset.test_labels) == 360


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 200])
def test_every_stage_lasts_an_epoch_at_least(epochs: int) -> None:
    clock = Clock(epochs, 32)
    seen = []
    for clock.epoch in range(epochs):
        seen.append(clock.stage(0.01, 0.5))
    assert seen == sorted(seen)
    assert set(seen) == set(range(min(epochs, 3))), "two epochs see two stages"
    if epochs == 200:
        assert [seen.count(stage) for stage in (0, 1, 2)] == [2, 100, 98]


def test_a_loss_that_needs_what_a_method_does_not_give_is_refused(tmp_path: Path) -> None:
    co_teaching, erm = (job(method, tmp_path, epochs=1) for method in ("co_teaching", "erm"))
    for cfg in (co_teaching, erm):
        cfg.loss._target_ = "support.toy_losses.of_features"
    with pytest.raises(ValueError, match="loss: needs features, which CoTeaching does not give; use method=erm"):
        run(co_teaching, quiet=True)
    record = run(erm, quiet=True)
    assert record["history"]["train_loss"][0] > 100, "the mean feature is part of it"
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_rate_that_falls_on_a_straight_line() -> None:
    """As released with co-teaching: (epochs - epoch) / (epochs - 80) from epoch 80 on."""
    factors = [linear(epoch, 200, 0.4) for epoch in range(200)]
    assert factors == pytest.approx([1.0] * 80 + [(200 - epoch) / 120 for epoch in range(80, 200)])
    with pytest.raises(ValueError, match="start=1"):
        linear(0, 10, 1.0)
