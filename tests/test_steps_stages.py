"""Methods of several trainings beside plain loops of their equations, step by step in float64."""

import math

import pytest
import torch
from sklearn.model_selection import KFold
from support.plain_training import SEED, Plain, one_hot, train_both
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
