"""A noise's transition matrix, and w_m / w_n, the ratio that decides tolerance.

An image of class y has label i with probability w_i. w_m is the largest of them and w_n the second largest. The noise
is clean-label-dominant if the largest is the true class's (Zhou et al. 2021, arXiv:2106.03110, definition 1).
"""

from math import inf

import torch
from torch import Tensor

# The functions of labelnoise.noise whose transition matrix is known before any data is read, and their configurations.
SYMMETRIC = ("symmetric", "symmetric_zhou2021", "sym", "sym_zhou2021")
PAIRED = ("asymmetric", "asymmetric_zhou2021", "asym", "asym_zhou2021", "pairflip")
# Rows of the grid: name of the noise's configuration, rate. K is 10 and 100.
GRID = (
    *(("sym", rate) for rate in (0.2, 0.4, 0.6, 0.8)),
    *(("asym", rate) for rate in (0.1, 0.2, 0.3, 0.4)),
    ("pairflip", 0.45),
)
GRID_CLASSES = (10, 100)


def noise_ratio(target: str, rate: float, num_classes: int) -> float:
    """w_m / w_n of a noise's nominal transition matrix, for the class with the smallest; inf at rate 0.

    Args:
        target: the noise function's name, `labelnoise.noise.symmetric.symmetric`, or its configuration's, `sym`.
        rate: its rate, 0 to 1.
        num_classes: K; only symmetric noise depends on it.
    Raises:
        ValueError: a noise without a nominal transition matrix (clean, given, file, human, instance, or your own).
    Differs: asym_zhou2021 on CIFAR-10 flips one class after the other; its smallest ratio is that of one flip.
    """
    kind = kind_of(target)
    if kind is None:
        raise ValueError(
            f"noise={target.rsplit('.', 1)[-1]}: has no transition matrix that is known before the data is read; "
            "sym, asym and pairflip have one"
        )
    if rate <= 0:
        return inf
    others = num_classes - 1 if kind == "symmetric" else 1
    return (1 - rate) * others / rate


def kind_of(target: str) -> str | None:
    """The kind of a noise function or configuration, by its name: symmetric, paired or None (unknown)."""
    module, _, name = target.rpartition(".")
    if module and not module.startswith("labelnoise.noise"):
        return None  # a function of your own may have any name
    return "symmetric" if name in SYMMETRIC else "paired" if name in PAIRED else None


def nominal_row(target: str, rate: float, num_classes: int) -> Tensor:
    """The label probabilities (C,) of an image whose class is flipped, the true class first.

    Raises:
        ValueError: as `noise_ratio`.
    """
    noise_ratio(target, rate, num_classes)
    row = torch.zeros(num_classes, dtype=torch.float64)
    row[0] = 1 - rate
    if kind_of(target) == "symmetric":
        row[1:] = rate / (num_classes - 1)
    else:
        row[1] = rate
    return row


def check_transition(transition: Tensor, num_classes: int) -> Tensor:
    """A transition matrix (C, C) in float64, rows the true class.

    Raises:
        ValueError: another shape, a negative or non-finite entry, or a row whose sum is not 1.
    """
    T = torch.as_tensor(transition, dtype=torch.float64)
    if T.shape != (num_classes, num_classes):
        raise ValueError(f"transition: has shape {tuple(T.shape)}, must be ({num_classes}, {num_classes})")
    if not (T.isfinite().all() and (T >= 0).all() and torch.allclose(T.sum(dim=1), T.new_ones(()), atol=1e-3)):
        raise ValueError("transition: every row must be probabilities that sum to 1")
    return T


def row_ratio(row: Tensor, true_class: int) -> float:
    """w_y / max of the others, for a row (C,) of a transition matrix; inf if no label is wrong."""
    others = torch.cat([row[:true_class], row[true_class + 1 :]]).max()
    return float(row[true_class] / others) if others > 0 else inf
