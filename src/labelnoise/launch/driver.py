"""The driver: gives jobs to worker processes, one at a time each, and collects an outcome for every job."""

import contextlib
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from selectors import EVENT_READ, DefaultSelector
from typing import Any, NamedTuple

from labelnoise.config.errors import one_line
from labelnoise.launch.jobs import Job, Outcome, line
from labelnoise.launch.pool import Worker

POLL = 3.0  # seconds before a job that another process is running is tried again
GRACE = 60.0  # seconds for running jobs to save and exit when the driver is stopped
MAX_FAILED_STARTS = 3  # give up after this many workers in a row died before they were ready


class Ended(NamedTuple):
    """What became of the jobs.

    Attributes:
        outcomes: one for each job, in the jobs' order.
        stopped: whether a signal stopped the driver.
        error: what made it impossible to continue, if anything did.
    """

    outcomes: list[Outcome]
    stopped: bool
    error: Exception | None


def drive(
    jobs: Sequence[Job], compose: Callable[[Job], str], places: Sequence[str | None], check_results: Callable[[], None]
) -> Ended:
    """Run the jobs, at most one on each place at a time, and print a line as each ends.

    A job that raises or whose process dies does not affect the others. A job that another living process is running is
    tried again later, until it has a record. SIGTERM and SIGINT stop the running jobs, which save and exit.

    Args:
        compose: job -> its configuration as YAML; called shortly before the job is assigned.
        places: from `pool.slots`.
        check_results: raises ValueError if the results folder is not, or no longer, writable.
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
        check: Callable[[], None],
    ) -> None:
        self.total, self.outcomes, self.stopping = len(jobs), dict[int, Outcome](), 0
        self.error: Exception | None = None
        self._compose, self._check_results = compose, check
        self._waiting = deque((job, 0.0) for job in jobs)  # with the earliest time to try it
        self._composed: dict[int, str] = {}
        self._free = deque(places)
        self._workers: list[Worker] = []
        self._failed_starts = 0  # in a row
        self._waiting_reported = False
        self._started = time.monotonic()

    def run(self) -> None:
        """Run until every job has an outcome, or until stopped."""
        while len(self.outcomes) < self.total and not self.stopping:
            if self.error is None:
                self._start_workers()
                self._assign_jobs()
            elif not any(worker.job for worker in self._workers):
                return
            self._receive(0.5)
        end = time.monotonic() + GRACE
        while self.stopping == 1 and any(worker.job for worker in self._workers) and time.monotonic() < end:
            for worker in self._workers:
                if not worker.leaving:
                    worker.stop()
            self._receive(0.2)

    def close(self) -> None:
        """End every worker."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.close(0 if self.stopping else GRACE if worker.job else 5)

    def ask_to_stop(self) -> None:
        """Called by a signal. The first signal lets running jobs save; the second ends them at once."""
        self.stopping += 1

    # ------------------------------------------------------------------------------------------------ assigning jobs

    def _start_workers(self) -> None:
        """Start workers while there are free places and waiting jobs for them."""
        idle = sum(worker.job is None for worker in self._workers)
        while self._free and idle < len(self._waiting):
            self._workers.append(Worker(self._free.popleft()))
            idle += 1

    def _assign_jobs(self) -> None:
        for worker in self._workers:
            if worker.ready and not worker.leaving and (job := self._next()):
                worker.assign(job, self._composed[job.number])
        if (job := self._next()) is not None:  # compose the next one while the workers are busy
            self._waiting.appendleft((job, 0.0))

    def _next(self) -> Job | None:
        """Take the first job that is due and that can be composed."""
        now = time.monotonic()
        while (found := next((entry for entry in self._waiting if entry[1] <= now), None)) is not None:
            self._waiting.remove(found)
            job, _ = found
            try:
                if job.number not in self._composed:
                    self._composed[job.number] = self._compose(job)
                return job
            except Exception as error:
                self._failed(job, one_line(error, list(job.overrides)), 0.0)
        return None

    # --------------------------------------------------------------------------------------------- receiving answers

    def _receive(self, seconds: float) -> None:
        with DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker, EVENT_READ)
            selector.select(seconds)
        for worker in list(self._workers):
            ended = worker.ended()  # checked before its answers are read, so that its last answer is not lost
            for answer in worker.answers():
                self._handle(worker, answer)
            if ended is not None:
                self._remove(worker, ended)

    def _handle(self, worker: Worker, answer: dict[str, Any]) -> None:
        status, job = answer["status"], worker.job
        if status == "stopped":
            return  # the process is about to end; `_remove` handles that
        worker.ready, worker.job = not answer.get("spent"), None
        if job is None:
            self._failed_starts = 0
        elif status == "done":
            self._waiting_reported = False
            self._ended(Outcome(job, "done", "", answer["accuracy"], answer["seconds"]))
        elif status == "failed":
            self._failed(job, answer["reason"], answer["seconds"])
        elif status == "claimed":
            self._waiting.append((job, time.monotonic() + POLL))
            self._report_waiting(answer["reason"])
        if answer.get("spent"):
            worker.dismiss()

    def _remove(self, worker: Worker, ended: str) -> None:
        self._workers.remove(worker)
        self._free.append(worker.gpu)
        if worker.job is not None and not (self.stopping and worker.stopped):
            self._failed(worker.job, ended, 0.0)
        elif worker.job is None and not worker.ready and not worker.leaving:
            self._failed_starts += 1
            if self._failed_starts >= MAX_FAILED_STARTS:
                self.error = OSError(f"workers do not start: {ended}")
        worker.close(0)

    # --------------------------------------------------------------------------------------------------- reporting

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
            self.error = error  # no record can be written: report that once, and count the job as missing
            return
        print(f"error: job {job.number} ({' '.join(job.overrides)}): {reason}", file=sys.stderr, flush=True)
        self._ended(Outcome(job, "failed", reason, None, seconds))

    def _report_waiting(self, reason: str) -> None:
        if not self._waiting_reported and len(self._waiting) + len(self.outcomes) == self.total:
            self._waiting_reported = True
            print(f"waiting for {len(self._waiting)} that other processes are running ({reason})", flush=True)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Let SIGTERM and SIGINT call `stop`. Outside the main thread signals cannot be caught."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
