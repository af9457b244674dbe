"""Where in its length a training stands, and the stages that a method divides it into."""

from dataclasses import dataclass


@dataclass
class Clock:
    """The trainer moves it; a method reads it.

    Attributes:
        epochs: length of the run.
        batch_size: images a step.
        epoch: the epoch under way, from 0; between epochs the number of finished ones.
    """

    epochs: int
    batch_size: int
    epoch: int = 0

    def length(self, fraction: float) -> int:
        """A fraction of the run in whole epochs, at least one."""
        return max(1, round(fraction * self.epochs))

    def stage(self, *fractions: float) -> int:
        """Which stage the epoch under way is in, from 0, where all stages but the last have these lengths.

        Each stage lasts at least one epoch and leaves one for each that follows, as far as there are epochs: a run of
        two epochs sees both of two stages.
        """
        end = 0
        for stage, fraction in enumerate(fractions):
            following = len(fractions) - stage
            end = max(end + 1, min(end + self.length(fraction), self.epochs - following))
            if self.epoch < end:
                return stage
        return len(fractions)
