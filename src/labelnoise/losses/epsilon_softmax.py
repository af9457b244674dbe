"""Cross-entropy and focal loss of the epsilon-softmax, which moves the prediction towards its largest class.

The epsilon-softmax adds m to the largest probability and divides all by m + 1, so a large m gives an almost one-hot
output.

Source: Wang, Zhou, Zhai, Jiang, Ji, Liu 2024 (NeurIPS), epsilon-Softmax: Approximating One-Hot Vectors for Mitigating
Label Noise.
"""

from math import log
from typing import Annotated

import torch
from annotated_types import Ge, Le
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_least_single, check_labels, log_complement_of_label, log_prob_of_label

__all__ = ["ce_eps", "fl_eps"]


def _is_largest(logits: Tensor, labels: Tensor) -> Tensor:
    check_labels(logits, labels)
    return at_least_single(logits).argmax(dim=1) == labels


def _log_prob(logits: Tensor, labels: Tensor, m: float, clamp: float) -> Tensor:
    """log of the label's epsilon-softmax. Shapes: (B, C), (B,) -> (B,)."""
    largest = _is_largest(logits, labels)
    complement = log_complement_of_label(logits, labels).exp().masked_fill(~largest, 0.0)
    inside = torch.log1p(-complement / (m + 1))
    outside = log_prob_of_label(logits, labels) - log(m + 1)
    value = torch.where(largest, inside, outside)
    return value.clamp(min=log(clamp)) if clamp else value


@checked
def ce_eps(
    logits: Tensor, labels: Tensor, m: Annotated[float, Ge(0)], clamp: Annotated[float, Ge(0), Le(0.1)] = 0.0
) -> Tensor:
    """Cross-entropy of the epsilon-softmax, -log((p_y + m [y is the largest class]) / (m + 1)).

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Args:
        m: 0 is cross-entropy.
        clamp: the lower clamp of the probability; 0: none. The released code has 1e-8, which removes the
            gradient of every image with p_y < 1e-8 (m + 1) whose label is not the largest class. With a large m this
            selects samples; it does not merely protect the logarithm.
    Raises:
        ValueError: m or clamp out of range.
    Source: Wang et al. 2024 (NeurIPS).
    """
    return -_log_prob(logits, labels, m, clamp)


@checked
def fl_eps(
    logits: Tensor,
    labels: Tensor,
    m: Annotated[float, Ge(0)],
    gamma: Annotated[float, Ge(0)],
    clamp: Annotated[float, Ge(0), Le(0.1)] = 0.0,
    detach: bool = False,
) -> Tensor:
    """Focal loss of the epsilon-softmax, -(1 - e_y)^gamma log e_y, e_y = (p_y + m [y is the largest class]) / (m + 1).

    Shapes: logits (B, C), labels (B,) -> (B,), in nats.
    Args:
        gamma: 0 is `ce_eps`.
        clamp: as in `ce_eps`.
        detach: take no gradient through the weight (1 - e_y)^gamma.
    Raises:
        ValueError: m, gamma or clamp out of range.
    Source: Wang et al. 2024 (NeurIPS).
    Differs: the released code detaches the weight; `detach=True` does the same.
    """
    value = _log_prob(logits, labels, m, clamp)
    largest = _is_largest(logits, labels)
    # 1 - e_y is (1 - p_y) / (m + 1) at the largest class, where 1 - exp(value) would be 0 at saturation.
    log_inside = log_complement_of_label(logits, labels) - log(m + 1)
    log_outside = torch.log(-torch.expm1(value.masked_fill(largest, -1.0)))
    weight = (gamma * torch.where(largest, log_inside, log_outside)).exp()
    return -(weight.detach() if detach else weight) * value
