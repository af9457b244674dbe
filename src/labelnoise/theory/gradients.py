"""How fast a loss learns: its gradient at initialisation, and the weight that it gives a sample by p_y."""

import torch

from labelnoise.theory.additive import logits_at
from labelnoise.theory.evaluation import LossFunction, gradients

PROBABILITIES = (0.001, 0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99, 0.999)


def at_initialisation(loss: LossFunction, num_classes: int) -> float:
    """|dL / dz_y| at equal logits; cross-entropy has 1 - 1/K there.

    For a bounded loss it is of order 1/K, so that it underfits at 100 classes.
    """
    logits = torch.zeros(1, num_classes, dtype=torch.float64)
    return float(gradients(loss, logits, torch.zeros(1, dtype=torch.int64))[0, 0].abs())


def sample_weights(loss: LossFunction, num_classes: int, probabilities: torch.Tensor) -> torch.Tensor:
    """|dL / dz_y| over cross-entropy's 1 - p_y, the other classes equally likely. Shapes: (N,) -> (N,).

    A sample's weight relative to cross-entropy's: p^q for GCE, 2p for MAE.
    """
    p = probabilities.double()
    slopes = gradients(loss, logits_at(p.logit(), num_classes), torch.zeros(len(p), dtype=torch.int64))
    return slopes[:, 0].abs() / (1 - p)
