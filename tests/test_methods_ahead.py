"""Methods that look ahead: their meta-gradients against finite differences, and what they learn where it is known."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from support.small_setups import planted, small_setup
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise import losses
from labelnoise.meta_learning.adaptive_loss import FORMS, AdaptiveLoss, Form
from labelnoise.meta_learning.meta_weight_net import MetaWeightNet
from labelnoise.meta_learning.mltp import MLTP
from labelnoise.meta_learning.mslg import MSLG
from labelnoise.training.clock import Clock
from labelnoise.training.method import Feed, Method, Setup

GIVEN, TRUSTED = [0, 1, 2, 1, 0, 2, 2, 1], [0, 1, 2, 0]


def in_float64(method: Method) -> tuple[Method, Feed]:
    """A method in float64 and its first feed, which has all eight images and the four trusted ones."""
    method.double()
    for train in filter(None, (method.train_set, method.train_set.trusted)):
        train.normalised = lambda pixels, single=train.normalised: single(pixels).double()
    (feed,) = method.feeds()
    return method, feed


def numeric(function: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    """The gradient by central differences."""
    found = torch.zeros_like(at)
    for i in range(at.numel()):
        moved = torch.zeros_like(at).view(-1).index_fill(0, torch.tensor(i), step).view_as(at)
        found.view(-1)[i] = (function(at + moved) - function(at - moved)) / (2 * step)
    return found


def after_a_step(
    method: Method, feed: Feed, loss: Callable[[nn.Module, Tensor, Tensor], Tensor], rate: float
) -> Tensor:
    """The trusted images' cross-entropy after one real step of SGD of a copy of the network."""
    network = copy.deepcopy(method.network)
    batch, trusted = feed.index["train"], feed.index["trusted"]
    loss(network, method.train_set.plain(batch), method.train_set.labels[batch]).backward()
    few = method.train_set.trusted
    assert few is not None
    with torch.no_grad():
        for weight in network.parameters():
            weight.sub_(rate * weight.grad)
        return F.cross_entropy(network(few.plain(trusted)), few.labels[trusted])


# ----------------------------------------------------------------------------------------------------- meta_weight_net


def weight_net(setup: Setup, rate: float = 1e-3) -> MetaWeightNet:
    torch.manual_seed(0)
    return MetaWeightNet(setup, hidden=20, rate=rate, decay=0.0)


def test_meta_weight_nets_gradient_is_that_of_differences() -> None:
    method, feed = in_float64(weight_net(small_setup(GIVEN, trusted=TRUSTED)))
    batch = method.train_set.batch(feed.index["train"])
    weights = torch.linspace(0.1, 0.9, 8, dtype=torch.float64)
    slope, trusted_loss = method.look_ahead(feed, batch, method.learner(batch.images), weights)

    def moved(v: Tensor) -> Tensor:
        weighted = lambda net, x, y: (v * F.cross_entropy(net(x), y, reduction="none")).mean()  # noqa: E731
        return after_a_step(method, feed, weighted, 0.1)

    torch.testing.assert_close(trusted_loss, moved(weights))
    torch.testing.assert_close(slope, numeric(moved, weights), rtol=1e-6, atol=1e-9)
    assert float(slope.abs().max()) > 1e-3


def test_meta_weight_net_gives_planted_wrong_labels_less() -> None:
    """Its weight falls with the loss, and is smaller for the wrong labels, though it never sees which they are."""
    setup, right = planted()
    method = weight_net(setup, rate=0.01)
    for method.clock.epoch in range(40):
        for feed in method.feeds():
            method.step(feed)
    losses = method.score(lambda index, x, y: method.loss(method.learner(x), y))
    with torch.no_grad():
        low, high = losses[right].median(), losses[~right].median()
        curve = method.weighting(torch.linspace(float(low), float(high), 20)[:, None]).squeeze(1)
    assert bool((curve.diff() < 0).all())
    assert float(curve[0] - curve[-1]) > 0.3
    clean = method.judgement().clean
    assert float(clean[right].mean()) > float(clean[~right].mean()) + 0.2


# ---------------------------------------------------------------------------------------------------------------- mslg


def soft_labels(setup: Setup, beta: float = 100.0, warm_up: float = 0.0) -> MSLG:
    return MSLG(setup, alpha=0.5, beta=beta, gamma=1.0, warm_up=warm_up, confidence=2.0)


