"""What a training notifies of its progress: a display, a tracker, the checkpoints."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from labelnoise.training.state import TrainState

Row = dict[str, float | None]


class Listener:
    """Does nothing; a listener replaces what it needs."""

    def step(self) -> None:
        """Called after every step."""

    def epoch(self, row: Row) -> None:
        """Called after every epoch, with its row of the history."""

    def consistent(self, state: "TrainState") -> None:
        """Called after every step, every epoch and every batch of an evaluation: `state` and the method are then
        consistent, so both can be saved, or the run can be stopped."""
