"""Regularisers for any loss. Each is a function of the inputs that it declares with `needs`.

A penalty, already multiplied by its weight, is 0-d and is added to the loss. `pgm` returns features that replace the
network's in the training step.
"""

import math
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor
from torch.linalg import vector_norm

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import log_probs, needs, of_label

__all__ = ["entropy", "l1", "norm", "pgm"]


@needs("weights")
@checked
def norm(weights: list[Tensor], weight: Annotated[float, Ge(0)]) -> Tensor:
    """weight sum over layers and their output units of (1 - ||w||_2)^2, w the unit's incoming weights.

    Layers are the tensors of two or more dimensions; batch normalisation and biases are excluded.

    Shapes: any -> 0-d.
    Raises:
        ValueError: weight out of range.
    Source: Georgiou, Schmitt, Baeck, Chen, Lew 2020 (ICPR), arXiv:2103.06583, Norm Loss; replaces weight decay.
    """
    layers = [w for w in weights if w.dim() > 1]
    return weight * torch.stack([(1 - vector_norm(w.flatten(1), dim=1)).square().sum() for w in layers]).sum()


@needs("weights")
@checked
def l1(weights: list[Tensor], weight: Annotated[float, Ge(0)]) -> Tensor:
    """weight times the sum of the absolute values of all parameters, including batch normalisation and biases.

    Shapes: any -> 0-d.
    Raises:
        ValueError: weight out of range.
    Source: the active negative loss, Ye et al. 2023 (NeurIPS), as released; replaces weight decay.
    """
    return weight * torch.stack([w.abs().sum() for w in weights]).sum()


@needs("logits")
@checked
def entropy(logits: Tensor, weight: Annotated[float, Ge(0)]) -> Tensor:
    """weight (log C - H), H the entropy of the batch's mean prediction: keeps the predicted classes balanced.

    Shapes: logits (B, C) -> 0-d, in [0, weight log C].
    Raises:
        ValueError: weight out of range.
    Source: the code released with the active negative loss, Ye et al. 2023 (NeurIPS), ANL-CE-ER.
    """
    log_mean = log_probs(logits).logsumexp(dim=0) - math.log(len(logits))
    return weight * (math.log(logits.shape[1]) + (log_mean.exp() * log_mean).sum())


@needs("features", "logits", "labels", "new_features")
@checked
def pgm(features: Tensor, logits: Tensor, labels: Tensor, strength: Annotated[float, Ge(0), Lt(1)]) -> Tensor:
    """Probability-guided maxout: drops the most active features, more of them the larger p_y is.

    It keeps the smallest 1 - strength p_y of each image's features and divides them by that share. The loss is computed
    from the head's logits of the returned features; evaluation uses all features.

    Shapes: features (B, D), logits (B, C) of those features, labels (B,) -> (B, D).
    Args:
        strength: 0.5 in the paper.
    Raises:
        ValueError: strength out of range.
    Source: Ferrari, Berretti, Del Bimbo 2020 (ICPR), Probability Guided Maxout, and the code released with it.
    Differs: no learned factor on the kept features (initially 1); the head can learn it.
    """
    share = 1 - strength * of_label(log_probs(logits.detach()), labels).exp()[:, None]
    rank = features.argsort(dim=1).argsort(dim=1)
    return features * (rank < (features.shape[1] * share).round()) / share.to(features.dtype)
