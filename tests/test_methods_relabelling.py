"""Refinery and DivideMix: their targets, losses, stages and division, against float64 numpy and closed forms."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import log_softmax, softmax
from support.shapes import shapes_only
from support.small_setups import small_setup
from torch import Tensor

from labelnoise.estimates.gaussian_mixture import clean_probability
from labelnoise.experiment.run import compose, run
from labelnoise.methods.divide_mix import DivideMix, sharpen
from labelnoise.methods.refinery import Refinery, entropy, prior_divergence
from labelnoise.training.method import Feed
from labelnoise.training.schedules import cosine

LABELS = [0, 1, 2, 1, 0, 2, 2, 1, 0, 2, 1, 0]


def refinery(**change: Any) -> Refinery:
    values: dict[str, Any] = {"alpha": 1.2, "beta": 0.8, "begin": 0.4, "first": 0.7, "averaged": 0.3, "soft": True}
    return Refinery(small_setup(LABELS), **{**values, **change})


def divide_mix(labels: list[int] = LABELS, **change: Any) -> DivideMix:
    values: dict[str, Any] = {"warm_up": 0.1, "ramp": 0.4, "alpha": 4.0, "temperature": 0.5, "threshold": 0.5}
    return DivideMix(small_setup(labels), **{**values, "lam_u": 25, "confidence_penalty": False, **change})


def probs_of(logits: Tensor) -> np.ndarray:
    return softmax(logits.detach().double().numpy(), axis=1)


# ---------------------------------------------------------------------------------------------------------- refinery


@pytest.mark.parametrize("soft", [True, False])
def test_refinery_targets_are_the_mean_of_the_last_predictions(soft: bool) -> None:
    """Ten epochs: labels as given in the first four, from then on means of three epochs; the last three retrain."""
    method, seen, everyone = refinery(soft=soft), [], torch.arange(len(LABELS))
    labels = np.eye(3)[LABELS]
    for method.clock.epoch in range(10):
        method.begin_epoch()
        epoch, last = method.clock.epoch, min(method.clock.epoch, 7)
        mean = np.mean(seen[last - 3 : last], axis=0) if epoch >= 4 else labels
        expected = mean if soft or epoch < 4 else np.eye(3)[mean.argmax(1)]
        np.testing.assert_allclose(method.target.numpy(), expected, atol=1e-6)
        before = copy.deepcopy(method.learners())
        seen.append(probs_of(before[0](method.train_set.plain(everyone))))  # one batch: what the step is about to see
        (feed,) = method.feeds()
        assert feed.step == (("train", 0, epoch % 3) if epoch < 7 else ("train", 1, 0))
        result = method.step(feed)
        assert result.target is not None
        assert torch.equal(result.target, method.target[feed.index["train"]].argmax(1))
        for k, (old, new) in enumerate(zip(before, method.learners(), strict=True)):
            moved = any(
                not torch.equal(a, b) for a, b in zip(old.network.parameters(), new.network.parameters(), strict=True)
            )
            assert moved == (k == (epoch >= 7)), "the network of the stage alone"
    audit = method.judgement()
    assert audit.proposed is not None
    assert torch.equal(audit.proposed, method.target.argmax(1))
    np.testing.assert_allclose(audit.clean.numpy(), method.target.numpy()[np.arange(len(LABELS)), LABELS])


def test_refinerys_penalties_vanish_where_they_should() -> None:
    certain = torch.eye(4).mul(200).log_softmax(1)  # each class once, without doubt
    assert float(prior_divergence(certain)) == pytest.approx(0, abs=1e-6)
    assert float(entropy(certain)) == pytest.approx(0, abs=1e-6)
    one_class = certain[[0, 0, 0, 0]]
    assert float(prior_divergence(one_class)) > 100
    assert float(entropy(torch.zeros(2, 4).log_softmax(1))) == pytest.approx(np.log(4))


def test_refinerys_second_network_starts_its_schedule_late() -> None:
    method = refinery()
    first, second = method.learners()
    second.schedule = cosine
    rates = []
    for epoch in range(10):
        for learner in (first, second):
            learner.begin_epoch(epoch)
        rates.append([learner.optimizer.param_groups[0]["lr"] for learner in (first, second)])
    assert [rate for rate, _ in rates] == [0.1] * 10
    assert [rate for _, rate in rates[7:]] == pytest.approx([0.1 * cosine(epoch, 3) for epoch in range(3)])


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_refinerys_stages_in_short_runs(epochs: int) -> None:
    """Two epochs see both, the second with targets that were replaced."""
    made = small_setup(LABELS, epochs=epochs)
    method = Refinery(made, 1.2, 0.8, begin=0.22, first=0.625, averaged=0.03, soft=True)
    kinds = []
    for method.clock.epoch in range(epochs):
        method.begin_epoch()
        (feed,) = method.feeds()
        method.step(feed)
        kinds.append(feed.step[1])
    assert kinds == [[0], [0, 1], [0, 0, 1]][epochs - 1]
    method.clock.epoch = epochs
    assert method.network is method.learners()[int(epochs > 1)].network
    assert torch.equal(method.target, torch.eye(3)[LABELS]) == (epochs == 1)


# ---------------------------------------------------------------------------------------------------------- divide_mix


def test_the_mixture_recovers_planted_losses() -> None:
    """600 clean and 400 noisy losses of two known Gaussians: the posterior is theirs."""
    draw = np.random.RandomState(0)
    losses = np.concatenate([draw.normal(0.4, 0.1, 600), draw.normal(1.6, 0.25, 400)])
    found = clean_probability(torch.from_numpy(losses).float()).double().numpy()
    clean, noisy = 0.6 * stats.norm.pdf(losses, 0.4, 0.1), 0.4 * stats.norm.pdf(losses, 1.6, 0.25)
    inside = losses > 0.2  # far below, a wide Gaussian is above a narrow one
    np.testing.assert_allclose(found[inside], (clean / (clean + noisy))[inside], atol=0.15)
    assert ((found > 0.5) == (np.arange(1000) < 600)).mean() > 0.99


def test_the_mixture_takes_equal_losses_for_clean() -> None:
    assert clean_probability(torch.full((5,), 0.3)).tolist() == [1.0] * 5


def test_sharpening() -> None:
    probs = softmax(np.random.RandomState(0).normal(size=(4, 3)), axis=1)
    expected = probs**2 / (probs**2).sum(1, keepdims=True)
    np.testing.assert_allclose(sharpen(torch.from_numpy(probs), 0.5).numpy(), expected)
    assert sharpen(torch.tensor([[1.0, 0.0]]), 0.5).tolist() == [[1, 0]]


def test_each_network_gets_the_others_division() -> None:
    method = divide_mix(batch := LABELS)
    method.clock.epoch, method.clock.batch_size = 1, 4
    method.clean[:, 0] = torch.linspace(0, 1, len(batch))
    method.clean[:, 1] = torch.tensor([1.0] * 3 + [0.0] * 9)
    feeds = method.feeds()
    for k, wanted in ((0, {0, 1, 2}), (1, set(range(6, 12)))):
        mine = [feed for feed in feeds if feed.step == ("mix", k)]
        labelled = torch.cat([feed.index["labelled"] for feed in mine]).tolist()
        assert sorted(labelled) == sorted(wanted), "each once"
        assert not wanted & set(torch.cat([feed.index["unlabelled"] for feed in mine]).tolist())
    method.clean.fill_(1)
    assert all(set(feed.index) == {"labelled"} for feed in method.feeds())
    method.clean.fill_(0)
    assert {feed.step[0] for feed in method.feeds()} == {"warm"}, "nothing is labelled"


def test_co_refinement_and_co_guessing() -> None:
    method = divide_mix()
    index, labelled = torch.tensor([4, 0, 7, 2, 9]), 3
    method.clean[:, 1] = torch.linspace(0.1, 0.9, len(LABELS))
    views = [torch.randn(5, 1, 4, 4) for _ in range(2)]
    training = []
    for learner in method.learners():
        learner.network.register_forward_pre_hook(lambda network, _: training.append(network.training))
    targets, own = method.targets(0, index, labelled, views)
    assert training == [True, False], "only the network that learns is in training mode"
    mine, theirs = (np.mean([probs_of(learner(view)) for view in views], axis=0) for learner in method.learners())
    np.testing.assert_allclose(own.numpy(), mine, rtol=1e-5)
    weight = method.clean[index[:3], 1].double().numpy()[:, None]
    refined = weight * np.eye(3)[np.array(LABELS)[index[:3].numpy()]] + (1 - weight) * mine[:3]
    expected = np.concatenate([refined, (mine[3:] + theirs[3:]) / 2]) ** 2
    np.testing.assert_allclose(targets.numpy(), expected / expected.sum(1, keepdims=True), rtol=1e-4)
    assert all(learner.training for learner in method.learners())


@pytest.mark.parametrize("unlabelled", [[5, 1, 8, 3], []])
def test_the_mixed_loss(unlabelled: list[int]) -> None:
    """The step's draws are repeated from the same states."""
    method = divide_mix()
    method.weight.fill_(25)
    method.clean[:, 1] = 0.8
    roles = {"labelled": torch.tensor([0, 4, 7])} | ({"unlabelled": torch.tensor(unlabelled)} if unlabelled else {})
    index = torch.cat(list(roles.values()))
    order = [0, 1, 2, 0, 1, 2, *(2 * list(range(3, len(index))))]  # two views are equal: nothing augments
    pictures = method.train_set.plain(index)
    targets, _ = method.targets(0, index, 3, [pictures, pictures])
    learner = copy.deepcopy(method.learners()[0])

    torch.manual_seed(5)
    share = float(torch.distributions.Dirichlet(torch.full((2,), 4.0)).sample().max())
    partner = torch.randperm(len(order), generator=torch.Generator().manual_seed(6))
    torch.manual_seed(5)
    method.train_set.generator.manual_seed(6)
    result = method.step(Feed(("mix", 0), roles))

    images, goal = pictures[order], targets.double().numpy()[order]
    goal = share * goal + (1 - share) * goal[partner.numpy()]
    logs = log_softmax(learner(share * images + (1 - share) * images[partner]).detach().double().numpy(), axis=1)
    expected = -(goal[:6] * logs[:6]).sum(1).mean()
    if unlabelled:
        expected += 25 * np.square(np.exp(logs[6:]) - goal[6:]).mean()
    assert float(result.loss) == pytest.approx(expected, rel=1e-4)
    assert result.selected is not None
    assert result.selected.tolist() == [True] * 3 + [False] * len(unlabelled)
    assert torch.equal(method.proposed[index], targets.argmax(1))


