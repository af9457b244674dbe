"""Methods of several trainings: who trains on what, and whose labels change by whose predictions."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support.configs import composed
from support.permuted_truth import COMMON, small
from support.shapes import shapes_only
from support.small_setups import planted, small_setup
from torch import Tensor

from labelnoise.checks import method as method_check
from labelnoise.estimates.beta_mixture import fit_beta_mixture, wrong_probability
from labelnoise.estimates.closest_part import closest_part
from labelnoise.experiment.components import Components, make_loss
from labelnoise.methods.drpl import DRPL
from labelnoise.methods.fl_select import FLSelect
from labelnoise.methods.ili import ILI
from labelnoise.methods.slr import SLR
from labelnoise.training.device import prepare
from labelnoise.training.method import Feed, Method

LABELS = [0, 1, 2, 1, 0, 2, 2, 1, 0, 2, 1, 0]


def train(method: Method, epochs: int | None = None) -> list[set[int]]:
    """Train to the end, or these first epochs. Returns the images that each epoch's steps used."""
    used, clock = [], method.clock
    for epoch in range(epochs or clock.epochs):
        clock.epoch = epoch
        method.begin_epoch()
        feeds = method.feeds()
        used.append({int(i) for feed in feeds for i in feed.index["train"]})
        for feed in feeds:
            method.step(feed)
    return used


def moved(labels: list[int], image: int) -> list[int]:
    """The labels with another one for one image."""
    return [(label + (place == image)) % 3 for place, label in enumerate(labels)]


# ----------------------------------------------------------------------------------------------------------------- slr


def slr(labels: list[int] = LABELS, epochs: int = 13, **change: Any) -> SLR:
    """Thirteen epochs: two rounds of three folds, an epoch each, and seven on all images."""
    values: dict[str, Any] = {"folds": 3, "rounds": 2, "rate": 0.5, "last": 7 / 13}
    return SLR(small_setup(labels, epochs=epochs), **{**values, **change})


def test_slrs_guesses_come_from_networks_that_did_not_see_the_image() -> None:
    method, everyone = slr(), set(range(len(LABELS)))
    rounds = []
    for stage, used in enumerate(train(method)[:6]):
        train(again := slr(), stage + 1)
        again.clock.epoch = stage + 1
        before = again.guess.clone()
        again.begin_epoch()
        guessed = set((again.guess != before).any(1).nonzero().flatten().tolist())
        assert guessed, "the network predicts somebody"
        assert used == everyone - guessed, "and has seen all others and nobody of these"
        rounds.append(guessed)
    for three in (rounds[:3], rounds[3:]):
        assert set.union(*three) == everyone
        assert sum(map(len, three)) == len(everyone), "everyone once in a round"
    assert rounds[:3] != rounds[3:], "other folds in the next round"


@pytest.mark.parametrize("image", [0, 5, 11])
def test_an_images_label_does_not_touch_slrs_first_guess_of_it(image: int) -> None:
    one, other = slr(), slr(moved(LABELS, image))
    for method in (one, other):
        train(method, 4)
    assert torch.equal(one.guess[image], other.guess[image])
    assert not torch.equal(one.guess, other.guess), "those of the images beside it"


def test_slrs_targets_move_after_a_round() -> None:
    labels = torch.eye(3)[LABELS]
    seen: list[Tensor] = []
    for epochs in (3, 4, 6, 7, 13):
        train(method := slr(rate=0.25), epochs)
        seen.append(method.target)
        if epochs == 4:
            torch.testing.assert_close(method.target, 0.75 * labels + 0.25 * method.guess)
            assert method.guess.sum(1).tolist() == pytest.approx([1.0] * len(LABELS))
    assert torch.equal(seen[0], labels)
    assert torch.equal(seen[1], seen[2])
    assert not torch.equal(seen[2], seen[3])
    assert torch.equal(seen[3], seen[4]), "the last training leaves them"
    assert [len(stage) for stage in method.stages] == [1] * 6 + [7]


@pytest.mark.parametrize(("epochs", "stages"), [(1, 1), (3, 1), (4, 4), (6, 4), (7, 7), (99, 7)])
def test_slr_has_fewer_rounds_in_a_short_run(epochs: int, stages: int) -> None:
    method = slr(epochs=epochs)
    assert len(method.stages) == stages
    assert all(method.stages)
    assert train(method)[-1] == set(range(len(LABELS))), "the last training is on all images"
    assert torch.equal(method.target, torch.eye(3)[LABELS]) == (stages == 1)


# ----------------------------------------------------------------------------------------------------------------- ili


