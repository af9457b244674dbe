"""The current epoch, the length of the run, and the stages into which a method divides it."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor


@dataclass
class Clock:
    """The training loop sets it; a method reads it.

    Attributes:
        epochs: length of the run.
        batch_size: images per step.
        epoch: the current epoch, from 0; between epochs, the number of finished epochs.
        steps: 0-d, int64, on the device: finished steps of the run. Kept only for a loss that needs `step`, else None.
    """

    epochs: int
    batch_size: int
    epoch: int = 0
    steps: Tensor | None = None

    def length(self, fraction: float) -> int:
        """A fraction of the run, rounded to whole epochs: at least one, but none of a fraction of 0."""
        return max(1, round(fraction * self.epochs)) if fraction else 0

    def ramp(self, since: int, fraction: float) -> float:
        """From 0 to 1 in equal steps over a fraction of the run, then 1.

        As released code writes it: `numpy.linspace(0, 1, n)[since]` with n the number of epochs, and 1 from `since` = n
        on; a ramp of one epoch is 0 at 0 and 1 after it; one of no epoch is 1 from 0 on.

        Args:
            since: epochs since the ramp began; negative before it.
            fraction: length of the ramp, see `length`.
        """
        if not fraction:
            return float(since >= 0)
        return min(max(since / max(self.length(fraction) - 1, 1), 0.0), 1.0)

    def stages(self, *fractions: float) -> list[range]:
        """The epochs of each stage of the run, in order; the last one lasts to the end of the run.

        A stage of a fraction of 0 is empty. If there are enough epochs, each other one lasts at least one: a run of two
        epochs goes through both of two stages. If there are not, the last ones are empty.

        Args:
            fractions: lengths of all stages but the last, as fractions of the run.
        """
        ends = [0]
        for following, fraction in zip(range(len(fractions), 0, -1), fractions, strict=True):
            end = max(ends[-1] + bool(fraction), min(ends[-1] + self.length(fraction), self.epochs - following))
            ends.append(min(end, self.epochs))
        return [range(first, end) for first, end in pairwise([*ends, self.epochs])]

    def trainings(self, *fractions: float) -> list[range]:
        """`stages` of which none may be empty, because each trains a network anew.

        Args:
            fractions: as those of `stages`.
        Raises:
            ValueError: the run has fewer epochs than stages.
        """
        if self.epochs <= len(fractions):
            least = len(fractions) + 1
            raise ValueError(
                f"epochs={self.epochs}: must be at least {least}, because the method trains {least} networks"
            )
        return self.stages(*fractions)

    def stage(self, *fractions: float) -> int:
        """The stage of the current epoch, from 0; see `stages`. After the run, that of its last epoch.

        Args:
            fractions: as those of `stages`.
        """
        return self.within(self.stages(*fractions))

    def within(self, stages: list[range]) -> int:
        """Which of these stages, from 0, the current epoch is in. After the run, its last epoch."""
        epoch = min(self.epoch, self.epochs - 1)
        return next(stage for stage, epochs in enumerate(stages) if epoch in epochs)
