"""The tree of a data set's classes: leaves are the classes, then come their superclasses, if it has any, and the root.

A node's number is below C for a class alone. So a label of an inner node, an imprecise label, is no class to anything
that counts, gathers or one-hot encodes C classes: it is refused there, not taken for one.
"""

import torch
from torch import Tensor

__all__: list[str] = []  # no losses


def parents(num_classes: int, superclass: Tensor | None = None) -> Tensor:
    """The parent of each node (V,), int64; the root, the last node, is its own.

    Args:
        superclass: (C,), of each class; None: the root is the parent of all classes.
    """
    if superclass is None:
        return torch.full((num_classes + 1,), num_classes)
    _, group = superclass.cpu().unique(return_inverse=True)
    groups = int(group.max()) + 1
    root = num_classes + groups
    return torch.cat([num_classes + group, torch.full((groups + 1,), root)])


def paths(parent: Tensor) -> Tensor:
    """Whether a node (columns) is the node of the row or above it. Shapes: (V,) -> (V, V), bool."""
    nodes = torch.arange(len(parent), device=parent.device)
    found, above = torch.zeros(len(parent), len(parent), dtype=torch.bool, device=parent.device), nodes
    for _ in range(3):  # the most levels; the root is above itself
        found[nodes, above] = True
        above = parent[above]
    return found


def levels(nodes: int, num_classes: int) -> int:
    """How many of `nodes` nodes lie from a class to the root, both included: 2, or 3 with superclasses."""
    return 2 if nodes == num_classes + 1 else 3
