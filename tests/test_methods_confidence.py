"""CAR's confidences and targets, and P-DIFF's threshold, against float64 numpy and quantiles."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from support.configs import composed
from support.shapes import shapes_only, take_two_steps
from support.small_setups import small_setup
from torch import nn

from labelnoise.losses import gce
from labelnoise.methods.car import CAR
from labelnoise.methods.p_diff import BATCHES, PDiff, bins_of
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup

LABELS = [0, 1, 2, 1, 0, 2, 2, 1]
EYE = np.eye(3)


def with_extra_outputs() -> Setup:
    """As `small_setup`, for a method that asks for one output more."""

    def make_learner(extra_outputs: int = 0, **_: object) -> Learner:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3 + extra_outputs))
        make = lambda weights: torch.optim.SGD(weights, lr=0.1)  # noqa: E731
        return Learner(network, make, lambda epoch, epochs: 1.0, range(10), None, torch.float32)

    return small_setup(LABELS)._replace(make_learner=make_learner)


def car(**change: Any) -> CAR:
    values: dict[str, Any] = {"lam": 0.5, "beta": 0.1, "warm_up": 0.3, "keep": 0.9, "sure": 0.0}
    return CAR(with_extra_outputs(), **{**values, **change})


def p_diff(**change: Any) -> PDiff:
    values: dict[str, Any] = {"rate": 0.4, "unknown": False, "ramp": 0.5, "saturation": 0.9}
    return PDiff(small_setup(LABELS), **{**values, **change})


# ---------------------------------------------------------------------------------------------------------------- car


def test_cars_loss_vanishes_with_the_confidence() -> None:
    """All but what the low confidence costs; a full confidence is cross-entropy."""
    probs = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    label = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    free = car(lam=0.0, beta=0.0)
    values = [float(free.values(probs, torch.tensor([h]), label)) for h in (-30.0, 0.0, 30.0)]
    assert values == pytest.approx([0, -np.log(0.5 * (0.2 - 1) + 1), -np.log(0.2)], abs=1e-9)
    assert float(car(beta=0.0).values(probs, torch.tensor([-30.0]), label)) == pytest.approx(0.5 * 30)
    assert float(car(lam=0.0, beta=1.0).values(probs, torch.tensor([-30.0]), label)) == pytest.approx(4 * 0.8)


@pytest.mark.parametrize("sure", [0.0, 0.6])
def test_cars_targets_move_after_the_warm_up(sure: float) -> None:
    method = car(sure=sure)
    target = EYE[LABELS]
    stayed = moved = 0
    for method.clock.epoch in range(6):
        (feed,) = method.feeds()
        index = feed.index["train"].numpy()
        logits = method.learner(method.train_set.plain(feed.index["train"])).detach().double().numpy()
        p, h = softmax(logits[:, :3], axis=1), expit(logits[:, 3])
        if method.clock.epoch >= 3:
            enough = p.max(1) >= sure
            target[index[enough]] = 0.9 * target[index[enough]] + 0.1 * p[enough]
            stayed, moved = stayed + int((~enough).sum()), moved + int(enough.sum())
        t = target[index]
        reverse = (p * np.maximum(np.log(np.maximum(t, 1e-7)), -4)).sum(1)
        expected = -(t * np.log(h[:, None] * (p - t) + t + 1e-300)).sum(1) - 0.5 * np.log(h) - 0.1 * reverse
        result = method.step(feed)
        assert float(result.loss) == pytest.approx(expected.mean(), rel=1e-4)
        assert float(result.metrics["confidence"]) == pytest.approx(h.mean(), rel=1e-5)
        np.testing.assert_allclose(method.target.numpy(), target, atol=1e-6)
    assert moved, "else the test shows nothing"
    assert bool(stayed) == (sure > 0)
    audit = method.judgement()
    np.testing.assert_allclose(audit.clean.numpy(), target[np.arange(8), LABELS], atol=1e-6)
    assert method.predict(method.train_set.plain(torch.arange(8))).shape == (8, 3)


def test_cars_second_stage_does_not_wait(monkeypatch) -> None:
    with shapes_only(monkeypatch):
        monkeypatch.setattr("labelnoise.training.clock.Clock.stage", lambda self, *fractions: 1)
        result = take_two_steps(composed("dataset=digits", "method=car"), 1, 8)
        assert result.target is not None
        assert result.target.shape == (32,)


# ------------------------------------------------------------------------------------------------------------- p_diff


def test_p_diffs_threshold_is_a_quantile() -> None:
    """Of the differences of the last 100 batches, within a bin."""
    method = p_diff()
    random = np.random.default_rng(0)
    method.clock.epoch = 9
    method.begin_epoch()
    assert float(method.drop) == pytest.approx(0.4)
    past: list[np.ndarray] = []
    for step in range(250):
        batch = random.uniform(-1, 1 - step / 250, 50)  # older batches are larger: forgetting them shows
        past.append(batch)
        kept = method.kept(bins_of(torch.from_numpy(batch))).numpy()
        if step < BATCHES - 1:
            assert kept.all(), "in the first steps all images count"
            continue
        threshold = np.quantile(np.concatenate(past[-BATCHES:]), 0.4)
        assert kept[batch > threshold + 0.02].all()
        assert not kept[batch < threshold - 0.02].any()


def test_p_diff_drops_more_until_the_rate_is_reached() -> None:
    method, shares = p_diff(), []
    for method.clock.epoch in range(10):
        method.begin_epoch()
        shares.append(float(method.drop))
    assert shares == pytest.approx([0, 0.08, 0.16, 0.24, 0.32, 0.4, 0.4, 0.4, 0.4, 0.4])


def test_p_diff_finds_an_unknown_rate() -> None:
    """Once the differences are near -1 or 1, the share below 0 is the rate, and stays so."""
    method = p_diff(rate=None, unknown=True)
    random = np.random.default_rng(0)

    def feed(wrong: float, doubtful: bool) -> None:
        sign = np.where(random.random(200) < wrong, -1.0, 1.0)
        size = random.uniform(0, 1, 200) if doubtful else random.uniform(0.95, 1, 200)
        method.kept(bins_of(torch.from_numpy(sign * size)))

    method.clock.epoch = 1
    method.begin_epoch()
    feed(0.3, doubtful=False)
    assert float(method.drop) == pytest.approx(0.3, abs=0.1), "below -1 + 2/5"
    method.clock.epoch = 8
    method.begin_epoch()
    for _ in range(BATCHES):
        feed(0.3, doubtful=True)
    assert float(method.drop) == pytest.approx(0.3, abs=0.02), "not saturated: it follows"
    for _ in range(2 * BATCHES):
        feed(0.3, doubtful=False)
    frozen = float(method.drop)
    for _ in range(5):
        feed(0.9, doubtful=False)
    assert float(method.drop) == frozen == pytest.approx(0.3, abs=0.02)


def test_p_diffs_step_leaves_out_what_it_drops() -> None:
    """The divisor stays the batch."""
    method = p_diff()
    method.clock.epoch = 9
    method.begin_epoch()
    method.taken.fill_(BATCHES)
    (feed,) = method.feeds()
    index = feed.index["train"]
    p = softmax(method.learner(method.train_set.plain(index)).detach().double().numpy(), axis=1)
    labels = method.train_set.labels[index].numpy()
    own = p[np.arange(8), labels]
    difference = own - np.where(EYE[labels] == 1, -1, p).max(1)
    order = difference.argsort()
    result = method.step(feed)
    assert result.selected is not None
    kept = result.selected.numpy()
    assert kept[order].tolist() == [False] * 3 + [True] * 5, "first bin at which the share is above 0.4"
    assert float(result.loss) == pytest.approx(-np.log(own[kept]).sum() / 8, rel=1e-5)
    assert float(result.metrics["dropped"]) == pytest.approx(3 / 8)
    np.testing.assert_allclose(method.judgement().clean.numpy()[index.numpy()], difference, atol=1e-5)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"rate=1\.0: must be a number"):
        p_diff(rate=1.0)
    with pytest.raises(ValueError, match=r"method\.rate=0\.4: must be null if method\.unknown=true"):
        p_diff(unknown=True)
    with pytest.raises(ValueError, match=r"keep=1\.5: must be a number from 0 to 1"):
        car(keep=1.5)
    with pytest.raises(ValueError, match="method=car has its own loss and accepts only loss=ce"):
        CAR(with_extra_outputs()._replace(loss=gce), lam=0.5, beta=0.1, warm_up=0.3, keep=0.9, sure=0.0)
