"""The progress of a run. Together with the states of the method and of the generators, it suffices to resume."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from labelnoise.training.method import Feed, StepResult
from labelnoise.training.predictions import Predictions

Row = dict[str, float | None]
LEDGER = ("predicted", "selected", "target")


@dataclass
class TrainState:
    """The finished epochs, and the steps and observations of the current epoch.

    Attributes:
        epoch: finished epochs.
        history: quantity -> one value for each finished epoch.
        confusion: (C, C), counts, rows the true class, of the last evaluation; empty before the first.
        feeds: all feeds of the current epoch; empty between epochs.
        done: number of finished steps among them.
        ledger: (N,) each, the last predicted, selected and target of each image in this epoch; -1 if none.
        means: 0-d quantity -> its value in each step that returned it, and the numbers of images of those steps.
        steps: finished steps of the run.
        numbers: the method's attributes that are plain numbers or text and have changed in training; see `loose_state`.
        predictions: for the training images, in the epochs so far; None if they are not recorded.
    """

    epoch: int = 0
    history: dict[str, list[float | None]] = field(default_factory=dict)
    confusion: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.long))
    feeds: list[Feed] = field(default_factory=list)
    done: int = 0
    ledger: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, tuple[list[Tensor], list[int]]] = field(default_factory=dict)
    steps: int = 0
    numbers: dict[str, Any] = field(default_factory=dict)
    predictions: Predictions | None = None

    def note(self, feed: Feed, result: StepResult, count: int) -> None:
        """Add a step's result, without waiting for the device.

        Args:
            count: N, the size of the training set.
        """
        self.done += 1
        self.steps += 1
        images = sum(map(len, feed.index.values())) if result.index is None else len(result.index)
        for name, value in {"train_loss": result.loss, **result.metrics}.items():
            values, sizes = self.means.setdefault(name, ([], []))
            values.append(value)
            sizes.append(images)
        for name in LEDGER:
            seen: Tensor | None = getattr(result, name)
            if seen is not None and result.index is not None:
                column = self.ledger.get(name)
                if column is None:
                    column = self.ledger[name] = torch.full((count,), -1, device=seen.device)
                column[result.index] = seen.long()

    def end_epoch(self, row: Row) -> None:
        """Append an epoch's row to the history. A quantity that earlier epochs lack is null for them."""
        for name in {**self.history, **row}:
            self.history.setdefault(name, [None] * self.epoch).append(row.get(name))
        self.epoch, self.feeds, self.done, self.ledger, self.means = self.epoch + 1, [], 0, {}, {}

    def state_dict(self) -> dict[str, Any]:
        """As tensors, numbers and lists on the CPU, for a checkpoint."""
        parts = [index for feed in self.feeds for index in feed.index.values()]
        return {
            "epoch": self.epoch,
            "history": self.history,
            "confusion": self.confusion,
            "kinds": [list(feed.step) for feed in self.feeds],
            "sizes": [{name: len(index) for name, index in feed.index.items()} for feed in self.feeds],
            "order": torch.cat(parts).cpu() if parts else torch.zeros(0, dtype=torch.long),
            "done": self.done,
            "ledger": {name: column.cpu() for name, column in self.ledger.items()},
            "means": {name: (torch.stack(values).cpu(), sizes) for name, (values, sizes) in self.means.items()},
            "steps": self.steps,
            "numbers": self.numbers,
            "predictions": None if self.predictions is None else self.predictions.state_dict(),
        }

    @classmethod
    def of(cls, state: dict[str, Any], device: torch.device) -> "TrainState":
        """The state from its `state_dict()`, on a device."""
        order = state["order"].to(device)
        parts = iter(order.split([size for sizes in state["sizes"] for size in sizes.values()]))
        feeds = [
            Feed(tuple(kind), {name: next(parts) for name in sizes})
            for kind, sizes in zip(state["kinds"], state["sizes"], strict=True)
        ]
        ledger = {name: column.to(device) for name, column in state["ledger"].items()}
        means = {name: (list(v.to(device).unbind()), list(sizes)) for name, (v, sizes) in state["means"].items()}
        predictions = None if state.get("predictions") is None else Predictions.of(state["predictions"])
        progress = (state["epoch"], state["history"], state["confusion"], feeds, state["done"])
        return cls(*progress, ledger, means, state["steps"], state.get("numbers", {}), predictions)
