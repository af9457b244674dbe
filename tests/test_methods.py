"""What each method does, against known answers."""

import copy

import numpy as np
import pytest
import torch
from support.small_setups import small_setup
from torch.nn import functional as F

from labelnoise.meta_learning.l2rw import L2RW
from labelnoise.methods.co_teaching import CoTeaching
from labelnoise.training.learner import Learner
from labelnoise.training.method import Feed


def test_co_teaching_exchanges_the_small_loss_images() -> None:
    method = CoTeaching(small_setup([0, 1, 2, 0, 1, 2, 0, 1]), forget_rate=0.5, ramp=0.1)
    before = copy.deepcopy(method.learners())
    (feed,) = method.feeds()
    assert feed.step == ("train", 4)
    index = feed.index["train"]
    batch = method.train_set.plain(index), method.train_set.labels[index]
    losses = [F.cross_entropy(learner(batch[0]), batch[1], reduction="none") for learner in before]
    small = [values.argsort()[:4] for values in losses]
    assert set(small[0].tolist()) != set(small[1].tolist()), "else the test shows nothing"
    result = method.step(feed)
    assert result.selected is not None
    assert set(result.selected.nonzero().flatten().tolist()) == set(small[1].tolist()), "the other's choice"
    for mine, learner, after in zip((0, 1), before, method.learners(), strict=True):
        losses[mine][small[1 - mine]].mean().backward()
        for old, new in zip(learner.network.parameters(), after.network.parameters(), strict=True):
            torch.testing.assert_close(new, old - 0.1 * old.grad)
    counts = torch.zeros(8).index_add_(0, index[torch.cat(small)], torch.ones(8))
    assert torch.equal(method.chosen, counts)
    method.step(feed)
    audit = method.judgement()  # after a second step, in the epoch that the clock calls 0
    assert 0 <= float(audit.clean.min()) < float(audit.clean.max()) == 1
    assert torch.equal(audit.clean, method.chosen / method.chosen.max())


def test_co_teaching_drops_more_until_the_forget_rate_is_reached() -> None:
    method = CoTeaching(small_setup([0, 1], epochs=100), forget_rate=0.4, ramp=0.1)
    shares = []
    for method.clock.epoch in range(100):
        shares.append(method.remembered())
    assert shares[:9] == pytest.approx(1 - np.linspace(0, 0.4, 10)[1:])
    assert shares[8:] == pytest.approx([0.6] * 92)


def test_co_teaching_keeps_the_released_number_of_images() -> None:
    """Of 128 at rate 0.5 over 10 epochs; then as many, and never none."""
    method = CoTeaching(small_setup([0] * 128, epochs=200), forget_rate=0.5, ramp=0.05)
    kept = []
    for method.clock.epoch in range(12):
        method.clock.batch_size = 128
        kept += [feed.step[1] for feed in method.feeds()]
    assert kept == [120, 113, 106, 99, 92, 85, 78, 71, 64, 64, 64, 64]
    method.clock.batch_size = 1
    assert {feed.step[1] for feed in method.feeds()} == {1}


@pytest.mark.parametrize("change", [{"forget_rate": 1.0}, {"forget_rate": -0.1}, {"ramp": 1.5}])
def test_co_teaching_refuses_what_is_out_of_range(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}="):
        CoTeaching(small_setup([0, 1]), **{"forget_rate": 0.4, "ramp": 0.1, **change})


def test_l2rw_weighs_by_the_gradients_product() -> None:
    """One virtual SGD step: the weight is the product of the image's gradient with the trusted one, where positive."""
    method = L2RW(small_setup([0, 1, 2, 0, 1, 2, 2, 2], trusted=[0, 1, 2, 0]))
    (feed,) = method.feeds()
    batch, trusted = method.train_set.batch(feed.index["train"]), method.trusted.batch(feed.index["trusted"])
    network = copy.deepcopy(method.learner.network)

    def gradient(loss: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])

    clean = gradient(F.cross_entropy(network(trusted.images), trusted.labels))
    each = [
        gradient(F.cross_entropy(network(x[None]), y[None])) for x, y in zip(batch.images, batch.labels, strict=True)
    ]
    helpful = torch.stack([g @ clean for g in each]).clamp_min(0)
    expected = helpful / helpful.sum()
    assert 0 < int((expected == 0).sum()) < 8, "else the test shows nothing"
    result = method.step(feed)
    weights = torch.zeros(8).index_copy_(0, feed.index["train"], expected) * 8
    torch.testing.assert_close(method.weight, weights)
    assert result.selected is not None
    assert torch.equal(result.selected, expected > 0)
    step = (expected[:, None] * torch.stack(each)).sum(dim=0)
    moved = torch.cat([p.flatten() for p in method.learner.network.parameters()]).detach()
    torch.testing.assert_close(moved, torch.cat([p.flatten() for p in network.parameters()]).detach() - 0.1 * step)


def test_l2rw_learns_nothing_where_no_image_helps() -> None:
    method = L2RW(small_setup([1, 1], trusted=[0, 0]))
    method.trusted.images = method.train_set.images
    (feed,) = method.feeds()
    batch = method.train_set.batch(feed.index["train"])
    weights = method.weights(feed, batch, method.learner(batch.images), torch.zeros(2))
    assert weights.tolist() == [0, 0], "the same images with the other label pull the other way"


def test_l2rw_needs_trusted_images() -> None:
    with pytest.raises(ValueError, match="num_trusted=0: method=l2rw needs images with true labels"):
        L2RW(small_setup([0, 1]))


def test_a_virtual_step_leaves_no_trace() -> None:
    """Neither in the weights nor in the running statistics of batch normalisation."""
    from labelnoise.networks.cnn import cnn4

    make = lambda weights: torch.optim.SGD(weights, lr=0.1)  # noqa: E731
    learner = Learner(cnn4(3, 1, 8), make, lambda epoch, epochs: 1.0, range(1), None, torch.bfloat16).train()
    pictures = torch.randn(6, 1, 8, 8)
    loss = F.cross_entropy(learner(pictures).float(), torch.tensor([0, 1, 2, 0, 1, 2]))
    before = copy.deepcopy(learner.network.state_dict())
    ahead = learner.lookahead(loss)
    logits = learner(pictures, ahead)
    assert logits.dtype == torch.bfloat16, "autocast holds there too"
    assert all(torch.equal(before[name], value) for name, value in learner.network.state_dict().items())
    gradients = torch.autograd.grad(loss, list(learner.network.parameters()))
    for (name, old), g in zip(learner.network.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(ahead[name], old - 0.1 * g, msg=name)


def test_roles_of_a_feed() -> None:
    """A trusted image beside every training one, in turn, however few there are."""
    method = L2RW(small_setup([0, 1, 2] * 4, trusted=[0, 1, 2]))
    method.clock.batch_size = 4
    feeds = method.feeds()
    assert [len(feed.index["train"]) for feed in feeds] == [4, 4, 4]
    assert all(sorted(feed.index["trusted"].tolist()) == [0, 1, 2] for feed in feeds)
    assert all(isinstance(feed, Feed) and feed.step == ("train",) for feed in feeds)
