"""Methods with parameters, weights or temperatures of each image, against float64 numpy and closed forms."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from support.configs import composed
from support.shapes import shapes_only, take_two_steps
from support.small_setups import small_setup

from labelnoise.losses import focal
from labelnoise.methods.aldr_kl import ALDRKL
from labelnoise.methods.cores2 import CORES2
from labelnoise.methods.erm import ERM
from labelnoise.methods.sop import SOP
from labelnoise.methods.sr import SR
from labelnoise.training.method import Feed

LABELS = [0, 1, 2, 1, 0, 2, 2, 1, 1, 1]
EYE = np.eye(3)


def seen(method: ERM, feed: Feed) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Index (B,), logits (B, C) in float64 and labels (B,) of a step, before it."""
    index = feed.index["train"]
    logits = method.learner(method.train_set.plain(index)).detach().double().numpy()
    return index.numpy(), logits, method.train_set.labels[index].numpy()


# --------------------------------------------------------------------------------------------------------------- sop


def explained(p: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    total = np.maximum(p + u**2 * y - v**2 * (1 - y), 1e-4)
    return -(y * np.log(total / total.sum(1, keepdims=True))).sum(1).mean()


def squared(p: np.ndarray, y: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    hard = EYE[p.argmax(1)]
    return ((hard + u**2 * y - v**2 * (1 - y) - y) ** 2).sum(1).mean()


def test_sop_updates_its_parameters_by_their_own_losses() -> None:
    """The gradients, by finite differences: of u by both losses, of v by the squared error alone."""
    method = SOP(small_setup(LABELS), lr_u=2.0, lr_v=3.0)
    assert 0 < float(method.u.abs().max()) < 1e-7
    method.u.copy_(torch.linspace(0.1, 0.6, 10)[:, None])
    method.v.copy_(torch.linspace(0.1, 0.3, 30).view(10, 3))
    (feed,) = method.feeds()
    index, logits, labels = seen(method, feed)
    p, y = softmax(logits, axis=1), EYE[labels]
    u, v = method.u.double().numpy()[index], method.v.double().numpy()[index]
    du, dv, h = np.zeros_like(u), np.zeros_like(v), 1e-6
    for place in np.ndindex(u.shape):
        step = np.zeros_like(u)
        step[place] = h
        both = [explained(p, y, u + s, v) + squared(p, y, u + s, v) for s in (step, -step)]
        du[place] = (both[0] - both[1]) / (2 * h)
    for place in np.ndindex(v.shape):
        step = np.zeros_like(v)
        step[place] = h
        dv[place] = (squared(p, y, u, v + step) - squared(p, y, u, v - step)) / (2 * h)
    result = method.step(feed)
    assert float(result.loss) == pytest.approx(explained(p, y, u, v) + squared(p, y, u, v), rel=1e-5)
    np.testing.assert_allclose(method.u.numpy()[index], u - 2 * du, atol=1e-5)
    np.testing.assert_allclose(method.v.numpy()[index], v - 3 * dv, atol=1e-5)
    audit = method.judgement()
    np.testing.assert_allclose(audit.clean.numpy(), 1 - method.u.numpy()[:, 0] ** 2, rtol=1e-6)


def test_sop_gives_a_wrong_label_to_its_own_parameter() -> None:
    """All images are of class 0 but for one that looks the same."""
    made = small_setup([0] * 9 + [1], epochs=200)
    made.train.images.fill_(128)
    method = SOP(made, lr_u=10.0, lr_v=10.0)
    for _ in range(200):
        method.step(method.feeds()[0])
    clean = method.judgement().clean
    assert float(clean[9]) < 0.5 < float(clean[:9].min())


# ------------------------------------------------------------------------------------------------------------- cores2


def test_cores2_regularises_and_then_sieves() -> None:
    method = CORES2(small_setup(LABELS), beta=2.0, plain=0.2, ramp=0.3, sieve=0.4, floor=1e-3)
    prior = np.bincount(LABELS) / len(LABELS)
    weights, dropped = [], 0
    for method.clock.epoch in range(10):
        method.begin_epoch()
        (feed,) = method.feeds()
        index, logits, labels = seen(method, feed)
        logs = log_softmax(logits, axis=1)
        given, losses = -logs[np.arange(len(labels)), labels], -np.log(np.exp(logs) + 1e-3)
        weights.append(float(method.weight))
        values = (given - weights[-1] * (losses * prior).sum(1)) / (1 + weights[-1])
        sieved = method.clock.epoch >= 4
        kept = given <= losses.mean(1) if sieved else np.full(len(labels), True)
        assert feed.step == ("train", int(sieved))
        result = method.step(feed)
        assert float(result.loss) == pytest.approx(values[kept].mean(), rel=1e-4)
        assert result.selected is not None
        assert result.selected.tolist() == kept.tolist()
        np.testing.assert_allclose(method.judgement().clean.numpy()[index], losses.mean(1) - given, atol=1e-5)
        prior = np.bincount(labels[kept], minlength=len(prior)) / kept.sum()
        dropped += int((~kept).sum())
    assert weights == pytest.approx([0, 0, 0, 1, 2, 2, 2, 2, 2, 2])
    assert dropped, "else the test shows nothing"


def test_cores2_keeps_the_frequencies_when_the_sieve_dropped_everything() -> None:
    method = CORES2(small_setup(LABELS), beta=2.0, plain=0.2, ramp=0.3, sieve=0.4, floor=1e-3)
    method.begin_epoch()
    method.begin_epoch()  # no step between them: nothing was kept
    np.testing.assert_allclose(method.prior.numpy(), np.bincount(LABELS) / len(LABELS))


# ----------------------------------------------------------------------------------------------------------------- sr


def sr(made: Any = None, **change: Any) -> SR:
    values: dict[str, Any] = {"temperature": 0.5, "power": 0.1, "lam": 1.2, "growth": 1.03, "every": 1}
    return SR(made or small_setup(LABELS), **{**values, "normalize": True, **change})


def test_srs_outputs_have_a_largest_value() -> None:
    """0.478 with 10 classes and temperature 0.5, reached at any size of the logits that point at one class."""
    z = 3 / np.sqrt(10)  # of the best unit vector, whose other entries are -z / 9
    limit = 1 / (1 + 9 * np.exp(-2 * z * 10 / 9))
    assert limit == pytest.approx(0.478, abs=1e-3)
    best = torch.full((1, 10), -1 / 9)
    best[0, 3] = 1
    random = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    for logits in (best, 1000 * best):
        assert float(sr().sharpened(logits).softmax(1).max()) == pytest.approx(limit, rel=1e-5)
    assert float(sr().sharpened(100 * random).softmax(1).max()) < limit
    assert float(sr(normalize=False).sharpened(1000 * best).softmax(1).max()) == 1


@pytest.mark.parametrize("loss", ["ce", "focal"])
def test_srs_loss_and_its_growing_weight(loss: str) -> None:
    made = small_setup(LABELS)
    made = made if loss == "ce" else made._replace(loss=lambda logits, labels: focal(logits, labels, gamma=0.5))
    method = sr(made, growth=2.0, every=3)
    for method.clock.epoch in range(5):
        method.begin_epoch()
        (feed,) = method.feeds()
        _, logits, labels = seen(method, feed)
        logs = log_softmax(2 * logits / np.linalg.norm(logits, axis=1, keepdims=True), axis=1)
        p = np.exp(logs)
        given = -logs[np.arange(len(labels)), labels]
        given = given if loss == "ce" else (1 - np.exp(-given)) ** 0.5 * given
        weight = 1.2 * 2.0 ** (method.clock.epoch // 3)
        assert float(method.weight) == pytest.approx(weight)
        expected = (given + weight * (p**0.1).sum(1)).mean()
        assert float(method.step(feed).loss) == pytest.approx(expected, rel=1e-5)


# ------------------------------------------------------------------------------------------------------------ aldr_kl


def test_aldrs_temperature_is_the_fixed_point() -> None:
    """Repeated visits end where the loss is largest over the temperature."""
    method = ALDRKL(small_setup(LABELS), initial=1.0, alpha=2.0, margin=0.0)
    z = torch.tensor([[1.9, -0.3, 0.8]], dtype=torch.float64)
    temperature = torch.ones(1, dtype=torch.float64)
    for _ in range(50):
        temperature = method.moved(z, temperature)

    def negative(t: float) -> float:
        worst = logsumexp((z.numpy()[0] - 1.9) / t) - np.log(3)
        return float(-(t * worst - 2 * np.log(3) / 2 * (t - 1) ** 2))

    best = minimize_scalar(negative, bounds=(0.2, 1.5), method="bounded", options={"xatol": 1e-8}).x
    assert float(temperature) == pytest.approx(best, abs=1e-4)
    assert 0.5 < best < 0.99, "else the test shows nothing"


# --------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize(
    ("method", "values", "name"),
    [
        (SOP, {"lr_u": 1.0, "lr_v": 1.0}, "lr_v"),
        (CORES2, {"beta": 2.0, "plain": 0.1, "ramp": 0.3, "sieve": 0.31, "floor": 1e-8}, "beta"),
        (ALDRKL, {"initial": 1.0, "margin": 0.1, "alpha": 2.0}, "alpha"),
    ],
)
def test_what_is_out_of_range_is_refused(method: type[ERM], values: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-1.0: must be a number"):
        method(small_setup(LABELS), **{**values, name: -1.0})
    with pytest.raises(ValueError, match="has its own loss and accepts only loss=ce"):
        method(small_setup(LABELS)._replace(loss=focal), **values)


def test_sr_refuses_what_is_out_of_range() -> None:
    with pytest.raises(ValueError, match="every=0: must be a whole number, at least 1"):
        sr(every=0)


def test_the_sieve_does_not_wait(monkeypatch) -> None:
    with shapes_only(monkeypatch):
        monkeypatch.setattr(CORES2, "feeds", lambda self: [Feed(("train", 1), f.index) for f in ERM.feeds(self)])
        result = take_two_steps(composed("dataset=digits", "method=cores2"), 1, 8)
        assert result.selected is not None
        assert result.selected.shape == (32,)
