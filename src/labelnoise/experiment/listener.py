"""Connects a training to its display, its tracker and its checkpoints."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labelnoise.experiment.progress import Quiet, Row
from labelnoise.experiment.trackers import Tracker

if TYPE_CHECKING:
    from labelnoise.training.state import TrainState


class Hub:
    """Forwards progress to the display, the tracker and the checkpoints. On exit the tracker is always finished.

    Args:
        progress: the display, already entered.
        tracker: from the configuration.
        keep: saves a checkpoint or stops the run when it is time to.
        done: number of epochs already finished.
    Attributes:
        metrics: given to the tracker at the end.
    """

    def __init__(self, progress: Quiet, tracker: Tracker, keep: "Callable[[TrainState], None]", done: int) -> None:
        self._progress, self._tracker, self._keep, self._epoch = progress, tracker, keep, done
        self.metrics: dict[str, Any] = {}

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.finish(self.metrics)

    def step(self) -> None:
        """Called after a step."""
        self._progress.step()

    def epoch(self, row: Row) -> None:
        """Called after an epoch: display and track it."""
        self._epoch += 1
        self._progress.epoch(row)
        self._tracker.log(self._epoch, row)

    def keep(self, state: "TrainState") -> None:
        """Called when `state` and the method are consistent: save or stop if it is time to."""
        self._keep(state)
