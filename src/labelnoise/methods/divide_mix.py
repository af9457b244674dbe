"""DivideMix: each network splits the images into labelled and unlabelled for the other, which trains by MixMatch."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, NonNegative, Positive, checked
from labelnoise.estimates.gaussian_mixture import clean_probability
from labelnoise.losses.base import log_probs
from labelnoise.methods.own_loss import require_cross_entropy
from labelnoise.training.learner import Learners
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult


def sharpen(probs: Tensor, temperature: float) -> Tensor:
    """p_k^(1/T) / sum_j p_j^(1/T). Shapes: (B, C) -> (B, C)."""
    return (probs.log() / temperature).softmax(dim=1)


class DivideMix(Method):
    """Warm-up with cross-entropy; then each network trains on the split that the other network's losses give.

    An image is labelled if its probability of being clean is above `threshold`. Its target mixes, by that probability,
    its label and the network's own mean prediction over two views, and is sharpened (co-refinement). For the unlabelled
    images, the target is the sharpened mean prediction of both networks over two views (co-guessing). Mixup over all of
    them gives

        L = L_labelled + weight L_unlabelled + KL(uniform || mean p),

    with cross-entropy on labelled images and the mean squared error of the probabilities on unlabelled ones. The weight
    grows linearly from 0 to `lam_u` over `ramp`. Predictions average both networks; the first network is saved.

    In an epoch, each network uses each labelled image once, in batches of `batch_size`, each with as many unlabelled
    images. A step has two passes over four views and one over two, so an epoch costs several times one of erm.

    Args:
        warm_up, ramp: fractions of the run, at least one epoch unless 0; 10 and 16 of 300 epochs on CIFAR-10.
        alpha: of mixup's Beta distribution, > 0.
        temperature: of the sharpening, > 0.
        threshold: 0 to 1.
        lam_u: >= 0.
        confidence_penalty: in the warm-up, subtract the entropy of the predictions from the loss, as the paper does
            under asymmetric noise.
    Raises:
        ValueError: a hyper-parameter out of range, or a loss other than cross-entropy.
    Source: Li, Socher, Hoi 2020, arXiv:2002.07394, algorithm 1 and equations 3 to 12.
    Differs: the views for the targets share one pass and so their batch statistics; the weight of the unlabelled loss
        grows per epoch, not per step; losses are not averaged over epochs, as the paper does at 90% noise; the warm-up
        has batches of the same size, not twice as large as in the released code. If fewer than two images are labelled,
        the epoch is a warm-up epoch.
    """

    clean: Tensor
    proposed: Tensor
    weight: Tensor
    concentration: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        warm_up: Fraction,
        ramp: Fraction,
        alpha: Positive,
        temperature: Positive,
        threshold: Fraction,
        lam_u: NonNegative,
        confidence_penalty: bool,
    ) -> None:
        super().__init__(setup)
        require_cross_entropy(setup, "method=divide_mix")
        self.warm_up, self.ramp, self.temperature, self.threshold = warm_up, ramp, temperature, threshold
        self.lam_u, self.confidence_penalty = lam_u, confidence_penalty
        self.both = Learners(setup.make_learner() for _ in range(2))
        self.remember("clean", (2,), 1.0)  # probabilities from each network's losses
        self.remember("proposed", start=setup.train.labels, dtype=torch.long)  # the last target's class
        self.register_buffer("weight", torch.zeros(()))  # of L_unlabelled
        self.register_buffer("concentration", torch.full((2,), float(alpha)), persistent=False)

    def begin_epoch(self) -> None:
        """Split the images. This copies the losses to the host, once an epoch."""
        if self.clock.stage(self.warm_up) == 0:
            return
        losses = self.score(self._losses)
        for k in (0, 1):
            self.clean[:, k] = clean_probability(losses[:, k])
        since = self.clock.epoch - self.clock.length(self.warm_up)
        length = self.clock.length(self.ramp)
        self.weight.fill_(self.lam_u * (min(max(since / length, 0.0), 1.0) if length else 1.0))

    def _losses(self, index: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The losses of both networks. Shapes: (B,), (B, channels, H, W), (B,) -> (B, 2)."""
        return torch.stack([self.loss(learner(images), labels) for learner in self.both], dim=1)

    def feeds(self) -> list[Feed]:
        """The first network's epoch, then the second's."""
        return [feed for k in (0, 1) for feed in self._feeds_of(k)]

    def _feeds_of(self, k: int) -> Iterator[Feed]:
        size = self.clock.batch_size
        labelled = self.clean[:, 1 - k] > self.threshold
        if self.clock.stage(self.warm_up) == 0 or int(labelled.sum()) < 2:
            yield from (Feed(("warm", k), {"train": index}) for index in self.train_set.order(size))
            return
        certain, rest = labelled.nonzero().flatten(), (~labelled).nonzero().flatten()
        orders = (self.train_set.order(size, among=rest) for _ in itertools.count())
        unlabelled = itertools.chain.from_iterable(orders)
        for index in self.train_set.order(size, among=certain):
            others = {"unlabelled": next(unlabelled)} if len(rest) else {}
            yield Feed(("mix", k), {"labelled": index, **others})

    def warm_step(self, feed: Feed, k: int) -> StepResult:
        batch, learner = self.train_set.batch(feed.index["train"]), self.both[k]
        logits = learner(batch.images)
        loss = self.loss(logits, batch.labels).mean()
        logs = log_probs(logits)
        learner.update(loss + (logs.exp() * logs).sum(dim=1).mean() if self.confidence_penalty else loss)
        if k == 1:
            return StepResult(loss.detach())
        return StepResult(loss.detach(), batch.index, logits.detach().argmax(dim=1), target=batch.labels)

    def mix_step(self, feed: Feed, k: int) -> StepResult:
        x = feed.index["labelled"]
        index = torch.cat([x, feed.index.get("unlabelled", x[:0])])
        learner = self.both[k]
        views = [self.train_set.view(index) for _ in range(2)]
        target, guess = self.targets(k, index, len(x), views)
        # the two views of the labelled images, then those of the unlabelled ones
        images, targets = (
            torch.cat([part[: len(x)] for part in two] + [part[len(x) :] for part in two])
            for two in (views, [target, target])
        )
        share = torch.distributions.Dirichlet(self.concentration, validate_args=False).sample().max()
        partner = torch.randperm(len(images), generator=self.train_set.generator, device=images.device)
        targets = share * targets + (1 - share) * targets[partner]
        logs = log_probs(learner(share * images + (1 - share) * images[partner]))
        count, probs = 2 * len(x), logs.exp()
        loss = -(targets[:count] * logs[:count]).sum(dim=1).mean()
        if len(index) > len(x):
            loss = loss + self.weight * (probs[count:] - targets[count:]).square().mean()
        prior = -(probs.mean(dim=0) * logs.shape[1]).log().mean()
        learner.update(loss + prior)
        proposed = target.argmax(dim=1)
        self.proposed[index] = proposed
        if k == 1:  # diagnostics cover the first network only
            return StepResult(loss.detach())
        selected = torch.arange(len(index), device=index.device) < len(x)
        return StepResult(loss.detach(), index, guess.argmax(dim=1), selected, proposed)

    @torch.no_grad()
    def targets(self, k: int, index: Tensor, labelled: int, views: list[Tensor]) -> tuple[Tensor, Tensor]:
        """What network k is trained towards, and its own mean prediction. Shapes: (B, C) each.

        Args:
            index: (B,), the labelled images first.
            labelled: number of labelled images.
            views: two of (B, channels, H, W).
        """
        learner, other = self.both[k], self.both[1 - k]
        own = self._mean(learner(torch.cat(views)))
        label = F.one_hot(self.train_set.labels[index[:labelled]], own.shape[1])
        clean = self.clean[index[:labelled], 1 - k, None]
        refined = clean * label + (1 - clean) * own[:labelled]
        if labelled == len(index):
            return sharpen(refined, self.temperature), own
        theirs = self._mean(other.evaluated(torch.cat([view[labelled:] for view in views])))
        guessed = (own[labelled:] + theirs) / 2
        return sharpen(torch.cat([refined, guessed]), self.temperature), own

    @staticmethod
    def _mean(logits: Tensor) -> Tensor:
        """The mean prediction over two views. Shapes: (2B, C) -> (B, C)."""
        return log_probs(logits).exp().unflatten(0, (2, -1)).mean(dim=0)

    def predict(self, images: Tensor) -> Tensor:
        first, second = self.both
        return (first(images) + second(images)) / 2

    def judgement(self) -> Judgement:
        """The mean of both mixtures' probabilities, and each image's last target class."""
        return Judgement(self.clean.mean(dim=1), self.proposed)