def ili(labels: list[int] = LABELS, epochs: int = 9, **change: Any) -> ILI:
    """Trainings of an epoch each: nine, or with halves four rounds of two and one on all images."""
    values: dict[str, Any] = {"rounds": 9, "threshold": 0.0, "validation": 0.25, "halves": False}
    return ILI(small_setup(labels, epochs=epochs), **{**values, **change})


def relabelled(method: ILI, change: Any) -> list[tuple[set[int], set[int]]]:
    """For each epoch but the first, the images that the network before was trained on, and those that it relabels."""
    found, used, relabel = [], set[int](), method.relabel

    def noted(index: Tensor, probs: Tensor) -> None:
        found.append((used, set(index.tolist())))
        relabel(index, probs)

    change.setattr(method, "relabel", noted)
    for epoch in range(method.clock.epochs):
        method.clock.epoch = epoch
        method.begin_epoch()
        method.accuracy.fill_(0)  # it never falls
        feeds = method.feeds()
        used = {int(i) for feed in feeds for i in feed.index["train"]}
        for feed in feeds:
            method.step(feed)
    return [*found, (used, set())]


def test_ilis_halves_never_relabel_what_they_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    method = ili(halves=True)
    first, second, held_out = (set(part.tolist()) for part in method.parts())
    assert sorted([*first, *second, *held_out]) == list(range(len(LABELS)))
    assert all((first, second, held_out))
    trainings = relabelled(method, monkeypatch)
    assert trainings == [*[(first, second), (second, first)] * 4, (first | second, set())]


def test_without_halves_ili_relabels_what_it_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    method = ili()
    first, second, held_out = (set(part.tolist()) for part in method.parts())
    assert (len(first), len(second), len(held_out)) == (9, 0, 3)
    assert relabelled(method, monkeypatch) == [*[(first, first)] * 8, (first, set())]
    assert torch.equal(method.label[method.parts()[2]], method.train_set.labels[method.parts()[2]])


def test_an_images_label_does_not_touch_its_new_one_in_opili() -> None:
    image = int(ili(halves=True).parts()[1][0])
    one, other = ili(halves=True), ili(moved(LABELS, image), halves=True)
    assert one.label[image] != other.label[image]
    for method in (one, other):
        train(method, 1)
        method.clock.epoch = 1
        method.begin_epoch()
    assert torch.equal(one.label, other.label)
    alone, beside = ili(), ili(moved(LABELS, image := int(ili().parts()[0][0])))
    for method in (alone, beside):
        train(method, 1)
    assert not torch.equal(alone.learner.network[1].weight, beside.learner.network[1].weight)


def test_ili_replaces_labels_above_the_threshold() -> None:
    method = ili(threshold=0.5)
    probs = torch.full((12, 3), 0.25)
    probs[:, 2] = torch.tensor([0.5, 0.51] * 6)
    method.relabel(torch.arange(6), probs)
    assert method.label.tolist() == [0, 2, 2, 2, 0, 2, *LABELS[6:]]


@pytest.mark.parametrize("halves", [False, True])
@pytest.mark.parametrize(("before", "ends"), [((2, 2), True), ((-1, 2), False), ((2, -1), False)])
def test_ili_ends_when_the_accuracy_is_below_both_before(halves: bool, before: tuple[int, int], ends: bool) -> None:
    """2 is above and -1 below any accuracy. In halves the round goes on to its end."""
    method = ili(halves=halves)
    labels = []
    for epoch in range(9):
        method.clock.epoch = epoch
        if epoch == 3:
            method.accuracy[1:] = torch.tensor(before)
        method.begin_epoch()
        assert bool(method.ended) == (ends and epoch >= 3 + halves)
        if epoch != 3:
            method.accuracy.fill_(-1)  # else it may fall by itself
        labels.append(method.label.clone())
        feeds = method.feeds()
        for feed in feeds:
            method.step(feed)
    used = {int(i) for feed in feeds for i in feed.index["train"]}
    assert used == {int(i) for part in method.parts()[:2] for i in part}
    if ends:
        start = 4 if halves else 3
        assert method.learner.during == range(start, 9), "one more network, to the end of the run"
        assert all(torch.equal(later, labels[start]) for later in labels[start:])
        assert halves or torch.equal(labels[3], labels[2]), "on the last network's labels"


# ---------------------------------------------------------------------------------------------------------------- drpl


def drpl(labels: list[int] = LABELS, epochs: int = 12, **change: Any) -> DRPL:
    """Four epochs of relabelling, and two rounds of four."""
    values: dict[str, Any] = {"relabel": 1 / 3, "first": 1 / 3, "begin": 1 / 6, "averaged": 1 / 6, "warm_up": 0.0}
    values |= {
        "alpha": 0.8,
        "beta": 0.4,
        "threshold_1": 0.1,
        "threshold_2": 0.5,
        "uniform": 0.2,
        "mix": 1.0,
        "milestones": None,
    }
    return DRPL(small_setup(labels, epochs=epochs), **{**values, **change})


