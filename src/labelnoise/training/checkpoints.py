"""Checkpoints: a run that is stopped goes on exactly where it was, in the middle of an epoch too.

`<results>/<run_id>.checkpoint` holds the method (networks, optimizers, buffers), the generators and the position of the
training, written after every epoch, every two minutes, and when the run is told to stop; it goes when the record is
written. It is read with `weights_only=True`: tensors, numbers, text, lists and dicts, no code.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.files.atomic import write_whole
from labelnoise.training.signals import Signals

if TYPE_CHECKING:
    import torch

    from labelnoise.training.loop import Position
    from labelnoise.training.method import Method

EVERY = 120.0  # seconds
KEYS = {"run_id", "pieces", "method", "generators", "position"}


class Keeper:
    """What a training calls after every step: saves when an epoch or two minutes have passed, stops when it must.

    Args:
        path: of the checkpoint.
        identifier: the run's id.
        method: what is trained.
        earlier: facts of each process that has worked on the run before.
        facts: those of this one.
        signals: entered.
        epoch: finished ones that have a checkpoint.
    """

    def __init__(
        self,
        path: Path,
        identifier: str,
        method: "Method",
        earlier: list[dict[str, Any]],
        facts: Callable[[], dict[str, Any]],
        signals: Signals,
        epoch: int,
    ) -> None:
        self.path, self._identifier, self._method = path, identifier, method
        self._earlier, self._facts, self._signals, self._started = earlier, facts, signals, time.monotonic()
        self._saved, self._epoch, self._refused = self._started, epoch, False

    def __call__(self, position: "Position") -> None:
        told = self._signals.noted is not None
        written = True
        if told or position.epoch != self._epoch or time.monotonic() - self._saved > EVERY:
            written = self._try_to_save(position)
        if told:
            try:
                self._signals.leave()
            except BaseException:  # not where another program's handler lets it go on
                of = f", step {position.step} of {len(position.order)}" if position.order else ""
                then = "goes on from there" if written else "starts again or goes on from an earlier checkpoint"
                print(f"stopped after epoch {position.epoch}{of}; the same command {then}", file=sys.stderr)
                raise

    def _try_to_save(self, position: "Position") -> bool:
        """Save; a disk that has no room for a checkpoint is no reason to end a run whose record may still fit."""
        try:
            self.save(position)
        except OSError as error:
            self._saved, self._epoch = time.monotonic(), position.epoch
            if not self._refused:
                print(f"{self.path} cannot be written ({error.strerror}); the run goes on without", file=sys.stderr)
            self._refused = True
            return False
        return True

    def save(self, position: "Position") -> None:
        """Write the checkpoint beside the old one, then in its place."""
        import torch

        piece = {**self._facts(), "seconds": round(time.monotonic() - self._started, 1)}
        train = self._method.train_set
        state = {
            "run_id": self._identifier,
            "pieces": [*self._earlier, piece],
            "method": self._method.state_dict(),
            "generators": {"data": train.generator.get_state(), **_default_generators(train.labels.device)},
            "position": position.state(),
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_whole(self.path, content.getvalue(), sync=False)  # one lost to a power cut is refused, not trusted
        self._saved, self._epoch = time.monotonic(), position.epoch


def load(path: Path, identifier: str, commit: str | None = None) -> dict[str, Any] | None:
    """The checkpoint, or None where there is none; one that is cut short or another run's is refused, saying so.

    Args:
        commit: refuse one that another commit made, too: whoever runs a configuration again may have changed the code.
    """
    import torch

    if not path.is_file():
        return None
    reason = None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or set(state) != KEYS or state["run_id"] != identifier:
            reason = "it belongs to another run or version"
        elif commit is not None and state["pieces"][-1]["commit"] != commit:
            reason = "force=true, and another commit made it"
    except Exception as error:  # what a broken file raises depends on where it is broken
        reason = f"it cannot be read ({type(error).__name__})"
    if reason:
        refuse(path, reason)
    return None if reason else state


def restore(state: dict[str, Any], method: "Method") -> "Position":
    """Put a checkpoint's state into the method and the generators; returns the position to go on from.

    Raises:
        Exception: the state is not this method's.
    """
    import torch

    from labelnoise.training.loop import Position

    device = method.train_set.labels.device
    position = Position.of(state["position"], device)
    method.load_state_dict(state["method"])
    generators = state["generators"]
    method.train_set.generator.set_state(generators["data"])
    torch.set_rng_state(generators["torch"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(generators["cuda"], device)
    return position


def refuse(path: Path, reason: str) -> None:
    """Say why a checkpoint is not used."""
    print(f"{path} is not used: {reason}; the run starts again", file=sys.stderr)


def _default_generators(device: "torch.device") -> dict[str, Any]:
    """What draws without a generator of its own, on the CPU and on the run's device."""
    import torch

    cuda = {"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {}
    return {"torch": torch.get_rng_state(), **cuda}