def test_the_weight_of_the_unlabelled_loss_grows() -> None:
    method = divide_mix()
    weights = []
    for method.clock.epoch in range(10):
        method.begin_epoch()
        weights.append(float(method.weight))
    assert weights == pytest.approx([0, 0, 6.25, 12.5, 18.75, 25, 25, 25, 25, 25])


def test_mixing_does_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """`test_graphs` takes the steps of the first epoch, which are the warm-up's."""
    with shapes_only(monkeypatch):
        made = divide_mix()
        for k in (0, 1):
            result = made.step(Feed(("mix", k), {"labelled": torch.arange(4), "unlabelled": torch.arange(4, 7)}))
            assert result.loss.shape == ()


# ---------------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (refinery, {"alpha": -1.0}),
        (refinery, {"first": 1.1}),
        (refinery, {"begin": 0.8}),
        (divide_mix, {"alpha": 0.0}),
        (divide_mix, {"temperature": -0.5}),
        (divide_mix, {"threshold": 2.0}),
        (divide_mix, {"lam_u": float("nan")}),
    ],
)
def test_what_is_out_of_range_is_refused(make: Any, change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}="):
        make(**change)


@pytest.mark.parametrize("method", ["refinery", "divide_mix"])
def test_a_loss_that_would_not_be_used_is_refused(method: str, tmp_path: Any) -> None:
    common = ["dataset=digits", "num_trusted=1300", "epochs=1", "threads=1", f"results={tmp_path}", f"method={method}"]
    with pytest.raises(ValueError, match=f"^loss=gce: method={method} has its own loss and accepts only loss=ce$"):
        run(compose([*common, "loss=gce"]), quiet=True)
    record = run(compose(common), quiet=True)
    assert len(record["history"]["test_acc"]) == 1
