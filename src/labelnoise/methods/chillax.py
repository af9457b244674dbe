"""CHILLAX: a classifier over the tree of the classes, which learns from labels of classes and of groups of them."""

import torch
from torch import Tensor

from labelnoise.losses.base import at_least_single
from labelnoise.losses.class_tree import parents, paths
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.networks.readout import Tree, leaf_logits, node_probabilities
from labelnoise.training.method import Feed, Method, Setup, StepResult

FLOOR = 1e-7  # clip of the probabilities


class Chillax(Method):
    """Each node of the tree has an output, the logit of its probability given that its parent holds.

    The loss of an image is the binary cross-entropy of these, summed over the nodes that its label decides: the label
    and its ancestors are true; the other children of these ancestors are false; nothing is said of nodes below the
    label, nor of those below false ones. So the label of a superclass teaches which superclass it is, and that of the
    root teaches nothing but the root. A class's probability is the product along its path, normalised over the classes;
    that of an inner node is the sum of its classes.

    Labels below C are classes, those from C on inner nodes, see `losses.class_tree`. The tree has the data set's
    superclasses, and is flat where there are none.

    Raises:
        ValueError: a loss other than cross-entropy.
    Source: Brust, Barz, Denzler 2021 (ICPR 2020), Making Every Label Count: Handling Semantic Imprecision by
        Integrating Domain Knowledge, and the public code of the first author: its loss with equal weights of nodes,
        clip at 1e-7, and prediction of classes alone.
    Differs: the code allows any graph with several parents, starts the last layer at zero and decays it by 5e-5; here
        the network's first weights and the optimizer's weight decay are used.
    """

    imprecise = True

    parent: Tensor
    true: Tensor
    decided: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=chillax")
        self.superclass = None if setup.superclass is None else setup.superclass.tolist()
        classes = setup.train.num_classes
        parent = parents(classes, setup.superclass).to(setup.train.labels.device)
        true = paths(parent)
        above = true.clone().fill_diagonal_(False)
        self.register_buffer("parent", parent, persistent=False)
        self.register_buffer("true", true, persistent=False)
        self.register_buffer("decided", true | above[:, parent], persistent=False)
        self.learner = setup.make_learner(extra_outputs=len(parent) - classes)

    def train_step(self, feed: Feed) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        outputs = self.learner(batch.images)
        loss = self.values(outputs, batch.labels).mean()
        self.learner.update(loss)
        logits = leaf_logits(outputs.detach(), self.parent, self.train_set.num_classes)
        of_label = node_probabilities(logits, self.parent).gather(1, batch.labels[:, None])
        metrics = {"given_probability": of_label.mean()}
        return StepResult(loss.detach(), batch.index, predicted=logits.argmax(dim=1), metrics=metrics)

    def values(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """The loss of each image. Shapes: (B, V), (B,) nodes -> (B,)."""
        probs = at_least_single(outputs).sigmoid().clamp(FLOOR, 1 - FLOOR)
        likelihood = torch.where(self.true[labels], probs, 1 - probs)
        return -(likelihood.log() * self.decided[labels]).sum(dim=1)

    @property
    def network(self) -> Tree:
        """The network with its own readout, so that a saved one predicts as the method does."""
        return Tree(self.learner.network, self.train_set.num_classes, self.superclass)

    def predict(self, images: Tensor) -> Tensor:
        return leaf_logits(self.learner(images), self.parent, self.train_set.num_classes)
