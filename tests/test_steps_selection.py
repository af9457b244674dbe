"""Methods that select images beside plain loops of their papers' equations, step by step in float64."""

import numpy as np
import pytest
import torch
from support.plain_training import CLASSES, Plain, one_hot, train_both
from torch import Tensor
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")


def each(plain: Plain, index: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Logits (B, C) and cross-entropy (B,) of both networks on the same view."""
    x = plain.view(index)
    logits = [network(x) for network in plain.networks]
    return logits, [F.cross_entropy(z, plain.labels[index], reduction="none") for z in logits]


def exchange(plain: Plain, losses: list[Tensor], small: list[Tensor]) -> None:
    """Each network learns from the other's choice; the first one's loss is the step's."""
    first, second = (losses[k][small[1 - k]].mean() if len(small[1 - k]) else 0 * losses[k].sum() for k in (0, 1))
    plain.move(second, 1)
    plain.descend(first)


def test_co_teaching() -> None:
    """Han et al. 2018, algorithm 1: T_k = 4 epochs, of which the first, without a drop, is not used, as released."""
    kept: list[int] = []

    def loop(plain: Plain) -> None:
        for epoch in plain.epochs():
            dropped = np.linspace(0, 0.45, 4)[min(epoch + 1, 3)]
            for index in plain.batches():
                _, losses = each(plain, index)
                kept.append(max(1, int((1 - dropped) * len(index))))
                exchange(plain, losses, [values.sort().indices[: kept[-1]] for values in losses])

    own = ["method=co_teaching", "method.forget_rate=0.45", "method.ramp=0.8"]
    both = train_both(loop, own, networks=2, epochs=5, optimizer="adam")
    assert both.chosen() == kept
    assert set(kept) == {6, 5, 4, 3, 2}


def test_co_teaching_plus() -> None:
    """Yu et al. 2019, algorithm 1: after two epochs only among images that the networks predict differently."""
    seen = []

    def loop(plain: Plain) -> None:
        for epoch in plain.epochs():
            dropped = np.linspace(0, 0.45, 3)[min(epoch + 1, 2)]
            for index in plain.batches():
                (one, two), losses = each(plain, index)
                among = torch.arange(len(index))
                if epoch >= 2:
                    among = among[one.argmax(1) != two.argmax(1)]
                count = int((1 - dropped) * len(among)) or len(among)
                seen.append((epoch, len(among), count))
                exchange(plain, losses, [among[values[among].sort().indices[:count]] for values in losses])

    own = ["method=co_teaching_plus", "method.forget_rate=0.45", "method.ramp=0.6", "method.warm_up=0.4"]
    both = train_both(loop, own, networks=2, epochs=5, optimizer="adam")
    assert both.chosen() == [count for *_, count in seen]
    later = [(among, count) for epoch, among, count in seen if epoch >= 2]
    assert (1, 1) in later  # the share of one image is none: it is taken
    assert any(count < among < 8 for among, count in later)
    assert (0, 0) in later  # complete agreement: no gradient


def test_jocor() -> None:
    """Wei et al. 2020, equations 1 to 4: one choice by the joint loss; the noise rate is known."""
    lam, kept, rates = 0.7, [], []

    def loop(plain: Plain) -> None:
        wrong = (plain.labels != plain.truth).double()
        rate = sum(float(wrong[plain.truth == c].mean()) for c in range(CLASSES)) / CLASSES
        rates.append(rate)
        for epoch in plain.epochs():
            dropped = np.linspace(0, rate, 3)[min(epoch + 1, 2)]
            for index in plain.batches():
                logits, losses = each(plain, index)
                p, q = (F.softmax(z, 1) for z in logits)
                apart = (p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)
                joint = (1 - lam) * (losses[0] + losses[1]) + lam * apart
                kept.append(int((1 - dropped) * len(index)))
                value = joint[joint.sort().indices[: kept[-1]]].mean()
                towards = [torch.autograd.grad(value, list(n.parameters()), retain_graph=True) for n in plain.networks]
                for k in (0, 1):
                    plain.follow(towards[k], k)
                plain.losses.append(float(value.detach()))

    own = ["method=jocor", "method.forget_rate=null", "method.ramp=0.6", f"method.lam={lam}"]
    both = train_both(loop, own, networks=2, epochs=5, optimizer="adam")
    assert both.chosen() == kept
    assert 0.3 < rates[0] < 0.5
    assert len(set(kept)) == 4


def test_cores2() -> None:
    """Cheng et al. 2021, equations 3 and 5 with the released floor, frequencies and rate / (1 + beta).

    One epoch without the regulariser, three in which beta is 0, 1 and 2; the sieve from the third epoch on.
    """
    floor, kept, priors = 0.01, [], []

    def loop(plain: Plain) -> None:
        used, margins = one_hot(plain.labels).sum(0), torch.zeros(len(plain)).double()
        plain.memory["margin"] = margins
        for epoch in plain.epochs():
            beta = [0, 0, 1, 2, 2, 2][epoch]
            prior, used = used / used.sum(), torch.zeros(CLASSES).double()
            priors.append(prior)
            for index in plain.batches():
                z, y = plain.network(plain.view(index)), plain.labels[index]
                given, every = F.cross_entropy(z, y, reduction="none"), -(F.softmax(z, 1) + floor).log()
                keep = given <= every.mean(1) if epoch >= 2 else given > 0
                used += one_hot(y[keep]).sum(0)
                margins[index] = (every.mean(1) - given).detach()
                values = (given - beta * (every * prior).sum(1))[keep] / (1 + beta)
                plain.descend(values.mean() if keep.any() else 0 * given.sum())
                kept.append(int(keep.sum()))

    own = f"method.beta=2 method.plain=0.17 method.ramp=0.5 method.sieve=0.34 method.floor={floor}"
    both = train_both(loop, ["method=cores2", *own.split()], epochs=6)
    assert both.chosen() == kept
    assert set(kept[:26]) == {8, 5}
    assert min(kept[26:]) < 5
    assert float((priors[-1] - priors[0]).abs().max()) > 0.05


@pytest.mark.parametrize(("unknown", "zeta"), [(False, 0.9), (True, 0.25), (True, 0.22)])
def test_p_diff(unknown: bool, zeta: float) -> None:
    """Hu et al. 2020, section 3, with the released bins: T_k = 9 epochs of twelve; no choice before the 100th step.

    |d| has a mean of 0.23 in the tenth epoch and 0.26 in the last: saturation comes late, or before T_k has passed.
    """
    kept, rates, moved = [], [], []

    def loop(plain: Plain) -> None:
        recent: list[Tensor] = []
        last = plain.memory["difference"] = torch.zeros(len(plain)).double()
        rate = 0.0
        for epoch in plain.epochs():
            share = min(1.0, epoch / 9)
            for index in plain.batches():
                z, y = plain.network(plain.view(index)), plain.labels[index]
                p, own = F.softmax(z.detach(), 1), one_hot(y)
                delta = (p * own).sum(1) - (p * (1 - own)).amax(1)
                last[index] = delta
                bins = ((delta + 1.1) * 100).floor().long()
                recent = [*recent, torch.bincount(bins, minlength=220).double()][-100:]
                density = sum(recent) / sum(recent).sum()
                below = density.cumsum(0)
                if not unknown:
                    rate = 0.3 * share
                else:
                    middles = (torch.arange(220) + 0.5) / 100 - 1.1
                    grows = epoch <= 9 or float((middles.abs() * density).sum()) < zeta
                    moved.append((epoch, grows))
                    rate = float(below[10 + int(100 * share)]) if grows else rate
                first = int((below <= rate).sum())
                keep = bins >= first if len(plain.losses) >= 99 else bins >= 0
                plain.descend((keep * F.cross_entropy(z, y, reduction="none")).mean())
                kept.append(int(keep.sum()))
                rates.append(rate)

    own = ["method.unknown=true"] if unknown else ["method.rate=0.3"]
    both = train_both(loop, ["method=p_diff", "method.ramp=0.75", f"method.saturation={zeta}", *own], epochs=12)
    assert both.chosen() == kept
    assert set(kept[:99]) == {8, 5}
    assert min(kept[99:]) < 5
    assert len(set(rates[99:])) >= 3
    assert not unknown or {grows for epoch, grows in moved if epoch > 9} == {zeta == 0.25, False}
