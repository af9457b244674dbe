"""The one training loop and the evaluation. It alone knows the true labels, so it computes the diagnostics."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from labelnoise.data import normalise
from labelnoise.methods.base import Method

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


class Trained(NamedTuple):
    """Attributes: history, a column (epochs,) for each quantity; confusion (C, C), counts, rows true, at the end."""

    history: dict[str, list[float | None]]
    confusion: Tensor


def fit(
    method: Method,
    true_labels: Tensor,
    test: Labelled,
    val: Labelled | None,
    num_classes: int,
    epochs: int,
    batch_size: int,
    eval_every: int,
    progress: Progress,
) -> Trained:
    """Train for `epochs` and evaluate on the test set every `eval_every` epochs and after the last.

    Args:
        true_labels: (N,), of the training set, on its device.
        test: with true labels.
        val: held-out part of the training set with its noisy labels, or None.
    Raises:
        FloatingPointError: the loss is NaN or infinite; names epoch and step.
    """
    history: dict[str, list[float | None]] = {}
    confusion = torch.zeros(num_classes, num_classes, dtype=torch.long)
    for epoch in range(epochs):
        row = train_epoch(method, epoch, true_labels, batch_size, progress)
        row |= {"test_acc": None} | ({"val_acc": None} if val is not None else {})
        if (epoch + 1) % eval_every == 0 or epoch + 1 == epochs:
            confusion = confusion_matrix(method, test, num_classes, epoch)
            row["test_acc"] = accuracy(confusion)
            if val is not None:
                row["val_acc"] = accuracy(confusion_matrix(method, val, num_classes, epoch))
        for name, value in row.items():
            history.setdefault(name, []).append(value)
        progress.epoch(row)
    return Trained(history, confusion)


def train_epoch(
    method: Method, epoch: int, true_labels: Tensor, batch_size: int, progress: Progress
) -> dict[str, float | None]:
    """One pass, without waiting for the device before its end. Returns the epoch's row of the history.

    `train_loss` is the mean over images. The memorisation curve is counted on the training pass's own outputs:
    `acc_clean` is the accuracy on images whose given label is true; on the mislabelled ones `acc_wrong_given` is the
    share predicted as their wrong label and `acc_wrong_true` as their true one. `label_precision` is the share of true
    labels among the images that a method selects.
    """
    device = true_labels.device
    sums = torch.zeros(8, dtype=torch.float64, device=device)
    first_bad = torch.full((), -1, device=device)
    method.begin_epoch(epoch)
    outputs: dict[str, Tensor] = {}
    for step, batch in enumerate(method.batches(batch_size)):
        outputs = method.step(batch)
        first_bad = torch.where((first_bad < 0) & ~outputs["loss"].isfinite(), step, first_bad)
        truth, given = true_labels[batch.index], batch.labels
        clean = truth == given
        predicted = outputs.get("predicted", torch.full_like(truth, -1))
        selected = outputs.get("selected", torch.zeros_like(clean))
        sums += torch.stack(
            [
                outputs["loss"].double() * len(truth),
                torch.full((), len(truth), device=device).double(),
                clean.sum().double(),
                (clean & (predicted == truth)).sum().double(),
                (~clean & (predicted == given)).sum().double(),
                (~clean & (predicted == truth)).sum().double(),
                selected.sum().double(),
                (selected & clean).sum().double(),
            ]
        )
        progress.step()
    bad = int(first_bad)
    if bad >= 0:
        raise FloatingPointError(f"the loss is NaN or infinite at epoch {epoch + 1}, step {bad + 1}")
    loss, seen, clean_seen, right, memorised, corrected, selected_seen, selected_clean = sums.tolist()
    row: dict[str, float | None] = {"train_loss": loss / seen}
    if "predicted" in outputs:
        row["acc_clean"] = _share(right, clean_seen)
        row["acc_wrong_given"] = _share(memorised, seen - clean_seen)
        row["acc_wrong_true"] = _share(corrected, seen - clean_seen)
    if "selected" in outputs:
        row["label_precision"] = _share(selected_clean, selected_seen)
    return row


@torch.no_grad()
def confusion_matrix(method: Method, data: Labelled, num_classes: int, epoch: int) -> Tensor:
    """How often each class (rows) is predicted as each other (columns). Shapes: -> (C, C), counts, on the CPU.

    Raises:
        FloatingPointError: an output is not finite: the last update ruined the network.
    """
    method.eval()
    counts = torch.zeros(num_classes**2, dtype=torch.long, device=data.labels.device)
    finite = torch.ones((), dtype=torch.bool, device=data.labels.device)
    for images, labels in zip(data.images.split(EVAL_BATCH), data.labels.split(EVAL_BATCH), strict=True):
        inputs = normalise(images, data.mean, data.std).contiguous(memory_format=torch.channels_last)
        logits = method.predict(inputs)
        finite &= logits.isfinite().all()
        counts += torch.bincount(labels * num_classes + logits.argmax(dim=1), minlength=num_classes**2)
    if not finite:
        raise FloatingPointError(f"the network's outputs are NaN or infinite after epoch {epoch + 1}")
    return counts.view(num_classes, num_classes).cpu()


def accuracy(confusion: Tensor) -> float:
    """Share on the diagonal."""
    return float(confusion.diagonal().sum() / confusion.sum())


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None
