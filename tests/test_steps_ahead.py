"""Methods that look ahead beside plain loops of their papers' equations, step by step in float64.

A loop takes the virtual step on a copy of the network's weights, with `torch.func` for the pass on the trusted images.
"""

import math
from collections.abc import Iterator

import pytest
import torch
from support.plain_training import Adam, Plain, one_hot, train_both
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")


def steps(plain: Plain) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of an epoch: positions, images, and the positions of the trusted images, whose batches are cycled through."""
    turns = plain.portions(torch.randperm(len(plain.trusted), generator=plain.draws))
    for step, index in enumerate(plain.batches()):
        yield index, plain.view(index), turns[step % len(turns)]


def misfit_ahead(plain: Plain, loss: Tensor, rate: float, turn: Tensor) -> Tensor:
    """The cross-entropy of the trusted images after a step of SGD on `loss`."""
    return after_a_step(plain, loss, rate, plain.view(turn, plain.trusted), plain.trusted_labels[turn])


def after_a_step(plain: Plain, loss: Tensor, rate: float, x: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of images after a step of SGD on `loss`; statistics of the network stay."""
    named = dict(plain.network.named_parameters())
    gradients = torch.autograd.grad(loss, list(named.values()), create_graph=True)
    ahead = {name: weight - rate * g for (name, weight), g in zip(named.items(), gradients, strict=True)}
    kept = {name: value.clone() for name, value in plain.network.named_buffers()}
    return F.cross_entropy(functional_call(plain.network, {**kept, **ahead}, (x,)), y)


def test_meta_weight_net() -> None:
    """Shu et al. 2019, algorithm 1, with the released Adam and weight decay for the weighting network."""
    spread = []
    net = nn.Sequential(nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 1)).double()

    def loop(plain: Plain) -> None:
        parameters = list(net.parameters())
        adam = Adam(parameters)
        weight = plain.memory["weight"] = torch.ones(len(plain)).double()
        for _ in plain.epochs():
            for index, x, turn in steps(plain):
                losses = F.cross_entropy(plain.network(x), plain.labels[index], reduction="none")
                v = torch.sigmoid(net(losses.detach()[:, None]))[:, 0]
                aim = misfit_ahead(plain, (v * losses).mean(), plain.rate, turn)
                gradients = torch.autograd.grad(aim, parameters, retain_graph=True)
                with torch.no_grad():
                    adam([g + 1e-2 * p for g, p in zip(gradients, parameters, strict=True)], 0.01)
                    v = torch.sigmoid(net(losses[:, None]))[:, 0]
                weight[index] = v
                spread.append(float(v.std()))
                plain.descend((v * losses).mean())

    own = ["method=meta_weight_net", "method.rate=0.01", "method.decay=0.01"]
    train_both(loop, own, trusted=20, epochs=2, own=[net])
    assert max(spread) > 0.05, "the weights depend on the loss"


def test_mslg() -> None:
    """Algan, Ulusoy 2020, equations 4 to 11: one epoch of warm-up; KL and entropy are means over classes too, and
    a soft label has a floor in its logarithm, as released."""
    changed = []

    def loop(plain: Plain) -> None:
        s = plain.memory["label_logits"] = 10 * one_hot(plain.labels)
        for epoch in plain.epochs():
            if epoch == 0:
                for index in plain.batches():
                    plain.descend(F.cross_entropy(plain.network(plain.view(index)), plain.labels[index]))
                continue
            for index, x, turn in steps(plain):
                z, given = plain.network(x), s[index].requires_grad_()
                p = F.softmax(z, 1)
                apart = lambda labels: (p * (p.log() - (F.softmax(labels, 1) + 1e-10).log())).mean()  # noqa: B023, E731
                (slope,) = torch.autograd.grad(misfit_ahead(plain, apart(given), 0.5, turn), given, retain_graph=True)
                s[index] = (given - 400 * slope).detach()
                plain.descend(apart(s[index]) - 0.7 * (p * p.log()).mean())
            changed.append(float((s.argmax(1) != plain.labels).double().mean()))

    own = "method.alpha=0.5 method.beta=400 method.gamma=0.7 method.warm_up=0.33 method.confidence=10"
    train_both(loop, ["method=mslg", *own.split()], trusted=20, epochs=3)
    assert 0.1 < changed[-1] < 0.9