def test_the_beta_mixture_recovers_its_own_parameters() -> None:
    draw = np.random.RandomState(0)
    wrong = draw.rand(20_000) < 0.4
    values = np.where(wrong, draw.beta(10, 3, len(wrong)), draw.beta(1.5, 12, len(wrong)))
    found = fit_beta_mixture(values, iterations=200)
    np.testing.assert_allclose(found.weight, [0.6, 0.4], atol=0.02)
    np.testing.assert_allclose(found.a, [1.5, 10], rtol=0.05)
    np.testing.assert_allclose(found.b, [12, 3], rtol=0.05)
    grid = np.linspace(0.01, 0.99, 50)
    clean, dirty = 0.6 * stats.beta.pdf(grid, 1.5, 12), 0.4 * stats.beta.pdf(grid, 10, 3)
    np.testing.assert_allclose(found.posterior(grid), dirty / (clean + dirty), atol=0.03)


def test_large_losses_are_likely_wrong_and_no_larger_one_is_less() -> None:
    draw = np.random.RandomState(0)
    losses = np.concatenate([draw.gamma(2, 0.1, 600), draw.normal(4, 0.5, 400)])
    found = wrong_probability(torch.from_numpy(losses)).numpy()
    assert ((found > 0.5) == (np.arange(1000) >= 600)).mean() > 0.98
    assert found[losses > 4.5].min() == found.max()
    assert wrong_probability(torch.full((5,), 0.3)).tolist() == [0.0] * 5


def test_drpls_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mixture is asked twice; its answer decides whose target is the label."""
    answers = [torch.tensor([0.1, 0.2] * 6), torch.tensor([0.5] * 11 + [0.6])]
    monkeypatch.setattr("labelnoise.methods.drpl.wrong_probability", lambda losses: answers.pop(0))
    method, labels, starts = drpl(), torch.eye(3)[LABELS], []
    restart = method.learner.restart
    monkeypatch.setattr(method.learner, "restart", lambda during: (starts.append(during), restart(during)))
    for epoch in range(12):
        method.clock.epoch = epoch
        method.begin_epoch()
        labelled = [list(range(12)), list(range(0, 12, 2)), list(range(11))][epoch // 4]
        rest = [image for image in range(12) if image not in labelled]
        if epoch < 2 or epoch >= 4:
            assert torch.equal(method.target[labelled], labels[labelled])
        else:
            torch.testing.assert_close(method.target, method.past.mean(0))
        if epoch in (4, 8):
            assert method.target[rest].max(1).values.tolist() == [1] * len(rest), "a random class"
        if epoch in (5, 6, 7):
            equal = (method.target[rest] - 1 / 3).abs().amax(1) < 1e-6
            assert int(equal.sum()) == 1, "a fifth of six"
            others = torch.tensor(rest)[~equal]
            assert torch.equal(method.target[others], method.past[0, others])
        (feed,) = method.feeds()
        result = method.step(feed)
        assert (result.selected is None) == (epoch < 4)
        if result.selected is not None:
            assert set(feed.index["train"][result.selected].tolist()) == set(labelled)
    assert starts == [range(4, 8), range(8, 12)]
    assert not answers
    assert method.judgement().clean.tolist() == pytest.approx([0.5] * 11 + [0.4])


def test_drpls_warm_up_sees_the_labelled_images_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelnoise.methods.drpl.wrong_probability", lambda losses: torch.tensor([0.1, 0.2, 0.6] * 4))
    method = drpl(warm_up=1 / 12)
    used = train(method)
    first, second = {0, 3, 6, 9}, {0, 1, 3, 4, 6, 7, 9, 10}
    assert used == [set(range(12))] * 4 + [first] + [set(range(12))] * 4 + [second] + [set(range(12))] * 2
    assert method.learner.during == range(10, 12)


def test_drpls_learning_rate_follows_its_milestones() -> None:
    method, factors = drpl(milestones=[[0.5], [0.25, 0.75], [0.75]]), []
    for epoch in range(12):
        method.clock.epoch = epoch
        factors.append(method.rate(epoch % 4, 4))
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 1, 0.1, 0.1, 0.01, 1, 1, 1, 0.1])


def test_drpls_mixing_does_not_wait_for_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    with shapes_only(monkeypatch):
        assert drpl().step(Feed(("mix", 1), {"train": torch.arange(5)})).loss.shape == ()


# ----------------------------------------------------------------------------------------------------------------- all


@pytest.mark.parametrize(
    ("chosen", "stages"),
    [("slr", 4), ("ili", 5), ("opili", 5), ("drpl", 3), ("drpl method.warm_up=0.2", 5)],
)
def test_a_run_resumes_inside_every_training(chosen: str, stages: int) -> None:
    """Stopped after every second step, each time built anew; the same bit for bit."""
    cfg = composed(*COMMON, "epochs=5", "batch_size=32", *f"method={chosen}".split())
    components = Components(make_loss(cfg), prepare("cpu", "float32", 1))
    whole = method_check._train(cfg, components, *small())
    steps, history = int(whole["steps"]), [whole[f"history/stage/{epoch}"] for epoch in range(5)]
    assert len(set(history)) == stages
    stopped = method_check._train(cfg, components, *small(), range(1, steps, 2))
    assert method_check._difference(whole, stopped) == ""


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (slr, {"folds": 1}),
        (slr, {"rounds": 0}),
        (slr, {"rate": 1.1}),
        (slr, {"last": 1.0}),
        (ili, {"rounds": 0}),
        (ili, {"threshold": 1.0}),
        (ili, {"validation": 0.0}),
        (drpl, {"relabel": 0.0}),
        (drpl, {"threshold_2": 1.1}),
        (drpl, {"uniform": -0.1}),
        (drpl, {"mix": 0.0}),
        (drpl, {"milestones": [[0.5]]}),
    ],
)
def test_what_is_out_of_range_is_refused(make: Any, change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}="):
        make(**change)


# ----------------------------------------------------------------------------------------------------------- fl_select


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    losses=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    reference=st.lists(st.integers(0, 12), min_size=1, max_size=8),
)
def test_the_closest_part_is_that_of_the_smallest_statistic(losses: list[int], reference: list[int]) -> None:
    """Of every threshold's, by the distribution functions themselves; equal losses are many here."""

    def ecdf(values: list[int]) -> np.ndarray:
        return np.array([np.mean(np.array(values) <= x) for x in range(13)])

    apart = {}
    for top in sorted(losses):
        apart[top] = np.abs(ecdf([loss for loss in losses if loss <= top]) - ecdf(reference)).max()
    expected = next(top for top, value in apart.items() if value <= min(apart.values()) + 1e-12)
    assert closest_part(torch.tensor(losses).float(), torch.tensor(reference).float()) == expected


