"""Signals that end a run: noted while a step is under way, and followed after a checkpoint."""

import signal
import subprocess
from collections.abc import Callable
from types import FrameType
from typing import Any

STOPPED = 75  # exit code of a run that can be resumed: EX_TEMPFAIL of sysexits.h
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
