"""A method's own way from a network to the logits of the classes, where its last layer alone does not give them.

A readout is saved with the network's weights (`experiment.saved_network`), so that its predictions are the method's.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.losses.base import at_least_single
from labelnoise.losses.class_tree import levels, parents


class Readout(nn.Module, ABC):
    """A network and what makes its predictions: images (B, channels, H, W) -> logits of the classes (B, C).

    Args:
        network: as it was configured; its weights are those that are saved.
    """

    network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def features(self, images: Tensor) -> Tensor:
        """The network's penultimate features (B, D)."""
        network: Any = self.network
        return network.features(images)

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What rebuilds it around the network, as plain data: its `name` and its arguments."""


def cosines(features: Tensor, weight: Tensor) -> Tensor:
    """The cosine of each image's features with each class's weights. Shapes: (B, D), (C, D) -> (B, C), in [-1, 1]."""
    features = at_least_single(features)
    return (F.normalize(features, dim=1) @ F.normalize(weight.to(features.dtype), dim=1).T).clamp(-1, 1)


class Cosine(Readout):
    """`scale` times the cosines of features and weights; the last layer's bias is not used.

    Args:
        network: with `features(images)` and a linear last layer.
        scale: > 0.
    Raises:
        ValueError: it has none.
    """

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__(network)
        self.scale = scale

    def of_features(self, features: Tensor) -> Tensor:
        """Logits of penultimate features. Shapes: (B, D) -> (B, C)."""
        return self.scale * cosines(features, last_layer(self.network).weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.of_features(self.features(images))

    def facts(self) -> dict[str, Any]:
        return {"name": "cosine", "scale": self.scale}


def last_layer(network: nn.Module) -> nn.Linear:
    """The layer from features to logits: `head`, or what timm calls the classifier.

    Raises:
        ValueError: there is none that is linear, or no `features(images)` before it.
    """
    find: Any = getattr(getattr(network, "model", None), "get_classifier", None)
    head = find() if find else getattr(network, "head", None)
    if not isinstance(head, nn.Linear) or not callable(getattr(network, "features", None)):
        raise ValueError("network: must have features(images) -> (B, D) and `head`, a torch.nn.Linear")
    return head


class Tree(Readout):
    """Classes by the product of their path's probabilities; the network has an output for each node of the tree.

    Args:
        num_classes: C.
        superclass: C numbers, as in `losses.class_tree.parents`; None: the tree is flat.
    """

    parent: Tensor

    def __init__(self, network: nn.Module, num_classes: int, superclass: list[int] | None) -> None:
        super().__init__(network)
        self.num_classes, self.superclass = num_classes, superclass
        parent = parents(num_classes, None if superclass is None else torch.tensor(superclass))
        self.register_buffer("parent", parent.to(next(network.parameters()).device), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return leaf_logits(self.network(images), self.parent, self.num_classes)

    def facts(self) -> dict[str, Any]:
        return {"name": "tree", "superclass": self.superclass}


def leaf_logits(outputs: Tensor, parent: Tensor, num_classes: int) -> Tensor:
    """log of the product of the probabilities from each class to the root; its softmax normalises over the classes.

    Shapes: the nodes' logits (B, V), (V,) -> (B, C).
    """
    logs = F.logsigmoid(at_least_single(outputs))
    total = logs[:, :num_classes]
    above = parent[:num_classes]
    for _ in range(levels(len(parent), num_classes) - 1):
        total, above = total + logs[:, above], parent[above]
    return total


def node_probabilities(logits: Tensor, parent: Tensor) -> Tensor:
    """The probability of every node; an inner node's is the sum of its classes'. Shapes: (B, C), (V,) -> (B, V)."""
    classes = logits.shape[1]
    probs = logits.new_zeros(len(logits), len(parent))
    probs[:, :classes] = below = logits.softmax(dim=1)
    above = parent[:classes]
    for _ in range(levels(len(parent), classes) - 1):
        probs = probs.index_add(1, above, below)
        above = parent[above]
    return probs
