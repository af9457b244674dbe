"""Whether a loss is symmetric, sum_i L(p, i) = C for every prediction p, and meets the theory's other assumptions.

Source: Ghosh, Kumar, Sastry 2017, arXiv:1712.09482, equation 3.
"""

import torch
from torch import Tensor

from labelnoise.theory.evaluation import LossFunction, gradients, random_logits, values

TOLERANCE = 1e-5  # relative to the loss's own spread; allows the clamps at 1e-7 of released code


def spread_over_labels(loss: LossFunction, num_classes: int) -> float:
    """The spread of sum_i L(p, i) divided by that of L, over random p, some almost one-hot: 0 if symmetric."""
    logits = torch.cat([random_logits(24, num_classes, seed, scale)[0] for seed, scale in enumerate((1.0, 4.0, 12.0))])
    labels = torch.arange(num_classes).repeat_interleave(len(logits))
    losses = values(loss, logits.repeat(num_classes, 1), labels).view(num_classes, -1)
    total = losses.sum(dim=0)
    return float((total.max() - total.min()) / (losses.max() - losses.min()))


def is_function_of_probabilities(loss: LossFunction, num_classes: int) -> bool:
    """Whether adding a constant to all logits changes nothing."""
    logits, labels = random_logits(16, num_classes, seed=1)
    return _close(values(loss, logits, labels), values(loss, logits + 2.5, labels))


def treats_classes_alike(loss: LossFunction, num_classes: int) -> bool:
    """Whether renaming the classes in logits and labels changes nothing."""
    logits, labels = random_logits(16, num_classes, seed=2)
    renamed = torch.roll(logits, 1, dims=1), (labels + 1) % num_classes
    return _close(values(loss, logits, labels), values(loss, *renamed))


def has_its_own_gradient(loss: LossFunction, num_classes: int) -> bool:
    """Whether the gradient is that of the value; it is not if a part is detached."""
    logits, labels = random_logits(16, num_classes, seed=3, scale=1.0)
    direction, _ = random_logits(16, num_classes, seed=4, scale=1.0)
    step = 1e-3 * direction
    change = values(loss, logits + step, labels) - values(loss, logits - step, labels)
    return _close(2 * (gradients(loss, logits, labels) * step).sum(dim=1), change, 1e-2)


def _close(found: Tensor, expected: Tensor, tolerance: float = 1e-4) -> bool:
    return bool(((found - expected).abs() <= tolerance * (expected.max() - expected.min())).all())
