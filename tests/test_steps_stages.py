"""Methods of several trainings beside plain loops of their equations, step by step in float64."""

import math

import pytest
import torch
from sklearn.model_selection import KFold, train_test_split
from support.plain_training import SEED, Plain, one_hot, train_both
from torch import Tensor
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")


def cosine(epoch: int, epochs: int) -> float:
    return 0.01 * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def test_slr() -> None:
    """Two rounds of two folds, an epoch each; then two epochs on all images. A reconstruction: its own equations."""

    def loop(plain: Plain) -> None:
        q, p = one_hot(plain.labels), torch.zeros_like(one_hot(plain.labels))
        for epoch in plain.epochs():
            plain.rate = cosine(epoch - 4, 2) if epoch >= 4 else 0.01
            if epoch < 4:
                rest, fold = list(KFold(2, shuffle=True, random_state=SEED + epoch // 2).split(q))[epoch % 2]
            for index in plain.batches(torch.from_numpy(rest) if epoch < 4 else None):
                logs = F.log_softmax(plain.network(plain.view(index)), 1)
                plain.descend(-(q[index] * logs).sum(1).mean())
            if epoch < 4:
                p[fold] = plain.predicted()[fold]
                if epoch % 2:
                    q = 0.3 * q + 0.7 * p
                plain.restart()
        plain.memory |= {"target": q, "guess": p}

    own = "method.folds=2 method.rounds=2 method.rate=0.7 method.last=0.33"
    both = train_both(loop, ["method=slr", *own.split()], epochs=6)
    assert bool((both.method.get_buffer("target").argmax(1) != both.plain.labels).any()), "some labels are replaced"


@pytest.mark.parametrize("threshold", [0.15, 0.0])
def test_ili(threshold: float) -> None:
    """Haase-Schuetz et al. 2020, as released: three rounds of two epochs, the labels move after the first two."""

    def loop(plain: Plain) -> None:
        used, held_out = map(torch.tensor, train_test_split(range(len(plain)), test_size=0.2, random_state=SEED))
        y, accuracy = plain.labels.clone(), []
        for epoch in plain.epochs():
            plain.rate = cosine(epoch % 2, 2)
            for index in plain.batches(used):
                plain.descend(F.cross_entropy(plain.network(plain.view(index)), y[index]))
            if epoch in (1, 3):
                relabel(y, used, plain.predicted(), threshold)
                right = plain.predicted()[held_out].argmax(1) == plain.labels[held_out]
                accuracy.append(float(right.double().mean()))
                plain.restart()
        plain.memory |= {"label": y, "accuracy": torch.tensor([0, *accuracy], dtype=torch.float64)}

    own = ["method.rounds=3", f"method.threshold={threshold}", "method.validation=0.2"]
    both = train_both(loop, ["method=ili", *own], epochs=6, learns=False)
    changed = (both.method.get_buffer("label") != both.plain.labels).double().mean()
    assert 0.1 < float(changed) < 0.8


def test_opili() -> None:
    """As released: a round of two trainings, on a half each, and a last one on both; an epoch each."""

    def loop(plain: Plain) -> None:
        used, _ = train_test_split(range(len(plain)), test_size=0.2, random_state=SEED)
        a, b = map(torch.tensor, train_test_split(used, test_size=0.5, random_state=SEED))
        y = plain.labels.clone()
        plain.rate = 0.01
        for _, (half, other) in zip(range(plain.length), [(a, b), (b, a), (torch.cat([a, b]), None)], strict=True):
            for index in plain.batches(half):
                plain.descend(F.cross_entropy(plain.network(plain.view(index)), y[index]))
            if other is not None:
                relabel(y, other, plain.predicted(), 0.15)
                plain.restart()
        plain.memory["label"] = y

    own = ["method.rounds=1", "method.threshold=0.15", "method.validation=0.2"]
    both = train_both(loop, ["method=opili", *own], epochs=3, learns=False)
    changed = (both.method.get_buffer("label") != both.plain.labels).double().mean()
    assert 0.1 < float(changed) < 0.8


def relabel(y: Tensor, index: Tensor, p: Tensor, threshold: float) -> None:
    for i in index.tolist():
        if p[i].max() > threshold:
            y[i] = int(p[i].argmax())
