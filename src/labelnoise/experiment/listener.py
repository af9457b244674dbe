"""Who hears of a training's progress: the display, the tracker and the checkpoints."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from labelnoise.experiment.progress import Quiet, Row
from labelnoise.experiment.trackers import Tracker

if TYPE_CHECKING:
    from labelnoise.training.state import TrainState


class Hub:
    """Passes all on; the tracker is finished whatever happens.

    Args:
        progress: the display, entered.
        tracker: from the configuration.
        keep: saves or stops where it is time.
        done: epochs finished before.
    Attributes:
        metrics: what the tracker is finished with.
    """

    def __init__(self, progress: Quiet, tracker: Tracker, keep: "Callable[[TrainState], None]", done: int) -> None:
        self._progress, self._tracker, self._keep, self._epoch = progress, tracker, keep, done
        self.metrics: dict[str, Any] = {}

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_: object) -> None:
        self._tracker.finish(self.metrics)

    def step(self) -> None:
        """A step is done."""
        self._progress.step()

    def epoch(self, row: Row) -> None:
        """An epoch is done: show it and track it."""
        self._epoch += 1
        self._progress.epoch(row)
        self._tracker.log(self._epoch, row)

    def keep(self, state: "TrainState") -> None:
        """`state` and the method agree: save, or stop."""
        self._keep(state)
