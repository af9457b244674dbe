"""What a training notifies of its progress: a display, a tracker, the checkpoints."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from labelnoise.training.method import Method
    from labelnoise.training.state import TrainState

Row = dict[str, float | None]


class Listener:
    """Hears of a training's progress, and replaces what it needs of these calls, which do nothing.

    It must not change the method, nor draw from torch's default generator: the run would be another one. What it keeps
    is not in the checkpoint of a run that is stopped.
    """

    def start(self, method: "Method", epoch: int) -> None:
        """Called once, before the first step, with the method and the number of epochs that are finished already."""

    def step(self) -> None:
        """Called after every step."""

    def epoch(self, row: Row) -> None:
        """Called after every epoch, with its row of the history."""

    def consistent(self, state: "TrainState") -> None:
        """Called after every step, every epoch and every batch of an evaluation: `state` and the method are then
        consistent, so both can be saved, or the run can be stopped."""
