"""Signals that stop a run: noted during a step, acted on after a checkpoint."""

import signal
import subprocess
from types import FrameType
from typing import Any

STOPPED = 75  # exit code of a run that can be resumed: EX_TEMPFAIL of sysexits.h
SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Stopped(SystemExit):
    """The run was asked to stop and saved a checkpoint; the process ends with exit code 75."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class Signals:
    """A context manager in which a signal that would end the process is only noted, until the current step is finished.

    If the program has its own handler for the signal, the handler runs after the checkpoint and may let the run
    continue. In a SLURM job that is submitit's. At SIGUSR2 it requeues the job and raises SystemExit. At SIGTERM it
    does nothing, because SLURM requeues a preempted job that it had to kill, but not one that exited by itself.

    SIGUSR1 and SIGUSR2 are noted only if they have such a handler, and take precedence over other signals. Ignored
    signals stay ignored. A second SIGINT ends the process at once. Outside the main thread nothing is noted.

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
        """End as the noted signal requires; returns only if another program's handler does.

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
                # SLURM granted `scontrol requeue` so fast that the job's SIGTERM ended that command before it returned.
                raise Stopped from None
        else:
            raise Stopped
