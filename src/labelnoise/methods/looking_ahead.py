"""What methods share that learn from a look ahead: a network, and a few images with true labels beside every batch."""

import itertools

from torch import Tensor

from labelnoise.training.method import Feed, Method, Setup


class LookingAhead(Method):
    """A method with one network and trusted images, which says how a virtual step changes the loss on these.

    Raises:
        ValueError: there are no trusted images.
    """

    def __init__(self, setup: Setup, name: str) -> None:
        super().__init__(setup)
        if setup.train.trusted is None:
            raise ValueError(f"num_trusted=0: method={name} needs images with true labels, such as num_trusted=100")
        self.trusted = setup.train.trusted
        self.learner = setup.make_learner()

    def feeds(self) -> list[Feed]:
        return self.beside_trusted("train")

    def beside_trusted(self, *step: str | int) -> list[Feed]:
        """Every image once, each batch with a batch of trusted images; these are cycled through."""
        trusted = itertools.cycle(self.trusted.order(self.clock.batch_size))
        return [Feed(feed.step, {**feed.index, "trusted": next(trusted)}) for feed in self.every_image(*step)]

    def trusted_loss(self, feed: Feed, ahead: dict[str, Tensor]) -> Tensor:
        """The configured loss on the feed's trusted images at the weights of a look ahead: 0-d, with its graph.

        The network's running statistics do not see these images.
        """
        trusted = self.trusted.batch(feed.index["trusted"])
        return self.loss(self.learner(trusted.images, ahead), trusted.labels).mean()

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)