def test_mltp() -> None:
    """Deng, Zhang 2020: the loss of a batch, and that of another after a virtual step on the first."""

    def loop(plain: Plain) -> None:
        for _ in plain.epochs():
            for first, second in zip(plain.batches(), plain.batches(), strict=True):
                x, other = plain.view(first), plain.view(second)
                loss = F.cross_entropy(plain.network(x), plain.labels[first])
                after = after_a_step(plain, loss, 3 * plain.rate, other, plain.labels[second])
                plain.descend(loss + 0.5 * after)

    train_both(loop, ["method=mltp", "method.weight=0.5", "method.step=3"], epochs=2)


RANGES = {  # first values, lowest, highest
    "gce": ([0.7], [0.01], [1.0]),
    "sce": ([0.1, 1.0], [0.0, 0.0], [10.0, 10.0]),
    "bi_tempered": ([0.8, 1.2], [0.0, 1.01], [0.99, 4.0]),
    "poly_soft": ([5.0, 2.0], [0.5, 1.1], [20.0, 10.0]),
}


def robust(form: str, z: Tensor, y: Tensor, hyper: Tensor) -> Tensor:
    """(B,), of logits (B, C), labels (B,) and hyper-parameters (H,)."""
    p = F.softmax(z, 1)
    own, first, last = p.gather(1, y[:, None])[:, 0], hyper[0], hyper[-1]
    if form == "gce":
        return (1 - own**first) / first
    if form == "sce":
        return -first * own.log() - last * math.log(1e-4) * (1 - own)
    if form == "poly_soft":
        share = 1 + own.log() / first
        return (last - 1) / last * first * (1 - share.clamp(min=1e-6) ** (last / (last - 1)))
    z, c = z - z.detach().amax(1, keepdim=True), torch.zeros(len(z), 1).double()
    for _ in range(20):
        p = (1 + (1 - last) * (z - c)) ** (1 / (1 - last))
        c = c + (p.sum(1, keepdim=True) - 1) / (p**last).sum(1, keepdim=True)
    p = (1 + (1 - last) * (z - c)) ** (1 / (1 - last))
    own = p.gather(1, y[:, None])[:, 0]
    return -(own ** (1 - first) - 1) / (1 - first) - (1 - (p ** (2 - first)).sum(1)) / (2 - first)


@pytest.mark.parametrize("form", RANGES)
def test_adaptive_loss(form: str) -> None:
    """Shu et al. 2020, equations 2 to 10, with the plain formulas of the four losses; the normalisation of bi_tempered
    is twenty steps of Newton's here, all of them with derivatives."""
    moved = []

    def loop(plain: Plain) -> None:
        hyper, low, high = (torch.tensor(values).double() for values in RANGES[form])  # rounded to float32 first
        for _ in plain.epochs():
            for index, x, turn in steps(plain):
                z, y, given = plain.network(x), plain.labels[index], hyper.requires_grad_()
                aim = misfit_ahead(plain, robust(form, z, y, given).mean(), plain.rate, turn)
                (slope,) = torch.autograd.grad(aim, given, retain_graph=True)
                hyper = (given - 20 * plain.rate * slope).detach().clamp(low, high)
                plain.descend(robust(form, z, y, hyper).mean())
                moved.append(hyper - torch.tensor(RANGES[form][0]).double())
        plain.memory["hyper"] = hyper

    name = "adaptive_loss" if form == "gce" else f"adaptive_loss_{form}"
    train_both(loop, [f"method={name}", "method.rate=20"], trusted=20, epochs=2)
    assert bool((torch.stack(moved).abs().amax(dim=0) > 1e-3).all()), "every hyper-parameter moves"
