"""Methods that look ahead beside plain loops of their papers' equations, step by step in float64.

A loop takes the virtual step on a copy of the network's weights, with `torch.func` for the pass on the trusted images.
"""

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
    train_both(loop, own, trusted=20, own=[net])
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

    own = "method.alpha=0.5 method.beta=400 method.gamma=0.7 method.warm_up=0.25 method.confidence=10"
    train_both(loop, ["method=mslg", *own.split()], trusted=20)
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

    train_both(loop, ["method=mltp", "method.weight=0.5", "method.step=3"])
