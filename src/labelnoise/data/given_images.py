"""A training set whose images the caller supplies as the network takes them, for a training loop of one's own."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from labelnoise.data.train_set import TrainSet


class GivenImages(TrainSet):
    """Images from a function, each time a method asks for some; nothing is normalised or augmented here.

    Args:
        images: index (B,) -> (B, ...), floating point, of these positions, on the labels' device; augmented or not.
        labels: (N,), noisy.
        num_classes: C.
        generator: on the labels' device; the order is drawn from it.
    """

    on_device = False

    def __init__(
        self, images: Callable[[Tensor], Tensor], labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> None:
        none = torch.empty(0, 1, 1, 1, dtype=torch.uint8, device=labels.device)
        super().__init__(none, labels, num_classes, (0.0,), (1.0,), None, generator)
        self._given = images

    def view(self, index: Tensor, kind: Literal["weak", "strong"] = "weak") -> Tensor:
        """The images at `index` (B,). Raises: ValueError: a strong view is asked for."""
        if kind == "strong":
            raise ValueError("this method needs strong views, which given images do not have")
        return self._given(index)

    def plain(self, index: Tensor) -> Tensor:
        return self._given(index)