def test_mslgs_gradient_is_that_of_differences() -> None:
    method, feed = in_float64(soft_labels(small_setup(GIVEN, trusted=TRUSTED)))
    pictures = method.train_set.view(feed.index["train"])
    logits = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    slope, trusted_loss = method.look_ahead(feed, pictures, method.learner(pictures), logits)

    def moved(s: Tensor) -> Tensor:
        def distance(net: nn.Module, x: Tensor, _: Tensor) -> Tensor:
            p = net(x).softmax(dim=1)
            return (p * (p / s.softmax(dim=1)).log()).sum() / 24

        return after_a_step(method, feed, distance, 0.5)

    torch.testing.assert_close(trusted_loss, moved(logits))
    torch.testing.assert_close(slope, numeric(moved, logits), rtol=1e-6, atol=1e-9)
    assert float(slope.abs().max()) > 1e-4


def test_mslgs_soft_label_moves_as_worked_out_by_hand() -> None:
    """One image, trusted with another label than the given one. With h = alpha (|x|^2 + 1) / C for a linear network,
    the virtual step takes h p (log p - log q - KL) off the logits z, and the slope of s is
    h (p (p' - e) - p sum_k p_k (p'_k - e_k)), with e the trusted label and p' the prediction after the step."""
    method, feed = in_float64(soft_labels(small_setup([1], trusted=[0])))
    method.trusted.images = method.train_set.images
    x = method.train_set.plain(torch.tensor([0]))
    z = method.predict(x).detach()[0]
    p, q, e = z.softmax(0), torch.tensor([0.0, 2.0, 0.0]).double().softmax(0), torch.tensor([1.0, 0.0, 0.0])
    h = 0.5 * (float((x**2).sum()) + 1) / 3
    off = (p / q).log()
    after = (z - h * p * (off - p @ off)).softmax(0)
    slope = h * (p * (after - e) - p * (p @ (after - e)))
    result = method.step(Feed(("meta",), feed.index))
    torch.testing.assert_close(method.label_logits[0], torch.tensor([0.0, 2.0, 0.0]).double() - 100 * slope)
    assert slope.sign().tolist()[0] == -1, "towards the trusted label"
    assert result.target is not None
    assert result.target.tolist() == [0]


def test_mslg_finds_planted_wrong_labels() -> None:
    """After a warm-up, and says what they should be; the others keep theirs."""
    setup, right = planted()
    truth = torch.arange(len(right)) % 3
    method = soft_labels(setup, beta=200.0, warm_up=0.25)
    for method.clock.epoch in range(40):
        for feed in method.feeds():
            result = method.step(feed)
            assert feed.step == ("train",) if method.clock.epoch < 10 else ("meta",)
            assert ("trusted_loss" in result.metrics) == (method.clock.epoch >= 10)
    judged = method.judgement()
    assert judged.proposed is not None
    found = (judged.proposed == truth).double()
    assert float(found[~right].mean()) > 0.8
    assert float(found[right].mean()) > 0.95


# ---------------------------------------------------------------------------------------------------------------- mltp


def two_batches(weight: float = 0.8) -> tuple[MLTP, Feed]:
    """In float64, with the first four and the last four of eight images."""
    method, _ = in_float64(MLTP(small_setup(GIVEN), weight=weight, step=2.0))
    return method, Feed(("train",), {"train": torch.arange(4), "second": torch.arange(4, 8)})


def test_mltps_step_is_the_gradient_by_differences() -> None:
    """Of the sum of both losses with respect to the weights: second derivatives included."""
    method, feed = two_batches()
    x, y = method.train_set.plain(torch.arange(8)), method.train_set.labels
    layer = method.network[1]
    start = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().clone()

    def loss(at: Tensor, part: slice) -> Tensor:
        return F.cross_entropy(F.linear(x[part].flatten(1), at[:, :-1], at[:, -1]), y[part])

    def both(at: Tensor) -> Tensor:
        free = at.clone().requires_grad_()
        (slope,) = torch.autograd.grad(loss(free, slice(0, 4)), free)
        return loss(at, slice(0, 4)) + 0.8 * loss(at - 0.2 * slope, slice(4, 8))

    result = method.step(feed)
    moved = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
    torch.testing.assert_close(result.loss, both(start))
    torch.testing.assert_close(start - moved, 0.1 * numeric(both, start), rtol=1e-6, atol=1e-9)


def test_mltp_shows_every_image_in_both_places() -> None:
    method = MLTP(small_setup(GIVEN * 2)._replace(clock=Clock(10, 5)), weight=1.0, step=1.0)
    feeds = method.feeds()
    orders = [torch.cat([feed.index[role] for feed in feeds]) for role in ("train", "second")]
    assert all(torch.equal(order.sort().values, torch.arange(16)) for order in orders)
    assert not torch.equal(*orders)


