"""The one training loop and the evaluation. It alone knows the true labels, so it computes the diagnostics."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from labelnoise.data.train_set import normalise
from labelnoise.training.graphs import as_graph
from labelnoise.training.method import Method

EVAL_BATCH = 1000  # images; the largest that keeps an evaluation's memory below a training step's


class Labelled(NamedTuple):
    """Images to evaluate on. Attributes: images (N, channels, H, W) uint8; labels (N,); mean, std (channels, 1, 1)."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    std: Tensor


class Progress(Protocol):
    """What is told while training runs."""

    def step(self) -> None: ...
    def epoch(self, row: dict[str, float | None]) -> None: ...


@dataclass
class Position:
    """Where a training stands. With the method's state and the generators', all that it takes to go on from there.

    Attributes:
        epoch: finished epochs.
        history: of each quantity, a value a finished epoch.
        confusion: (C, C), counts, rows true, of the last evaluation; empty before the first.
        order: index (B,) of each step of the epoch under way; empty between epochs.
        outputs: what each finished step of it returned, as lists.
    """

    epoch: int = 0
    history: dict[str, list[float | None]] = field(default_factory=dict)
    confusion: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))
    order: list[Tensor] = field(default_factory=list)
    outputs: dict[str, list[Tensor]] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """Finished steps of the epoch under way."""
        return len(self.outputs.get("loss", ()))

    def state(self) -> dict[str, Any]:
        """As tensors, numbers and lists on the CPU, for a checkpoint."""
        outputs = {name: torch.cat([v.reshape(-1) for v in values]).cpu() for name, values in self.outputs.items()}
        order = torch.cat(self.order).cpu() if self.order else torch.zeros(0, dtype=torch.long)
        sizes = [len(index) for index in self.order]
        told = {"epoch": self.epoch, "history": self.history, "confusion": self.confusion}
        return {**told, "order": order, "sizes": sizes, "step": self.step, "outputs": outputs}

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> "Position":
        """What `state()` told, on a device."""
        sizes = state["sizes"]
        outputs = {
            name: list(
                values.to(device).unbind() if name == "loss" else values.to(device).split(sizes[: state["step"]])
            )
            for name, values in state["outputs"].items()
        }
        order = list(state["order"].to(device).split(sizes)) if sizes else []
        return cls(state["epoch"], state["history"], state["confusion"], order, outputs)


Keep = Callable[[Position], None]


def fit(
    method: Method,
    true_labels: Tensor,
    test: Labelled,
    val: Labelled | None,
    epochs: int,
    batch_size: int,
    eval_every: int,
    progress: Progress,
    position: Position,
    keep: Keep = lambda position: None,
) -> None:
    """Train from `position` to `epochs` and evaluate on the test set every `eval_every` epochs and after the last.

    Args:
        true_labels: (N,), of the training set, on its device.
        test: with true labels.
        val: held-out part of the training set with its noisy labels, or None.
        position: moves along.
        keep: called after every step and epoch and now and then in an evaluation, when `position` and the method agree:
            the place to save both, or to end the run.
    Raises:
        FloatingPointError: the loss is NaN or infinite; names epoch and step.
    """
    while position.epoch < epochs:
        row = train_epoch(method, true_labels, batch_size, progress, position, keep)
        row |= {"test_acc": None} | ({"val_acc": None} if val is not None else {})
        if (position.epoch + 1) % eval_every == 0 or position.epoch + 1 == epochs:
            position.confusion = confusion_matrix(method, test, position, keep)
            row["test_acc"] = accuracy(position.confusion)
            if val is not None:
                row["val_acc"] = accuracy(confusion_matrix(method, val, position, keep))
        for name, value in row.items():
            position.history.setdefault(name, []).append(value)
        position.epoch, position.order, position.outputs = position.epoch + 1, [], {}
        progress.epoch(row)
        keep(position)


