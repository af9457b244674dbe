"""Training images that do not fit in memory: worker processes decode them for every batch, in advance."""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelnoise.data.decode import read_image, workers_for_decoding
from labelnoise.data.train_set import TrainSet

AHEAD = 2  # queued batches per worker process


class StreamedImages:
    """Image files that are indexed like the tensor (N, channels, size, size) of their pixels.

    Args:
        root: their folder. paths: relative to it, readable.
        size: pixels. colour: three channels, or one.
    """

    def __init__(self, root: Path, paths: Sequence[str], size: int, colour: bool) -> None:
        self._root, self._paths, self._size, self._colour = root, paths, size, colour

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self._paths), 3 if self._colour else 1, self._size, self._size))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Tensor:
        """Pixels, uint8. Shapes: (B,) -> (B, channels, size, size); a whole number -> (channels, size, size)."""
        if isinstance(index, int):
            return self.decoded(self.ahead([index]))[0]
        positions = index.tolist()
        share = -(-len(positions) // workers_for_decoding()) or 1
        parts = [self.ahead(positions[i : i + share]) for i in range(0, len(positions), share)]
        return torch.cat([self.decoded(part) for part in parts]) if parts else torch.empty(0, *self.shape[1:]).byte()

    def part(self, index: Tensor) -> "StreamedImages":
        """The images at `index` (M,), not decoded."""
        return StreamedImages(self._root, [self._paths[i] for i in index.tolist()], self._size, self._colour)

    def ahead(self, positions: Sequence[int]) -> "Future[np.ndarray]":
        """Start decoding these images in a worker process."""
        files = [self._root / self._paths[i] for i in positions]
        return _workers().submit(_decode, files, self._size, self._colour)

    @staticmethod
    def decoded(batch: "Future[np.ndarray]") -> Tensor:
        """The pixels that a worker process decoded, (B, channels, size, size), uint8.

        Raises:
            OSError: an image can no longer be read.
        """
        return torch.from_numpy(batch.result()).permute(0, 3, 1, 2)


@cache
def _workers() -> ProcessPoolExecutor:
    """This process's decoding processes. Spawned, because a fork of a process with threads or a GPU may hang."""
    return ProcessPoolExecutor(workers_for_decoding(), get_context("spawn"))


def _decode(files: Sequence[Path], size: int, colour: bool) -> np.ndarray:
    images = [read_image(file, size, colour) for file in files]
    for file, image in zip(files, images, strict=True):
        if isinstance(image, str):
            raise OSError(f"{file}: could be read when the data set was loaded, but not any more ({image})")
    return np.stack(images)


class StreamedTrainSet(TrainSet):
    """A training set whose images are decoded on request; batches from `order` are decoded in advance.

    Args: as in `TrainSet`, except images.
    """

    on_device = False

    def __init__(self, images: StreamedImages, labels: Tensor, *rest: Any, **more: Any) -> None:
        empty = torch.empty(0, *images.shape[1:], dtype=torch.uint8, device=labels.device)
        super().__init__(empty, labels, *rest, **more)
        self._files = images
        self._coming: deque[tuple[list[int], Future[np.ndarray] | None]] = deque()
        self._last: tuple[list[int], Tensor] = ([], empty)

    def order(self, size: int, among: Tensor | None = None) -> list[Tensor]:
        parts = super().order(size, among)
        for _, batch in self._coming:  # left from an unfinished epoch
            if batch is not None:
                batch.cancel()
        self._coming = deque((part.tolist(), None) for part in parts)
        return parts

    def pixels(self, index: Tensor) -> Tensor:
        wanted = index.tolist()
        if wanted != self._last[0]:  # a second view of the same images is not decoded again
            self._last = (wanted, self._fetched(wanted, index).to(self.labels.device))
        return self._last[1]

    def _fetched(self, wanted: list[int], index: Tensor) -> Tensor:
        if not self._coming or self._coming[0][0] != wanted:
            return self._files[index]
        self._look_ahead()
        _, batch = self._coming.popleft()
        assert batch is not None
        return self._files.decoded(batch)

    def _look_ahead(self) -> None:
        """Start decoding enough of the next batches to keep the worker processes busy."""
        for place, (positions, batch) in enumerate(list(islice(self._coming, AHEAD * workers_for_decoding() + 1))):
            if batch is None:
                self._coming[place] = (positions, self._files.ahead(positions))