# ------------------------------------------------------------------------------------------------------- adaptive_loss

HYPER: dict[Form, list[float]] = {
    "gce": [0.6],
    "sce": [0.7, 1.3],
    "bi_tempered": [0.6, 1.7],
    "poly_soft": [1.5, 3.0],  # some images of the batch are above the threshold
}


def adaptive(form: Form, setup: Setup | None = None, rate: float = 1.0) -> AdaptiveLoss:
    return AdaptiveLoss(setup or small_setup(GIVEN, trusted=TRUSTED), form=form, rate=rate)


def soft_weighted(logits: Tensor, labels: Tensor, lam: float, d: float) -> Tensor:
    value = F.cross_entropy(logits, labels, reduction="none")
    below = (d - 1) / d * lam * (1 - (1 - value.clamp(max=lam) / lam) ** (d / (d - 1)))
    return torch.where(value < lam, below, (d - 1) / d * lam)


OTHERS = {"gce": losses.gce, "sce": losses.sce, "bi_tempered": losses.bi_tempered, "poly_soft": soft_weighted}


@pytest.mark.parametrize("form", HYPER)
def test_an_adaptive_losss_value_is_that_of_the_loss(form: Form) -> None:
    logits = 3 * torch.randn(40, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, hyper = torch.arange(40) % 5, HYPER[form]
    found = FORMS[form].loss(logits, labels, *torch.tensor(hyper, dtype=torch.float64))
    torch.testing.assert_close(found, OTHERS[form](logits, labels, *hyper), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", HYPER)
def test_adaptive_losss_gradient_is_that_of_differences(form: Form) -> None:
    """Which needs derivatives in the logits and the hyper-parameters both."""
    method, feed = in_float64(adaptive(form))
    batch = method.train_set.batch(feed.index["train"])
    hyper = torch.tensor(HYPER[form], dtype=torch.float64)
    slope, trusted_loss = method.look_ahead(feed, batch, method.learner(batch.images), hyper)

    def moved(at: Tensor) -> Tensor:
        return after_a_step(method, feed, lambda net, x, y: OTHERS[form](net(x), y, *at.tolist()).mean(), 0.1)

    torch.testing.assert_close(trusted_loss, moved(hyper), rtol=1e-6, atol=0)
    torch.testing.assert_close(slope, numeric(moved, hyper), rtol=1e-4, atol=1e-8)
    assert float(slope.abs().min()) > 1e-5


@pytest.mark.parametrize("form", HYPER)
def test_hyper_parameters_move_against_their_gradient_within_their_range(form: Form) -> None:
    method, feed = in_float64(adaptive(form, rate=2.0))
    batch, before = method.train_set.batch(feed.index["train"]), method.hyper.clone()
    slope, _ = method.look_ahead(feed, batch, method.learner(batch.images), before)
    result = method.step(feed)
    torch.testing.assert_close(method.hyper, before - 0.2 * slope)
    for name, value in zip(FORMS[form].ranges, method.hyper, strict=True):
        assert float(result.metrics[name]) == float(value)
    method.rate = 1e6
    method.step(feed)
    edges = torch.stack([method.low, method.high])
    assert bool(((method.hyper == edges).any(dim=0)).all())


def test_poly_soft_learns_to_give_planted_wrong_labels_less() -> None:
    """The weight of an image, the loss's slope in the cross-entropy, ends lower for wrong labels than it began."""
    setup, right = planted()
    method = adaptive("poly_soft", setup, rate=100.0)

    def weights() -> Tensor:
        lam, d = method.hyper
        value = method.score(lambda _, x, y: F.cross_entropy(method.learner(x), y, reduction="none"))
        return (1 - value / lam).clamp(min=0) ** (1 / (d - 1))

    start = method.hyper.clone()
    for method.clock.epoch in range(40):
        for feed in method.feeds():
            method.step(feed)
    learned = weights()
    assert float(learned[right].mean() - learned[~right].mean()) > 0.4
    method.hyper.copy_(start)
    fixed = weights()
    assert float(learned[~right].mean()) < float(fixed[~right].mean()) - 0.1


# ---------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize("make", [weight_net, soft_labels, partial(adaptive, "gce")])
def test_they_need_trusted_images(make: Callable[[Setup], Method]) -> None:
    with pytest.raises(ValueError, match=r"^num_trusted=0: method=[a-z_]+ needs images with true labels"):
        make(small_setup(GIVEN))
