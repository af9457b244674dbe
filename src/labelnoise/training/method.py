"""The interface between the training loop and a method: its set-up, a step's input, and its result."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from labelnoise.data.train_set import TrainSet
from labelnoise.training.clock import Clock
from labelnoise.training.learner import Learner, MakeLearner

LossFunction = Callable[..., Tensor]
Regulariser = Callable[..., Tensor]
Score = Callable[[Tensor, Tensor, Tensor], Tensor]
Predict = Callable[[Tensor], Tensor]

EVALUATED = 1000  # images at once
EVALUATED_FLOAT32 = 250  # on a CPU


class Setup(NamedTuple):
    """What every method is built from.

    Attributes:
        make_learner: makes a network with its optimizer; a method gets networks only here.
        loss: `(logits (B, C), labels (B,)) -> (B,)`, per sample.
        train: images and noisy labels; `train.trusted` is a small set with true labels, or None.
        clock: the current epoch, the length of the run, the batch size.
        regulariser: a penalty on the outputs, called with those of `logits=, features=, labels=` that it needs -> 0-d;
            or None. The learners apply a penalty that depends only on the weights.
        transition: (C, C), the true transition matrix of the noise, rows the true class; None if it is not known. Only
            for a method that `assumes` it.
        superclass: (C,), the superclass of each class, or None where the data set has none.
        load_network: `(path, option) -> network`, a network saved with save_model=true that does not learn, such as a
            teacher: `images -> logits (B, C)`. `option` gave the path, as in method.teacher; if the file is not a
            network for this data set, a ValueError names it.
        shared: a folder for what several runs compute alike, such as a stage that does not see the labels; or None.
    """

    make_learner: MakeLearner
    loss: LossFunction
    train: TrainSet
    clock: Clock
    regulariser: Regulariser | None = None
    transition: Tensor | None = None
    superclass: Tensor | None = None
    load_network: Callable[[str, str], nn.Module] | None = None
    shared: Path | None = None


class Feed(NamedTuple):
    """A step's input: plain data that says what to do, and on which images. Checkpoints store the epoch's feeds.

    Attributes:
        step: what the step does, such as ("train",) or ("mix", 1): its name, then numbers or names for `<name>_step`.
            Everything that distinguishes one step from another, except tensors, must be in `step`: on a GPU one graph
            is captured for each step and size.
        index: role -> (B,), positions in the training set; roles are for example train, labelled and unlabelled. For
            the role `trusted` they are positions in the trusted set.
    """

    step: tuple[str | int, ...]
    index: dict[str, Tensor]  # type: ignore[assignment]  # the field's name; a tuple's own index() is not used


@dataclass
class StepResult:
    """A step's result: detached tensors on the device.

    Attributes:
        loss: 0-d, the mean over the step's images.
        index: (B,), the training images that the next three attributes describe; None if they are not given.
        predicted: (B,), the predicted class of each image.
        selected: (B,), bool, whether the step used the image with its label.
        target: (B,), the class that each image was trained towards, if it may differ from the given label.
        metrics: name in the history -> 0-d, further means over the step's images.
    """

    loss: Tensor
    index: Tensor | None = None
    predicted: Tensor | None = None
    selected: Tensor | None = None
    target: Tensor | None = None
    metrics: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Judgement:
    """A method's judgement of the given labels.

    Attributes:
        clean: (N,), the probability that each given label is right, or any score that increases with it.
        proposed: (N,), the label that the method proposes for each image, or None.
    """

    clean: Tensor
    proposed: Tensor | None = None

    @classmethod
    def of_target(cls, target: Tensor, given: Tensor) -> "Judgement":
        """The judgement of soft targets: their value at the given label, and their largest class.

        Shapes: (N, C), (N,).
        """
        return cls(target.gather(1, given[:, None]).squeeze(1), target.argmax(dim=1))


class Method(nn.Module, ABC):
    """A way to train with noisy labels.

    A method keeps what it stores for each image in memories (`remember`), and all other state in buffers: a stopped run
    resumes exactly from its `state_dict()`. It draws random numbers only from `train.generator` and torch's default
    generator.

    Attributes:
        stages: the epochs of each training that a run consists of: one, unless a later stage trains a network anew.
            The history says to which stage an epoch belongs, and the best and the chosen epoch are of the last one.
        provides: the inputs beyond logits and labels (`losses.base.needs`) that this method can give a loss or
            regulariser: `criterion.PROVIDED` if it uses a `Criterion`.
        assumes: what this method uses of the true labels: `transition`, the matrix of `Setup`, or nothing. What
            it learns does not depend on them otherwise, except on those of `train.trusted`.
    """

    provides: frozenset[str] = frozenset()
    assumes: frozenset[str] = frozenset()
    imprecise = False  # whether it learns from labels of groups of classes, see `losses.class_tree`
    coverage = 1.0  # of a method that abstains: the share of held-out images that it is to predict

    transition: Tensor | None  # of a method that assumes it

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.make_learner, self.loss, self.train_set, self.clock, self.regulariser = setup[:5]
        if "transition" in self.assumes:
            self.register_buffer("transition", setup.transition, persistent=False)
        self.stages = [range(self.clock.epochs)]
        self._memories: list[str] = []

    def begin_epoch(self) -> None:
        """Called on the host before an epoch's feeds are drawn, for example to fit a mixture or to enter a stage."""

    def feeds(self) -> list[Feed]:
        """The feeds of the current epoch, in order. By default every image once."""
        return self.every_image("train")

    def every_image(self, *step: str | int) -> list[Feed]:
        """Feeds of one step, in which every image comes once, in a new random order."""
        return [Feed(step, {"train": index}) for index in self.train_set.order(self.clock.batch_size)]

    def step(self, feed: Feed) -> StepResult:
        """One update. It depends only on the feed and on tensors, and never waits for the device.

        By default `<name>_step(feed, ...)` does it, with the name and the rest of the feed's `step`: `train_step(feed)`
        for ("train",), `mix_step(feed, 1)` for ("mix", 1).
        """
        name, *rest = feed.step
        step: Callable[..., StepResult] | None = getattr(self, f"{name}_step", None)
        if step is None:
            raise AttributeError(f"{type(self).__name__} has no {name}_step, for its feeds {feed.step}")
        return step(feed, *rest)

    @abstractmethod
    def predict(self, images: Tensor) -> Tensor:
        """Logits for evaluation. Shapes: (B, channels, H, W) -> (B, C)."""

    def apart(self) -> dict[str, Predict]:
        """Further predictions to evaluate, each apart from `predict` and by itself, such as a teacher's.

        The history has the test accuracy of `name` as `<name>_test_acc`.
        """
        return {}

    def abstention(self, images: Tensor) -> Tensor | None:
        """How much it would rather not predict each image (B,), any score; None: it never abstains."""
        return None

    def judgement(self) -> Judgement | None:
        """The method's judgement of the given labels after the epochs so far; None if it does not judge them."""
        return None

    def remember(
        self, name: str, shape: tuple[int, ...] = (), start: float | Tensor = 0.0, dtype: torch.dtype = torch.float32
    ) -> None:
        """Add a memory of each image: the buffer `name`, (N, *shape).

        Args:
            start: its values at the start of the run, a number or a tensor (N, *shape), which is copied.
            dtype: of the numbers.
        """
        memory = torch.empty(len(self.train_set), *shape, dtype=dtype, device=self.train_set.labels.device)
        self.register_buffer(name, memory.copy_(torch.as_tensor(start)))
        self._memories.append(name)

    def memories(self) -> dict[str, Tensor]:
        """What the method stores for each image, by name: (N, ...) each. Other state is of networks and of steps."""
        return {name: self._buffers[name] for name in self._memories}  # type: ignore[misc]

    @property
    def stage(self) -> int:
        """The current one of `stages`, from 0."""
        return self.clock.within(self.stages)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """As torch's, but also for buffers whose shape has changed since the method was built."""
        for name, buffer in self._buffers.items():
            saved = state.get(prefix + name)
            if buffer is not None and saved is not None and saved.shape != buffer.shape:
                self._buffers[name] = buffer.new_empty(saved.shape)
        super()._load_from_state_dict(state, prefix, *rest)

    def learners(self) -> list[Learner]:
        """Every learner in the method, nested ones included."""
        return [module for module in self.modules() if isinstance(module, Learner)]

    @property
    def network(self) -> nn.Module:
        """The network to save: the first learner's."""
        return self.learners()[0].network

    @property
    def evaluated_together(self) -> int:
        """Images to evaluate at once. In float32 on a CPU, their activations fit into what a training step has left."""
        float32 = all(learner.precision == torch.float32 for learner in self.learners())
        return EVALUATED_FLOAT32 if float32 and not self.train_set.labels.is_cuda else EVALUATED

    @torch.no_grad()
    def score(self, function: Score) -> Tensor:
        """Apply a function to all training images, without augmentation or gradients, in evaluation mode.

        Args:
            function: `(index (B,), images (B, channels, H, W), labels (B,)) -> (B, ...)`.
        Returns:
            (N, ...).
        """
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        index = torch.arange(len(self.train_set), device=self.train_set.labels.device)
        batches = index.split(self.evaluated_together)
        parts = [function(i, self.train_set.plain(i), self.train_set.labels[i]) for i in batches]
        for module, mode in modes:
            module.training = mode
        return torch.cat(parts)
