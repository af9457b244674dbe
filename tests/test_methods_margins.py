"""MARVEL's margins, verdicts and weights, against hand-made histories and float64 numpy."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from support.small_setups import small_setup

from labelnoise.methods.marvel import MARVEL, MARVELPlus

LABELS = [0, 1, 2, 1, 0, 2, 2, 1]


def marvel(epochs: int = 10, **change: Any) -> MARVEL:
    values = {"warm_up": 0.2, "window": 0.3, "threshold": 0.0, **change}
    return (MARVELPlus if "gain" in values else MARVEL)(small_setup(LABELS, epochs=epochs), **values)


def test_marvel_abandons_after_consecutive_negative_margins() -> None:
    """A history of ten epochs: two of warm-up, then three negative margins in a row are one too many."""
    history = {  # image -> margins, and the epoch (from 1) in which it is abandoned
        "always sure": ([0.5] * 10, None),
        "never right": ([-0.5] * 10, 3),  # the warm-up's margins count, its verdict waits
        "late": ([-0.5, -0.5, 0.1, 0.1, 0.1, -0.1, -0.2, -0.3, 0.4, 0.4], 8),  # and does not return
        "two, then two": ([-0.5, -0.5, 0.1, -0.1, -0.1, 0.1, -0.1, -0.1, 0.1, -0.1], None),
        "at the threshold": ([0.0] * 10, None),
    }
    method, index = marvel(), torch.arange(len(history))
    when: dict[int, int] = {}
    for method.clock.epoch in range(10):
        (feed, *_) = method.feeds()
        margins = torch.tensor([margins[method.clock.epoch] for margins, _ in history.values()])
        method.visit(index, margins, feed.step == ("train", 1))
        for image in method.abandoned.nonzero().flatten().tolist():
            when.setdefault(image, method.clock.epoch + 1)
    assert [when.get(image) for image in range(len(history))] == [epoch for _, epoch in history.values()]
    clean = method.judgement().clean[: len(history)]
    assert clean.argsort().tolist()[:2] == [1, 2], "those abandoned are the most suspicious, the longest first"
    assert float(clean[0]) == 0.5


@pytest.mark.parametrize("change", [{}, {"gain": 2.0, "arduous": 0.3}])
def test_marvels_loss_is_the_weighted_mean(change: dict[str, float]) -> None:
    """Of the images not abandoned, by their margins; an image with weight 0 moves nothing."""
    method = marvel(**change)
    method.clock.epoch = 5
    method.abandoned[[1, 4]] = True
    (feed,) = method.feeds()
    index = feed.index["train"]
    labels = method.train_set.labels[index].numpy()
    logits = method.learner(method.train_set.plain(index)).detach().double().numpy()
    p, rows = softmax(logits, axis=1), np.arange(len(index))
    others = np.where(np.eye(3)[labels] > 0, -1, p).max(1)
    margin = p[rows, labels] - others
    small = (margin >= 0) & (margin < 0.3)
    weights = np.where(np.isin(index.numpy(), [1, 4]), 0.0, 1 + (change.get("gain", 0.0) * small))
    expected = (weights * -log_softmax(logits, axis=1)[rows, labels]).sum() / weights.sum()
    result = method.step(feed)
    assert small.any()
    assert not small.all()
    assert float(result.loss) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(method.margin.numpy()[index.numpy()], margin, atol=1e-6)
    assert result.selected.tolist() == (~np.isin(index.numpy(), [1, 4])).tolist()
    assert float(result.metrics["abandoned"]) == 0.25


def test_a_batch_of_abandoned_images_changes_no_weight() -> None:
    method = marvel()
    method.abandoned.fill_(True)
    before = [weight.clone() for weight in method.learner.network.parameters()]
    assert float(method.step(method.feeds()[0]).loss) == 0
    assert all(map(torch.equal, before, method.learner.network.parameters()))


@pytest.mark.parametrize("name", ["warm_up", "window", "gain"])
def test_marvels_hyper_parameters_have_ranges(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}=-0.1: must be a number"):
        marvel(**{"gain": 1.0, "arduous": 0.5, name: -0.1})
