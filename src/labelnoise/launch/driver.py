"""The driver: hands jobs to worker processes, one at a time each, and sees every one of them to its end."""

import contextlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from selectors import EVENT_READ, DefaultSelector
from typing import Any, NamedTuple

from labelnoise.cli.errors import one_line
from labelnoise.launch.jobs import Job, Outcome, line
from labelnoise.launch.pool import Worker

POLL = 3.0  # seconds until a job that another process holds is tried again
GRACE = 60.0  # seconds that running jobs get to save and leave when the driver is stopped
TRIES = 3  # workers that may die one after another before any gets ready


class Ended(NamedTuple):
    """Attributes: one outcome a job, in their order; stopped by a signal; the error that ended it all, if one did."""

    outcomes: list[Outcome]
    stopped: bool
    error: Exception | None


def drive(
    jobs: Sequence[Job],
    compose: Callable[[Job], str],
    places: Sequence[str | None],
    check_results: Callable[[], None],
) -> Ended:
    """Run the jobs, at most one on each place at a time, and print a line as each ends.

    A job that raises or whose process dies fails alone. One that another living process is at is tried again later,
    until it has a record. SIGTERM and SIGINT stop the running jobs, which save and leave.

    Args:
        compose: a job's configuration as YAML; called shortly before it is handed out.
        places: from `pool.slots`.
        check_results: raises ValueError when the results cannot be written (any more).
    """
    check_results()
    driver = _Driver(jobs, compose, places, check_results)
    with _signals(driver.ask_to_stop):
        try:
            driver.run()
        finally:
            driver.close()
    outcomes = [driver.outcomes.get(job.number, Outcome(job, "missing")) for job in jobs]
    return Ended(outcomes, driver.stopping > 0, driver.error)


class _Driver:
    def __init__(
        self,
        jobs: Sequence[Job],
        compose: Callable[[Job], str],
        places: Sequence[str | None],
        check_results: Callable[[], None],
    ) -> None:
        self.total, self.outcomes, self.stopping = len(jobs), dict[int, Outcome](), 0
        self.error: Exception | None = None
        self._compose, self._check_results = compose, check_results
        self._waiting = deque((job, 0.0) for job in jobs)  # with the time before which it is not tried
        self._composed: dict[int, str] = {}
        self._free = deque(places)
        self._workers: list[Worker] = []
        self._dead_at_birth = 0
        self._told_of_waiting = False
        self._started = time.monotonic()

    def run(self) -> None:
        """Until every job has an outcome, or until stopped."""
        while len(self.outcomes) < self.total and not self.stopping:
            if self.error is None:
                self._man()
                self._hand_out()
            elif not any(worker.job for worker in self._workers):
                return
            self._listen(0.5)
        end = time.monotonic() + GRACE
        while self.stopping == 1 and any(worker.job for worker in self._workers) and time.monotonic() < end:
            for worker in self._workers:
                if not worker.leaving:
                    worker.stop()
            self._listen(0.2)

    def close(self) -> None:
        """No worker is left, whatever happened."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            busy = worker.job is not None
            worker.close(0 if self.stopping else GRACE if busy else 5)

    def ask_to_stop(self) -> None:
        """Called by a signal: once, to let running jobs save; twice, to end them at once."""
        self.stopping += 1

    # ------------------------------------------------------------------------------------------------- handing out

    def _man(self) -> None:
        """As many workers as there are places and jobs for them."""
        idle = sum(worker.job is None for worker in self._workers)
        while self._free and idle < len(self._waiting):
            self._workers.append(Worker(self._free.popleft()))
            idle += 1

    def _hand_out(self) -> None:
        for worker in self._workers:
            if worker.ready and not worker.leaving and (job := self._next()):
                worker.hand(job, self._composed[job.number])
        if (job := self._next()) is not None:  # composed while the workers work
            self._waiting.appendleft((job, 0.0))

    def _next(self) -> Job | None:
        """Take the first job that may be tried now and that can be composed."""
        now = time.monotonic()
        while (found := next((entry for entry in self._waiting if entry[1] <= now), None)) is not None:
            self._waiting.remove(found)
            job = found[0]
            if job.number in self._composed:
                return job
            try:
                self._composed[job.number] = self._compose(job)
            except Exception as error:
                self._failed(job, one_line(error, list(job.overrides)), 0.0)
                continue
            return job
        return None

    # --------------------------------------------------------------------------------------------------- listening

    def _listen(self, seconds: float) -> None:
        with DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker, EVENT_READ)
            selector.select(seconds)
        for worker in list(self._workers):
            ended = worker.ended()  # before its answers are read: what it said last is not lost
            for answer in worker.answers():
                self._take(worker, answer)
            if ended is not None:
                self._bury(worker, ended)

    def _take(self, worker: Worker, answer: dict[str, Any]) -> None:
        status, job = answer["status"], worker.job
        if status == "stopped":
            return  # the process ends now, and that is what counts
        worker.ready, worker.job = not answer.get("spent"), None
        if job is None:
            self._dead_at_birth = 0
        elif status == "done":
            self._told_of_waiting = False
            self._ended(Outcome(job, "done", "", answer["accuracy"], answer["seconds"]))
        elif status == "failed":
            self._failed(job, answer["reason"], answer["seconds"])
        elif status == "claimed":
            self._waiting.append((job, time.monotonic() + POLL))
            self._tell_of_waiting(answer["reason"])
        if answer.get("spent"):
            worker.dismiss()

    def _bury(self, worker: Worker, ended: str) -> None:
        self._workers.remove(worker)
        self._free.append(worker.gpu)
        if worker.job is not None and not (self.stopping and worker.stopped):
            self._failed(worker.job, ended, 0.0)
        elif worker.job is None and not worker.ready and not worker.leaving:
            self._dead_at_birth += 1
            if self._dead_at_birth >= TRIES:
                self.error = OSError(f"workers do not start: {ended}")
        worker.close(0)

    # ----------------------------------------------------------------------------------------------------- telling

    def _ended(self, outcome: Outcome) -> None:
        self.outcomes[outcome.job.number] = outcome
        self._composed.pop(outcome.job.number, None)
        finished = len(self.outcomes)
        left = (time.monotonic() - self._started) / finished * (self.total - finished)
        if outcome.status == "done":
            print(line(outcome, finished, self.total, left), flush=True)

    def _failed(self, job: Job, reason: str, seconds: float) -> None:
        try:
            self._check_results()
        except ValueError as error:
            self.error = error  # nothing can be kept: that is told once, and the job counts as missing
            return
        print(f"error: job {job.number} ({' '.join(job.overrides)}): {reason}", file=sys.stderr, flush=True)
        self._ended(Outcome(job, "failed", reason, None, seconds))

    def _tell_of_waiting(self, reason: str) -> None:
        if not self._told_of_waiting and len(self._waiting) + len(self.outcomes) == self.total:
            self._told_of_waiting = True
            print(f"waiting for {len(self._waiting)} that other processes are at ({reason})", flush=True)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGTERM and SIGINT call `stop`; where this is not the main thread they cannot be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
