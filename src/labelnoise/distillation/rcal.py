"""RCAL: features without labels first; then a classifier whose features stay near them, with tail classes filled up."""

import hashlib
from pathlib import Path
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor
from torch.nn import functional as F

from labelnoise.arguments.ranges import Fraction, NonNegative, Positive, PositiveFraction, checked
from labelnoise.estimates.calibrated_classes import INLYING, calibrated_classes, local_outlier_factors
from labelnoise.files.atomic import write_whole
from labelnoise.files.reading import read_bounded
from labelnoise.losses.base import at_least_single
from labelnoise.networks.readout import last_layer
from labelnoise.training.method import Feed, Judgement, Method, Setup, StepResult


def contrastive(projections: Tensor, temperature: float) -> Tensor:
    """-log of the share of an image's other view among all other views of the batch, by exp(cosine / T); the mean.

    Shapes: (2 B, P), the second views after the first -> 0-d, in nats.
    Source: Chen, Kornblith, Norouzi, Hinton 2020, arXiv:2002.05709, NT-Xent.
    """
    directions = F.normalize(at_least_single(projections))
    alike = directions @ directions.T / temperature
    alike = alike.masked_fill(torch.eye(len(alike), dtype=torch.bool, device=alike.device), -torch.inf)
    partner = torch.arange(len(alike), device=alike.device).roll(len(alike) // 2)
    return F.cross_entropy(alike, partner)


class RCAL(Method):
    """The first stage trains a network on two strong views of each image, without labels. Its features show how each
    label's images are distributed (`estimates.calibrated_classes`), without outliers and with tail classes calibrated.
    The second stage trains the classifier from there: it minimises the mean of the loss over mixed images and over
    points that are drawn from these distributions, so many that the labels are balanced, plus
    `anchor` |z_i - z_i'|^2 / D, which keeps the features near those of the first stage, z', mixed as the images are.

    The first stage does not depend on the labels. Runs that train alike share it: after its first epoch, a run whose
    network is one that is known in `Setup.shared` takes over what this one was at the end. Records are the same.

    Memory: (N, D) floats, and C D^2.

    Args:
        contrast: length of the first stage, as a fraction of the run.
        projection: outputs of the first stage, at least C.
        temperature: of the first stage, > 0.
        nearest, own, spread: as in `calibrated_classes`.
        anchor: >= 0.
        alpha: of mixup, > 0.
    Raises:
        ValueError: a hyper-parameter out of range, a run of one epoch, or a network without features and linear head.
    Source: Zhang, Zhao, Yao, Yuan, Huang 2023 (ICCV), arXiv:2211.10955. Reconstruction: the equations are second-hand
        and the values ours.
    Differs: the paper's first stage is MoCo, with a second encoder, a queue and a hidden layer, and lasts 1,000 epochs;
        here it is SimCLR's loss within a batch and a linear projection.
    """

    pretrained: Tensor
    outlying: Tensor
    means: Tensor
    factors: Tensor
    losses: Tensor
    running: Tensor
    known: Tensor
    key: Tensor
    concentration: Tensor

    @checked
    def __init__(
        self,
        setup: Setup,
        contrast: PositiveFraction,
        projection: Annotated[int, Ge(2)],
        temperature: Positive,
        nearest: Annotated[int, Ge(1)],
        own: Fraction,
        spread: Positive,
        anchor: NonNegative,
        alpha: Positive,
    ) -> None:
        super().__init__(setup)
        classes = setup.train.num_classes
        if projection < classes:
            raise ValueError(f"method.projection={projection}: must be at least the number of classes, {classes}")
        self.stages = self.clock.trainings(contrast)
        self.learner = setup.make_learner(during=self.stages[1])
        self.encoder = setup.make_learner(during=self.stages[0], extra_outputs=projection - classes)
        features = last_layer(self.learner.network).in_features
        self.temperature, self.nearest, self.own, self.spread = temperature, nearest, own, spread
        self.anchor, self.shared = anchor, setup.shared
        self.remember("pretrained", (features,))
        self.remember("outlying")  # local outlier factors
        self.register_buffer("means", torch.zeros(classes, features))
        self.register_buffer("factors", torch.zeros(classes, features, features))  # lower, of the covariances
        self.register_buffer("losses", torch.zeros(len(self.stages[0]), dtype=torch.float64))
        self.register_buffer("running", torch.zeros((), dtype=torch.float64))
        self.register_buffer("known", torch.zeros((), dtype=torch.bool))  # whether the first stage was taken over
        self.register_buffer("key", torch.zeros(32, dtype=torch.uint8))
        self.register_buffer("concentration", torch.full((2,), float(alpha)), persistent=False)

    # -------------------------------------------------------------------------------------------------- the first stage

    def begin_epoch(self) -> None:
        epoch, first = self.clock.epoch, self.stages[0]
        if 0 < epoch <= first.stop and not self._taken_over():
            self.losses[epoch - 1] = self.running / len(self.train_set)
            self.running.zero_()
        if epoch == 1 and epoch in first and self.shared is not None:
            self._look_up()
        if epoch in first and self._taken_over():
            self.running.copy_(self.losses[epoch])
        if epoch == first.stop:
            if self.shared is not None and not self._taken_over() and len(first) > 1:
                self._share()
            self._calibrate()

    def _taken_over(self) -> bool:
        return self.shared is not None and self.clock.epoch > 0 and bool(self.known)

    def feeds(self) -> list[Feed]:
        if self.stage == 0:
            return self.every_image("known" if self._taken_over() else "contrast")
        return self.every_image("train", self._filled())

    def contrast_step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        views = torch.cat([self.train_set.view(index, "strong") for _ in range(2)])
        loss = contrastive(self.encoder(views), self.temperature)
        self.encoder.update(loss)
        self.running += loss.detach() * len(index)
        return StepResult(loss.detach())

    def known_step(self, feed: Feed) -> StepResult:
        return StepResult(self.running.float())

    def _file(self) -> Path:
        assert self.shared is not None
        return self.shared / f"rcal-{bytes(self.key.tolist()).hex()[:16]}.safetensors"

    def _look_up(self) -> None:
        """Take over the first stage if a run that began with the same epoch has shared its end."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        state = [value.cpu().contiguous() for value in self.encoder.network.state_dict().values()]
        rates = [self.encoder.schedule(k, len(self.stages[0])) for k in range(len(self.stages[0]))]
        content = b"".join(value.view(-1).view(torch.uint8).numpy().tobytes() for value in state)
        digest = hashlib.sha256(repr(rates).encode() + content).digest()
        self.key.copy_(torch.tensor(list(digest), dtype=torch.uint8))
        if not self._file().exists():
            return
        try:
            found = load(read_bounded(self._file()))
            self.losses.copy_(found.pop("losses"))
            weights = {name.removeprefix("network."): value for name, value in found.items()}
            self.encoder.network.load_state_dict(weights)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError):
            raise ValueError(f"{self._file()}: is not the first stage that a run shared; remove it") from None
        self.known.fill_(True)

    def _share(self) -> None:
        from safetensors.torch import save

        state = {f"network.{name}": value for name, value in self.encoder.network.state_dict().items()}
        content = {name: value.cpu().contiguous() for name, value in {**state, "losses": self.losses}.items()}
        write_whole(self._file(), save(content))

    # ------------------------------------------------------------------------------------------------- the second stage

    def _calibrate(self) -> None:
        """Begin with the first stage's features, and find the classes in them."""
        seed = self.train_set.generator.initial_seed() + 1  # what follows must not depend on whether it was taken over
        self.train_set.generator.manual_seed(seed)
        torch.manual_seed(seed)
        own, of_head = (
            self.learner.network.state_dict(keep_vars=True),
            set(last_layer(self.learner.network).parameters()),
        )
        for name, value in self.encoder.network.state_dict().items():
            if own[name] not in of_head:
                own[name].detach().copy_(value)
        self.pretrained.copy_(self.score(lambda index, images, labels: self.learner.with_features(images)[1]))
        labels, classes = self.train_set.labels, self.train_set.num_classes
        self.outlying.copy_(local_outlier_factors(self.pretrained, labels, classes))
        asked = (classes, self.nearest, self.own, self.spread)
        found = calibrated_classes(self.pretrained, labels, self.outlying >= INLYING, *asked)
        self.means.copy_(found.means)
        self.factors.copy_(torch.linalg.cholesky(found.covariances))

    def _missing(self) -> Tensor:
        """How many points each label has fewer than the one with the most (C,)."""
        counts = self.train_set.labels.bincount(minlength=self.train_set.num_classes)
        return counts.max() - counts

    def _filled(self) -> int:
        """Points to draw in a step."""
        return round(self.clock.batch_size * int(self._missing().sum()) / len(self.train_set))

    def drawn(self, count: int) -> tuple[Tensor, Tensor]:
        """Points of the classes' distributions, more of labels with fewer images. Shapes: -> (count, D), (count,)."""
        generator = self.train_set.generator
        labels = torch.multinomial(self._missing().float(), count, replacement=True, generator=generator)
        noise = torch.empty(count, self.means.shape[1], dtype=self.means.dtype, device=labels.device)
        noise.normal_(generator=generator)
        return self.means[labels] + torch.einsum("bij,bj->bi", self.factors[labels], noise), labels

    def train_step(self, feed: Feed, filled: int) -> StepResult:
        batch = self.train_set.batch(feed.index["train"])
        share = torch.distributions.Dirichlet(self.concentration, validate_args=False).sample().max()
        partner = torch.randperm(len(batch.index), generator=self.train_set.generator, device=batch.index.device)
        logits, features = self.learner.with_features(share * batch.images + (1 - share) * batch.images[partner])
        values = share * self.loss(logits, batch.labels) + (1 - share) * self.loss(logits, batch.labels[partner])
        anchors = self.pretrained[batch.index]
        moved = at_least_single(features) - (share * anchors + (1 - share) * anchors[partner])
        if filled:
            points, labels = self.drawn(filled)
            values = torch.cat([values, self.loss(self.learner.head(points), labels)])
        moved_by = moved.square().mean()
        loss = values.mean() + self.anchor * moved_by
        self.learner.update(loss)
        metrics = {"moved": moved_by.detach()}
        return StepResult(loss.detach(), batch.index, predicted=logits.detach().argmax(dim=1), metrics=metrics)

    def predict(self, images: Tensor) -> Tensor:
        return self.learner(images)

    def judgement(self) -> Judgement:
        """The local outlier factors, once the first stage is over."""
        return Judgement(self.outlying)
