"""The unhinged loss: linear in the logits, convex and symmetric."""

from torch import Tensor

from labelnoise.losses.base import at_least_single, of_label

__all__ = ["unhinged"]


def unhinged(logits: Tensor, labels: Tensor) -> Tensor:
    """Unhinged loss, 1 - (z_y - mean_k z_k). For two classes it is 1 - v, with v half the difference of their logits.

    The sum over the labels is C. It has no lower bound and falls as the logits grow, so train it with weight decay.

    Shapes: logits (B, C), labels (B,) -> (B,).
    Source: van Rooyen, Menon, Williamson 2015 (NeurIPS), arXiv:1505.07634, for two classes. The form for C
        classes is a reconstruction: the linear loss whose coefficients make it symmetric.
    """
    z = at_least_single(logits)
    return 1 - of_label(z, labels) + z.mean(dim=1)
