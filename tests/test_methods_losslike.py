"""Methods that change the target or the loss of each image, against float64 numpy and closed forms."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from support.small_setups import small_setup

from labelnoise.losses import ce, gce
from labelnoise.methods.bootstrap import Bootstrap
from labelnoise.methods.elr import ELR
from labelnoise.methods.erm import ERM
from labelnoise.methods.label_smoothing import LabelSmoothing
from labelnoise.methods.mixup import Mixup

LABELS = [0, 1, 2, 1, 0, 2, 2, 1]
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]


def logs_and_labels(method: ERM, index: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """log p in float64 before a step, and one-hot labels. Shapes: (B, C) each."""
    logits = method.learner(method.train_set.plain(index)).detach().double().numpy()
    return log_softmax(logits, axis=1), np.eye(3)[method.train_set.labels[index].numpy()]


def smoothed(rate: float) -> Rule:
    return lambda logs, labels: (1 - rate) * labels + rate / 3


def bootstrapped(kind: str, beta: float) -> Rule:
    def target(logs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        own = np.exp(logs) if kind == "soft" else np.eye(3)[logs.argmax(1)]
        return beta * labels + (1 - beta) * own

    return target


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (partial(LabelSmoothing, smoothing=0.3), smoothed(0.3)),
        (partial(LabelSmoothing, smoothing=-2.0), smoothed(-2.0)),
        (partial(Bootstrap, kind="hard", beta=0.1), bootstrapped("hard", 0.1)),
    ],
)
def test_a_target_is_the_papers(make: Callable[..., ERM], rule: Rule) -> None:
    method = make(small_setup(LABELS))
    (feed,) = method.feeds()
    logs, labels = logs_and_labels(method, feed.index["train"])
    expected = -(rule(logs, labels) * logs).sum(1).mean()
    assert float(method.step(feed).loss) == pytest.approx(expected, rel=1e-5)


def test_negative_smoothing_is_sharper_than_the_label() -> None:
    """The gradient is p minus a target below 0 at the other classes."""
    method = LabelSmoothing(small_setup([1]), smoothing=-1.0)
    logits = torch.zeros(1, 3, requires_grad=True)
    batch = method.train_set.batch(torch.tensor([0]))
    outputs = method.criterion.outputs(method.learner, batch)._replace(logits=logits)
    method.objective(outputs, batch).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[2 / 3, -4 / 3, 2 / 3]]))


def test_mixup_takes_any_loss() -> None:
    method = Mixup(small_setup(LABELS)._replace(loss=partial(gce, q=0.7)), alpha=8.0)
    assert 0 < float(method.step(method.feeds()[0]).loss) < 1 / 0.7


def test_elrs_targets_are_exponential_means_and_its_loss() -> None:
    method = ELR(small_setup(LABELS), lam=3.0, beta=0.7)
    mean = np.zeros((len(LABELS), 3))
    for _ in range(4):
        (feed,) = method.feeds()
        index = feed.index["train"].numpy()
        logs, labels = logs_and_labels(method, feed.index["train"])
        p = np.exp(logs)
        mean[index] = 0.7 * mean[index] + 0.3 * p
        expected = -(labels * logs).sum(1) + 3 * np.log(1 - (p * mean[index]).sum(1))
        assert float(method.step(feed).loss) == pytest.approx(expected.mean(), rel=1e-4)
    np.testing.assert_allclose(method.target.numpy(), mean, atol=2e-4)
    audit = method.judgement()
    np.testing.assert_allclose(audit.clean.numpy(), mean[np.arange(len(LABELS)), LABELS], atol=2e-4)
    assert audit.proposed is not None
    assert audit.proposed.tolist() == mean.argmax(1).tolist()


REFUSED: list[tuple[type[ERM], dict[str, Any], str]] = [
    (LabelSmoothing, {"smoothing": 1.5}, "smoothing=1.5: must be a number, at most 1"),
    (Bootstrap, {"kind": "firm"}, "kind=firm: must be soft or hard"),
    (Bootstrap, {"kind": "soft", "beta": -1.0}, "beta=-1.0: must be"),
    (Mixup, {"alpha": 0.0}, "alpha=0.0: must be a number above 0"),
    (ELR, {"lam": -1.0, "beta": 0.7}, "lam=-1.0: must be"),
    (ELR, {"lam": 1.0, "beta": 1.0}, "beta=1.0: must be"),
]


@pytest.mark.parametrize(("method", "values", "line"), REFUSED)
def test_what_is_out_of_range_is_refused(method: type[ERM], values: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        method(small_setup(LABELS), **values)


@pytest.mark.parametrize(
    ("method", "name", "values"),
    [
        (LabelSmoothing, "label_smoothing", {"smoothing": 0.1}),
        (Bootstrap, "bootstrap", {"kind": "soft"}),
        (ELR, "elr", {"lam": 1.0, "beta": 0.5}),
    ],
)
def test_a_loss_of_its_own_takes_no_other(method: type[ERM], name: str, values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"loss=gce: method={name} has its own loss and accepts only loss=ce"):
        method(small_setup(LABELS)._replace(loss=partial(gce, q=0.7)), **values)
    method(small_setup(LABELS)._replace(loss=partial(ce)), **values)
