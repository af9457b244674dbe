"""Checkpoints: a run that is stopped goes on exactly where it was, in the middle of an epoch too.

`<results>/<run_id>.checkpoint` holds the method (networks, optimizers, buffers), the generators and the position of the
training, written after every epoch, every two minutes, and when the run is told to stop; it goes when the record is
written. It is read with `weights_only=True`: tensors, numbers, text, lists and dicts, no code.
"""

import io
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from labelnoise.records import write_whole

if TYPE_CHECKING:
    import torch

    from labelnoise.methods.base import Method
    from labelnoise.trainer import Position

EVERY = 120.0  # seconds
STOPPED = 75  # exit code of a run that can go on: EX_TEMPFAIL of sysexits.h
KEYS = {"run_id", "pieces", "method", "generators", "position"}
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")

Handler = Callable[[int, FrameType | None], Any]


class Stopped(SystemExit):
    """The run was told to stop and saved a checkpoint; the process ends with exit code 75."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class Signals:
    """While entered, a signal that would end the process is noted instead, until the step under way is finished.

    Where a program has a handler of its own for the signal, that one runs then, after the checkpoint, and may let the
    run go on. So it is in a SLURM job: at SIGUSR2 submitit's requeues the job and raises SystemExit, and at SIGTERM it
    does nothing, because SLURM queues a job again that it had to kill to preempt it, but not one that went by itself.
    SIGUSR1 and SIGUSR2 are noted only where there is such a handler, and count more than any other. What is ignored
    stays ignored. A second SIGINT ends at once. Outside the main thread nothing is noted.

    Attributes:
        noted: number of the signal, or None.
    """

    def __init__(self) -> None:
        self.noted: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        for name in SIGNALS:
            number = getattr(signal, name, None)
            handler = None if number is None else signal.getsignal(number)
            own = callable(handler) and handler is not signal.default_int_handler
            if number is None or handler == signal.SIG_IGN or (name.startswith("SIGUSR") and not own):
                continue
            try:
                signal.signal(number, self._note)
            except ValueError:  # not the main thread
                return self
            self._before[number] = handler
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.noted == number == signal.SIGINT:
            raise KeyboardInterrupt
        if self.noted is None or not signal.Signals(self.noted).name.startswith("SIGUSR"):
            self.noted = number

    def leave(self) -> None:
        """End as the noted signal wants it; returns only where another program's handler does.

        Raises:
            Stopped: or what that handler raises.
        """
        number, self.noted = self.noted, None
        assert number is not None
        handler = self._before[number]
        if callable(handler) and handler is not signal.default_int_handler:
            try:
                handler(number, None)
            except subprocess.CalledProcessError as error:
                if error.returncode != -signal.SIGTERM:
                    raise
                # `scontrol requeue` was granted so soon that the job's end reached it before its own.
                raise Stopped from None
        else:
            raise Stopped


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

    from labelnoise.trainer import Position

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
