"""What a method is built from, unless it declares that it assumes the noise's transition matrix."""

from torch import Tensor

from labelnoise.training.method import Setup


class Unassuming(Setup):
    """The set-up of a method that does not declare that it assumes the transition matrix: reading this is an error."""

    __slots__ = ()

    @property
    def transition(self) -> Tensor | None:
        raise ValueError(
            'setup.transition: a method that reads it needs assumes = frozenset({"transition"}) in its class'
        )
