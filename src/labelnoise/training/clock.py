"""The current epoch, the length of the run, and the stages into which a method divides it."""

from dataclasses import dataclass


@dataclass
class Clock:
    """The training loop sets it; a method reads it.

    Attributes:
        epochs: length of the run.
        batch_size: images per step.
        epoch: the current epoch, from 0; between epochs, the number of finished epochs.
    """

    epochs: int
    batch_size: int
    epoch: int = 0

    def length(self, fraction: float) -> int:
        """A fraction of the run, rounded to whole epochs, at least one."""
        return max(1, round(fraction * self.epochs))

    def ramp(self, since: int, fraction: float) -> float:
        """From 0 to 1 in equal steps over a fraction of the run, then 1.

        As released code writes it: `numpy.linspace(0, 1, n)[since]` with n the number of epochs, and 1 from `since` = n
            on;
        a ramp of one epoch is 0 at 0 and 1 after it.

        Args:
            since: epochs since the ramp began; negative before it.
            fraction: length of the ramp, see `length`.
        """
        return min(max(since / max(self.length(fraction) - 1, 1), 0.0), 1.0)

    def stage(self, *fractions: float) -> int:
        """The stage of the current epoch, from 0.

        If there are enough epochs, each stage lasts at least one: a run of two epochs goes through both of two stages.

        Args:
            fractions: lengths of all stages but the last, as fractions of the run.
        """
        end = 0
        for stage, fraction in enumerate(fractions):
            following = len(fractions) - stage
            end = max(end + 1, min(end + self.length(fraction), self.epochs - following))
            if self.epoch < end:
                return stage
        return len(fractions)
