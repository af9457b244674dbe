"""A worker process: reads jobs as JSON lines from standard input, writes answers as JSON lines to standard output.

Importing torch takes longer than a small run, so one worker does many runs. A job's output goes to standard error,
never among the answers. When the input ends, because the driver is done or dead, the worker ends too; a run in progress
is stopped as by SIGTERM. The status of an answer is ready, done, failed, claimed or stopped.
"""

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from labelnoise.config.compose import from_yaml
from labelnoise.config.errors import one_line
from labelnoise.experiment.run import run
from labelnoise.files.claims import Claimed
from labelnoise.training.signals import STOPPED

GRACE = 30.0  # seconds for a run to save and exit once the driver is gone

# Exceptions that are the job's fault and leave the process usable.
HARMLESS = (ValueError, OSError, FloatingPointError, Claimed)


def main() -> None:
    """Run jobs until the input ends."""
    answers, jobs = _take_over_pipes()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _exit)
    inbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    busy, over = threading.Event(), threading.Event()
    threading.Thread(target=_read, args=(jobs, inbox, busy, over), daemon=True).start()
    _answer(answers, {"status": "ready"})
    while (job := inbox.get()) is not None:
        busy.set()
        if over.is_set():
            return
        try:
            answer = _work(job)
        except SystemExit:
            _answer(answers, {"status": "stopped"})
            raise
        busy.clear()
        _answer(answers, answer)
        if answer.get("spent"):
            return


def _work(job: dict[str, Any]) -> dict[str, Any]:
    started = time.monotonic()
    try:
        record = run(from_yaml(job["config"]), quiet=True)
    except Claimed as other:
        return {"status": "claimed", "reason": str(other)}
    except Exception as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            traceback.print_exc()
        # spent: after running out of memory or a persistent GPU error, the next job needs a new process
        return {
            "status": "failed",
            "reason": one_line(error, job["overrides"]),
            "spent": not isinstance(error, HARMLESS),
            "seconds": time.monotonic() - started,
        }
    accuracy = record["metrics"]["test_acc_last"]
    return {"status": "done", "accuracy": accuracy, "seconds": time.monotonic() - started}


def _take_over_pipes() -> tuple[int, int]:
    """Move the two pipes to the driver to new file descriptors, which no child of a job inherits."""
    answers, jobs = os.dup(1), os.dup(0)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return answers, jobs


def _answer(answers: int, answer: dict[str, Any]) -> None:
    try:
        os.write(answers, (json.dumps(answer) + "\n").encode())
    except BrokenPipeError:  # the driver is dead; finished records are on the disk
        sys.exit(STOPPED)


def _read(
    jobs: int, inbox: "queue.SimpleQueue[dict[str, Any] | None]", busy: threading.Event, over: threading.Event
) -> None:
    """Put jobs into the inbox; at the end of the input, stop the run in progress."""
    with os.fdopen(jobs, "rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break  # cut short by the driver's death
            inbox.put(json.loads(line))
    over.set()  # before busy is read, as main() sets busy before it reads over: one of the two sees the other's flag
    inbox.put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(STOPPED)


def _exit(*_: object) -> NoReturn:
    sys.exit(STOPPED)


if __name__ == "__main__":
    main()
