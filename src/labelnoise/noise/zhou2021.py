"""The labels of the code released with Zhou et al. 2021 (arXiv:2106.03110), bit for bit, including its bugs.

With the released seed, 123, the labels have the hashes that the tests contain. The paper's numbers are for these
labels, not for correct asymmetric noise.

The released codes of SR and epsilon-softmax draw the same labels, except that epsilon-softmax uses seed 0 for the
asymmetric noise of CIFAR-100 for every run. APL's code draws the same for CIFAR, but not for MNIST: its
symmetric noise flips an exact count in each class and depends on the seed; its asymmetric noise depends on the seed
too, and only seed 0 gives the labels made here.
"""

import numpy as np
import torch
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.noise.base import Expected, Facts, Rate, drawn, known_truth

MNIST_PAIRS = {7: 1, 2: 7, 5: 6, 6: 5, 3: 8}
CIFAR10_PAIRS = ((9, 1), (2, 0), (3, 5), (5, 3), (4, 7))  # (from, to), in the order in which they are flipped


@checked
def symmetric_zhou2021(facts: Facts, seed: int, rate: Rate) -> Tensor:
    """Symmetric noise as released: the true class excluded, an exact count in each class on CIFAR.

    On MNIST each label is drawn independently from a multinomial with RandomState(0); the seed is ignored.

    Shapes: -> (N,), int64.
    Args:
        rate: fraction of wrong labels, 0 to 1.
    Raises:
        ValueError: rate out of range, the released code does not have the data set, or a class has fewer images than it
            flips of each.
    """
    _refuse_others(facts, "sym_zhou2021")
    K = facts.num_classes
    true_labels = known_truth(facts).numpy()
    if facts.name == "mnist":
        T = np.full((K, K), rate / (K - 1))
        np.fill_diagonal(T, 1 - rate)
        return _multinomial(true_labels, T if rate > 0 else np.eye(K), seed=0)
    random = np.random.RandomState(seed)
    labels = true_labels.copy()
    per_class, smallest = int(int(rate * len(labels)) / K), np.bincount(true_labels, minlength=K).min()
    if per_class > smallest:
        raise ValueError(
            f"noise=sym_zhou2021: the released code flips {per_class:,} labels of each class, and the smallest has "
            f"{smallest:,}; use noise=sym"
        )
    chosen = [random.choice(np.flatnonzero(true_labels == c), per_class, replace=False) for c in range(K)]
    for i in np.concatenate(chosen):
        labels[i] = random.choice([k for k in range(K) if k != true_labels[i]])
    return torch.from_numpy(labels)


@checked
def asymmetric_zhou2021(facts: Facts, seed: int, rate: Rate) -> Tensor:
    """Asymmetric noise as released.

    CIFAR-10: pairs are flipped one after the other on labels that may already be flipped, so some cats become dogs and
    then cats again (rate 0.4: 18.4% wrong labels, not 20%). CIFAR-100: the next class within blocks of five consecutive
    class numbers, which are alphabetical and not the superclasses. MNIST: a multinomial per image with RandomState(0).

    Shapes: -> (N,), int64.
    Args:
        rate: nominal fraction of wrong labels in a class that is flipped, 0 to 1.
    Raises:
        ValueError: rate out of range, or the released code does not have the data set.
    """
    _refuse_others(facts, "asym_zhou2021")
    true_labels = known_truth(facts).numpy()
    if facts.name == "cifar10":
        random, labels = np.random.RandomState(seed), true_labels.copy()
        for source, target in CIFAR10_PAIRS:
            members = np.flatnonzero(labels == source)
            labels[random.choice(members, int(rate * len(members)), replace=False)] = target
        return torch.from_numpy(labels)
    T = np.eye(facts.num_classes)
    blocks = {c: c + 1 if c % 5 < 4 else c - 4 for c in range(facts.num_classes)}
    for c, other in (MNIST_PAIRS if facts.name == "mnist" else blocks).items():
        T[c, c], T[c, other] = 1 - rate, rate
    return _multinomial(true_labels, T, seed=0 if facts.name == "mnist" else seed)


def expected_symmetric(facts: Facts, rate: float) -> Expected:
    """`rate` of all labels; drawn on MNIST."""
    return drawn(facts, rate) if facts.name == "mnist" else Expected(rate * len(facts.train_labels))


def expected_asymmetric(facts: Facts, rate: float) -> Expected:
    """`rate` of the labels of the classes that are flipped; drawn except on CIFAR-10."""
    if facts.name == "cifar100":
        return drawn(facts, rate)
    flipped = set(MNIST_PAIRS) if facts.name == "mnist" else {source for source, _ in CIFAR10_PAIRS}
    count = int(np.isin(known_truth(facts).numpy(), list(flipped)).sum())
    return Expected(rate * count, drawn(facts, rate).spread if facts.name == "mnist" else 1.0)


symmetric_zhou2021.expected = expected_symmetric  # type: ignore[attr-defined]  # read by `labelnoise.experiment.notices`
asymmetric_zhou2021.expected = expected_asymmetric  # type: ignore[attr-defined]


def _refuse_others(facts: Facts, noise: str) -> None:
    if facts.name not in ("mnist", "cifar10", "cifar100"):
        raise ValueError(f"noise={noise}: the released code has mnist, cifar10 and cifar100, not {facts.name}")


def _multinomial(true_labels: np.ndarray, T: np.ndarray, seed: int) -> Tensor:
    """One draw per image from its class's row of T (C, C)."""
    random = np.random.RandomState(seed)
    return torch.tensor([int(random.multinomial(1, T[y]).argmax()) for y in true_labels])
