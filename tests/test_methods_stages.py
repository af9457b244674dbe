"""Methods of several trainings: who trains on what, and whose labels change by whose predictions."""

from typing import Any

import pytest
import torch
from support.small_setups import small_setup
from torch import Tensor

from labelnoise.methods.ili import ILI
from labelnoise.methods.slr import SLR
from labelnoise.training.method import Method

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


# ----------------------------------------------------------------------------------------------------------------- all


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
    ],
)
def test_what_is_out_of_range_is_refused(make: Any, change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}="):
        make(**change)