def test_fl_select_keeps_the_planted_clean_part() -> None:
    """It never sees which labels are wrong; the benchmark network sees half of the trusted images alone."""
    setup, right = planted()
    method = FLSelect(setup, benchmark=0.5, held_out=0.5)
    used, others = method.parts()
    assert sorted([*used.tolist(), *others.tolist()]) == list(range(40))
    for method.clock.epoch in range(21):
        method.begin_epoch()
        feeds = method.feeds()
        assert {feed.step for feed in feeds} == {("benchmark",) if method.clock.epoch < 20 else ("train",)}
        if method.clock.epoch < 20:
            assert {int(i) for feed in feeds for i in feed.index["trusted"]} <= set(used.tolist())
            assert len(feeds) == 6
        for feed in feeds:
            result = method.step(feed)
    assert float(right[method.kept].double().mean()) > 0.95
    assert float(method.kept[right].double().mean()) > 0.8
    shown = torch.cat([feed.index["train"] for feed in feeds])
    assert torch.equal(shown.sort().values, method.kept.nonzero().squeeze(1)), "the others are not trained on"
    assert result.selected is not None
    assert result.index is not None
    assert torch.equal(result.selected, method.kept[result.index])
    judged = method.judgement()
    assert float(judged.clean[right].mean()) > float(judged.clean[~right].mean())


def test_fl_select_needs_trusted_images() -> None:
    with pytest.raises(ValueError, match="num_trusted=0: method=fl_select needs images with true labels"):
        FLSelect(small_setup(LABELS), benchmark=0.5, held_out=0.5)
    for trusted, held_out in (([0], 0.5), ([0, 1, 2], 0.1), ([0, 1, 2], 0.9)):
        refused = rf"^num_trusted={len(trusted)} method\.held_out={held_out}: must leave at least one image to train "
        with pytest.raises(ValueError, match=refused):
            FLSelect(small_setup(LABELS, trusted=trusted), benchmark=0.5, held_out=held_out)
    with pytest.raises(ValueError, match=r"^epochs=1: must be at least 2"):
        FLSelect(small_setup(LABELS, trusted=LABELS, epochs=1), benchmark=0.5, held_out=0.5)
