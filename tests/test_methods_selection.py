"""Co-teaching+ and JoCoR: what each network learns from, against float64 numpy and one joint backward pass."""

import copy

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from test_methods import small_setup
from torch.nn import functional as F

from labelnoise.methods.co_teaching import noise_rate
from labelnoise.methods.co_teaching_plus import CoTeachingPlus
from labelnoise.methods.jocor import JoCoR
from labelnoise.training.learner import Learner
from labelnoise.training.method import Feed, Method

LABELS = [0, 1, 2, 1, 0, 2, 2, 1, 0, 2, 1, 0, 1, 2, 0, 1]


def logs_of(learners: list[Learner], method: Method, feed: Feed) -> tuple[list[np.ndarray], np.ndarray]:
    """log p of every image of the feed by each learner, in float64, and the labels."""
    index = feed.index["train"]
    pictures = method.train_set.plain(index)
    logits = [learner(pictures).detach().double().numpy() for learner in learners]
    return [log_softmax(one, axis=1) for one in logits], method.train_set.labels[index].numpy()


def assert_stepped(before: list[Learner], method: Method, totals: list[torch.Tensor]) -> None:
    """Every network took one step of plain SGD down its total."""
    for old, new, total in zip(before, method.learners(), totals, strict=True):
        weights = list(old.network.parameters())
        for weight, gradient, now in zip(
            weights, torch.autograd.grad(total, weights, retain_graph=True), new.network.parameters(), strict=True
        ):
            torch.testing.assert_close(now, weight - 0.1 * gradient)


def test_co_teaching_plus_exchanges_small_losses_among_disagreements() -> None:
    method = CoTeachingPlus(small_setup(LABELS), forget_rate=0.5, ramp=0.1, warm_up=0.1)
    (warm,) = method.feeds()
    assert warm.kind == ("train", 8), "plain co-teaching first"
    method.clock.epoch = 1
    method.begin_epoch()
    (feed,) = method.feeds()
    assert feed.kind == ("disagree", 8)
    before = copy.deepcopy(method.learners())
    logs, labels = logs_of(before, method, feed)
    differ = np.flatnonzero(logs[0].argmax(1) != logs[1].argmax(1))
    count = int(0.5 * len(differ))
    losses = [-one[np.arange(len(labels)), labels] for one in logs]
    small = [sorted(differ, key=lambda i: values[i])[:count] for values in losses]
    assert 4 <= len(differ) < len(labels), "else the test shows nothing"
    assert set(small[0]) != set(small[1]), "else the test shows nothing"
    index = feed.index["train"]
    pictures = method.train_set.plain(index)
    each = [F.cross_entropy(one(pictures), method.train_set.labels[index], reduction="none") for one in before]
    result = method.step(feed)
    assert result.selected is not None
    assert set(result.selected.nonzero().flatten().tolist()) == set(small[1]), "the other's choice"
    assert_stepped(before, method, [each[k][small[1 - k]].mean() for k in (0, 1)])


def test_co_teaching_plus_learns_nothing_where_the_networks_agree() -> None:
    method = CoTeachingPlus(small_setup(LABELS), forget_rate=0.5, ramp=0.1, warm_up=0.1)
    method.clock.epoch = 1
    first, second = method.learners()
    second.network.load_state_dict(first.network.state_dict())
    before = copy.deepcopy(first.network.state_dict())
    result = method.step(method.feeds()[0])
    assert result.selected is not None
    assert (float(result.loss), int(result.selected.sum())) == (0, 0)
    for learner in (first, second):
        assert all(torch.equal(before[name], value) for name, value in learner.network.state_dict().items())


def test_jocor_selects_by_the_joint_loss_and_descends_it() -> None:
    lam, keep = 0.7, 8
    method = JoCoR(small_setup(LABELS), forget_rate=0.5, ramp=0.1, lam=lam)
    (feed,) = method.feeds()
    assert feed.kind == ("train", keep)
    before = copy.deepcopy(method.learners())
    (p, q), labels = logs_of(before, method, feed)
    at = np.arange(len(labels)), labels
    divergences = (np.exp(p) * (p - q)).sum(1) + (np.exp(q) * (q - p)).sum(1)
    joint = -(1 - lam) * (p[at] + q[at]) + lam * divergences
    small = joint.argsort()[:keep]
    assert set(small) != set((-p[at]).argsort()[:keep]), "else the test shows nothing"

    index = feed.index["train"]
    pictures, given = method.train_set.plain(index), method.train_set.labels[index]
    one, two = (learner(pictures).log_softmax(1) for learner in before)
    total = (
        (1 - lam) * (F.nll_loss(one, given, reduction="none") + F.nll_loss(two, given, reduction="none"))
        + lam * F.kl_div(one, two, reduction="none", log_target=True).sum(1)
        + lam * F.kl_div(two, one, reduction="none", log_target=True).sum(1)
    )[torch.from_numpy(small)].mean()
    result = method.step(feed)
    assert result.selected is not None
    assert set(result.selected.nonzero().flatten().tolist()) == set(small)
    assert float(result.loss) == pytest.approx(joint[small].mean(), rel=1e-5)
    assert_stepped(before, method, [total, total])


def test_the_noise_rate_is_the_share_of_wrong_labels() -> None:
    """One of three classes is flipped at 0.6; a class without images does not count."""
    transition = torch.eye(3)
    transition[1] = torch.tensor([0.6, 0.4, 0.0])
    assert noise_rate(small_setup(LABELS)._replace(transition=transition)) == pytest.approx(0.2)
    transition[2] = 0
    assert noise_rate(small_setup(LABELS)._replace(transition=transition)) == pytest.approx(0.3)
    method = JoCoR(small_setup(LABELS)._replace(transition=transition), forget_rate=None, ramp=0, lam=0.9)
    assert method.forget_rate == pytest.approx(0.3)
    assert JoCoR(small_setup(LABELS), forget_rate=None, ramp=0, lam=0.9).forget_rate == 0.2


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (CoTeachingPlus, {"warm_up": 1.5}),
        (CoTeachingPlus, {"forget_rate": 1.0}),
        (JoCoR, {"lam": -0.1}),
        (JoCoR, {"ramp": float("nan")}),
    ],
)
def test_what_is_out_of_range_is_refused(make: type[Method], change: dict[str, float]) -> None:
    own = {"warm_up": 0.1} if make is CoTeachingPlus else {"lam": 0.9}
    (name,) = change
    with pytest.raises(ValueError, match=f"method.{name}="):
        make(small_setup(LABELS), **{"forget_rate": 0.4, "ramp": 0.1, **own, **change})
