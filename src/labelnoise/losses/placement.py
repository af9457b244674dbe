"""The orthogonal loss: each class has a fixed direction, orthogonal to the others."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor
from torch.linalg import vector_norm

from labelnoise.arguments.ranges import checked
from labelnoise.losses.base import at_label, at_least_single

__all__ = ["orthogonal"]


@checked
def orthogonal(logits: Tensor, labels: Tensor, beta: Annotated[float, Ge(0)]) -> Tensor:
    """1 - c_y + beta mean_{k != y} c_k^2, c_k the cosine of the network's output and the k-th basis vector.

    The network's output is the feature and the standard basis the fixed basis. So the largest cosine and the largest
    logit belong to the same class, and no weights follow the output.

    Shapes: logits (B, C), labels (B,) -> (B,), in [0, 2 + beta].
    Raises:
        ValueError: beta out of range.
    Source: a reconstruction of Cancela et al. 2020 (ICPR) from its abstract, according to which features are projected
        on a fixed orthogonal basis; its formulas are not known.
    """
    z = at_least_single(logits)
    cosines = z / vector_norm(z, dim=1, keepdim=True).clamp(min=1e-6)
    label = at_label(z, labels)
    others = (cosines.square() * (1 - label)).sum(dim=1) / (z.shape[1] - 1)
    return 1 - (cosines * label).sum(dim=1) + beta * others
