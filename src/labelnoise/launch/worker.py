"""A worker process: takes jobs as JSON lines on standard input, answers in JSON lines on its first standard output.

Importing torch costs seconds and a small run is shorter, so a worker lives for many. What a job prints goes to standard
error and never among the answers. When its input ends, because the driver is done or dead, the worker ends too: a run
that is going on is stopped as by SIGTERM. An answer's status is ready, done, failed, claimed or stopped.
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

from labelnoise.cli.errors import one_line
from labelnoise.experiment.compose import from_yaml
from labelnoise.experiment.run import run
from labelnoise.files.claims import Claimed
from labelnoise.training.signals import STOPPED

GRACE = 30.0  # seconds that a run gets to save and leave once the driver is gone

# What says that the job was wrong and not the process that ran it.
HARMLESS = (ValueError, OSError, FloatingPointError, Claimed)


def main() -> None:
    """Work until the input ends."""
    answers, jobs = _take_over_pipes()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
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
        # Out of memory, or a GPU that refuses all from now on: the next job gets a new process.
        return {
            "status": "failed",
            "reason": one_line(error, job["overrides"]),
            "spent": not isinstance(error, HARMLESS),
            "seconds": time.monotonic() - started,
        }
    return {
        "status": "done",
        "accuracy": record["metrics"]["test_acc_last"],
        "seconds": time.monotonic() - started,
    }


def _take_over_pipes() -> tuple[int, int]:
    """The two pipes to the driver under numbers of their own, which no child of a job inherits."""
    answers, jobs = os.dup(1), os.dup(0)
    os.dup2(2, 1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return answers, jobs


def _answer(answers: int, answer: dict[str, Any]) -> None:
    try:
        os.write(answers, (json.dumps(answer) + "\n").encode())
    except BrokenPipeError:  # the driver is dead; what was finished is on the disk
        sys.exit(STOPPED)


def _read(
    jobs: int, inbox: "queue.SimpleQueue[dict[str, Any] | None]", busy: threading.Event, over: threading.Event
) -> None:
    """Pass jobs on; when there can be no more, stop the one that is going on."""
    with os.fdopen(jobs, "rb") as lines:
        for line in lines:
            if not line.endswith(b"\n"):
                break  # cut short by the driver's death
            inbox.put(json.loads(line))
    over.set()  # before the look at busy, as main() sets busy before it looks at over: one of the two sees the other
    inbox.put(None)
    if busy.is_set():
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(STOPPED)


def _leave(*_: object) -> NoReturn:
    sys.exit(STOPPED)


if __name__ == "__main__":
    main()
