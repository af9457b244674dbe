"""Methods of several trainings beside plain loops of their equations, step by step in float64."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.model_selection import KFold, train_test_split
from support.plain_training import BATCH, CLASSES, SEED, Plain, normalised, one_hot, train_both
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


def test_fl_select() -> None:
    """Tuor et al. 2020, section III: two epochs on half of the trusted images, then two on the images chosen."""

    def loop(plain: Plain) -> None:
        used, others = map(torch.tensor, train_test_split(range(len(plain.trusted)), test_size=0.5, random_state=SEED))
        kept = used
        for epoch in plain.epochs():
            plain.rate = cosine(epoch % 2, 2)
            if epoch < 2:
                batches: list[Tensor] = []
                while len(batches) < len(plain) // BATCH:
                    batches += plain.portions(used[torch.randperm(len(used), generator=plain.draws)])
                for index in batches[: len(plain) // BATCH]:
                    logits = plain.network(plain.view(index, plain.trusted))
                    plain.descend(F.cross_entropy(logits, plain.trusted_labels[index]))
            else:
                for index in plain.batches(kept):
                    plain.descend(F.cross_entropy(plain.network(plain.view(index)), plain.labels[index]))
            if epoch == 1:
                plain.network.eval()
                with torch.no_grad():
                    known = plain.network(normalised(plain.trusted[others]))
                plain.network.train()
                clean = F.cross_entropy(known, plain.trusted_labels[others], reduction="none")
                losses = -plain.predicted().log().gather(1, plain.labels[:, None])[:, 0]
                apart = [stats.ks_2samp(losses[losses <= top], clean, method="asymp").statistic for top in losses]
                kept = (losses <= losses[int(np.argmin(apart))]).nonzero()[:, 0]
                plain.restart()
        plain.memory |= {"misfit": losses, "threshold": losses[kept].max()}

    own = ["method.benchmark=0.5", "method.held_out=0.5"]
    both = train_both(loop, ["method=fl_select", *own], trusted=40, epochs=4, learns=False)
    share = both.method.get_buffer("kept").double().mean()
    assert 0.1 < float(share) < 0.9


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


def doubtful(losses: Tensor) -> Tensor:
    """Arazo et al. 2019, equations 2 to 6, as released with Ortego et al. 2020."""
    low, high = np.percentile(losses.numpy(), [5, 95])
    x = (losses.numpy() - low - 1e-5) / (high - low - 9e-6)
    x = np.where(x <= 0, 1e-3, np.where(x >= 1, 1 - 1e-3, x))
    fitted = np.clip(x[(losses.numpy() >= low) & (losses.numpy() <= high)], 1e-4, 1 - 1e-4)
    parts = [(0.5, 1.0, 2.0), (0.5, 2.0, 1.0)]
    for _ in range(10):
        p = np.stack([np.maximum(w * stats.beta.pdf(fitted, a, b), 1e-12) for w, a, b in parts])
        parts = []
        for share in p / p.sum(0):
            mean = np.average(fitted, weights=share)
            a = mean * (mean * (1 - mean) / np.average((fitted - mean) ** 2, weights=share) - 1)
            parts.append((share.mean(), a, a * (1 - mean) / mean))
    clean, wrong = (w * stats.beta.pdf(np.linspace(1e-12, 1 - 1e-12, 100), a, b) for w, a, b in parts)
    table = wrong / (clean + wrong + 1e-12)
    table[table.argmax() :] = table.max()
    return torch.from_numpy(table[np.floor(100 * x).astype(int)])


@pytest.mark.parametrize("warm_up", [0, 1])
def test_drpl(warm_up: int) -> None:
    """Ortego et al. 2020, as released: two epochs of relabelling, two rounds of two, each after a warm-up or not."""
    divided = []

    def objective(plain: Plain, index: Tensor, target: Tensor, mixed: bool) -> Tensor:
        """A step; returns the probabilities of the images as they are."""
        x = plain.view(index)
        p = F.softmax(plain.network(x), 1)
        alone = p.detach()
        if mixed:
            lam = torch.distributions.Dirichlet(torch.ones(2).double()).sample()[0]
            partner = torch.randperm(len(index), generator=plain.draws)
            p = F.softmax(plain.network(lam * x + (1 - lam) * x[partner]), 1)
            target = lam * target + (1 - lam) * target[partner]
        prior = (0.1 * (0.1 / p.mean(0)).log()).sum()
        plain.descend(-(target * p.log()).sum(1).mean() + 0.8 * prior - 0.4 * (p * p.log()).sum(1).mean())
        return alone

    def epoch(plain: Plain, target: Tensor, among: Tensor | None = None, mixed: bool = True) -> Tensor:
        p = torch.zeros(len(plain), CLASSES).double()
        for index in plain.batches(among):
            p[index] = objective(plain, index, target[index], mixed)
        return p

    def loop(plain: Plain) -> None:
        given, plain.rate = one_hot(plain.labels), 0.01
        p = epoch(plain, given, mixed=False)
        plain.rate = 0.001
        epoch(plain, p, mixed=False)
        for threshold in (0.1, 0.5):
            wrong = doubtful(-plain.predicted()[range(len(plain)), plain.labels].log())
            labelled = wrong <= threshold
            divided.append(float(labelled.double().mean()))
            p = one_hot(torch.randint(CLASSES, (len(plain),), generator=plain.draws))
            plain.restart()
            plain.rate = 0.01
            if warm_up:
                epoch(plain, given, labelled.nonzero().flatten())
                p = plain.predicted()
                plain.forget()
            for number in range(2):
                plain.rate = (0.01, 0.001)[number]
                target, rest = torch.where(labelled[:, None], given, p), (~labelled).nonzero().flatten()
                if number or warm_up:
                    order = torch.randperm(len(rest), generator=plain.draws)
                    target[rest[order[: int(0.2 * len(rest))]]] = 1 / CLASSES
                p = epoch(plain, target)
        plain.memory |= {"wrong": wrong, "target": target}

    length = 6 + 2 * warm_up
    lengths = [f"method.{name}={2 / length}" for name in ("relabel", "first")]
    lengths += [f"method.{name}={1 / length}" for name in ("begin", "averaged")]
    own = [*lengths, f"method.warm_up={warm_up / length}", "method.milestones=[[0.5],[0.5],[0.5]]"]
    train_both(loop, ["method=drpl", *own], epochs=length, learns=False)
    assert all(0.05 < share < 0.95 for share in divided)