def train_epoch(
    method: Method,
    true_labels: Tensor,
    batch_size: int,
    progress: Progress,
    position: Position,
    keep: Keep = lambda position: None,
) -> dict[str, float | None]:
    """The rest of one pass, without waiting for the device before its end. Returns the epoch's row of the history.

    Raises:
        FloatingPointError: the loss is NaN or infinite; names epoch and step.
    """
    if position.order:
        method.train()  # stopped inside this epoch: what `begin_epoch` did is in the method's state
    else:
        method.begin_epoch(position.epoch)
        position.order = method.order(batch_size)
    step = as_graph(lambda index: method.step(method.batch(index)), position.order, method.train_set.generator)
    for index in position.order[position.step :]:
        for name, value in step(index).items():
            position.outputs.setdefault(name, []).append(value)
        progress.step()
        keep(position)
    losses = torch.stack(position.outputs["loss"])
    if not losses.isfinite().all():
        bad = int(losses.isfinite().int().argmin()) + 1
        raise FloatingPointError(f"the loss is NaN or infinite at epoch {position.epoch + 1}, step {bad}")
    return diagnose(position, true_labels, method.train_set.labels)


def diagnose(position: Position, true_labels: Tensor, labels: Tensor) -> dict[str, float | None]:
    """The row of an epoch's steps.

    `train_loss` is the mean over images. The memorisation curve is counted on the training pass's own outputs:
    `acc_clean` is the accuracy on images whose given label is true; on the mislabelled ones `acc_wrong_given` is the
    share predicted as their wrong label and `acc_wrong_true` as their true one. `label_precision` is the share of true
    labels among the images that a method selects.
    """
    index = torch.cat(position.order)
    sizes = torch.tensor([len(part) for part in position.order], dtype=torch.float64)
    losses = torch.stack(position.outputs["loss"]).cpu().double()
    row: dict[str, float | None] = {"train_loss": float((losses * sizes).sum() / sizes.sum())}
    truth, given = true_labels[index], labels[index]
    clean = truth == given
    if "predicted" in position.outputs:
        predicted = torch.cat(position.outputs["predicted"])
        row["acc_clean"] = _share(predicted == truth, clean)
        row["acc_wrong_given"] = _share(predicted == given, ~clean)
        row["acc_wrong_true"] = _share(predicted == truth, ~clean)
    if "selected" in position.outputs:
        row["label_precision"] = _share(clean, torch.cat(position.outputs["selected"]))
    return row


@torch.no_grad()
def confusion_matrix(method: Method, data: Labelled, position: Position, keep: Keep = lambda position: None) -> Tensor:
    """How often each class (rows) is predicted as each other (columns). Shapes: -> (C, C), counts, on the CPU.

    Raises:
        FloatingPointError: an output is not finite: the last update ruined the network.
    """
    method.eval()
    num_classes = method.train_set.num_classes
    counts = torch.zeros(num_classes**2, dtype=torch.long, device=data.labels.device)
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    for images, labels in zip(data.images.split(EVAL_BATCH), data.labels.split(EVAL_BATCH), strict=True):
        inputs = normalise(images, data.mean, data.std).contiguous(memory_format=torch.channels_last)
        logits = method.predict(inputs)
        finite &= logits.isfinite().all()
        counts += torch.bincount(labels * num_classes + logits.argmax(dim=1), minlength=num_classes**2)
        keep(position)
    if not finite:
        raise FloatingPointError(f"the network's outputs are NaN or infinite after epoch {position.epoch + 1}")
    return counts.view(num_classes, num_classes).cpu()


def accuracy(confusion: Tensor) -> float:
    """Share on the diagonal."""
    return float(confusion.diagonal().sum() / confusion.sum())


def _share(part: Tensor, whole: Tensor) -> float | None:
    """Which fraction of the images in `whole` is in `part` too. Shapes: (N,), (N,), bool."""
    count = int(whole.sum())
    return int((part & whole).sum()) / count if count else None
