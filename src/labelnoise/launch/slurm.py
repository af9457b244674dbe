"""SLURM through submitit: submits jobs and waits until none of them is queued or running.

submitit's own waiting has two faults. Without accounting (sacct), a job counts as ended when its result file appears; a
killed job writes none, so submitit waits forever. With accounting, it gives up at the first failed job, while others
are still queued. Here submitit waits in a thread, and squeue decides when no job is left.
"""

import contextlib
import importlib.util
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelnoise.training.signals import STOPPED

TARGET = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"
POLL = 30.0  # seconds between two calls of squeue; more frequent calls burden a large cluster
ENDED = {
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "PREEMPTED"),
    *("NODE_FAIL", "BOOT_FAIL", "DEADLINE", "OUT_OF_MEMORY"),
}

Jobs = dict[str, tuple[str, str]]  # a job's SLURM id, such as 12_3 -> its state and why it is waiting


def check() -> None:
    """Check that jobs can be submitted to SLURM.

    Raises:
        ValueError: the plugin is not installed, or SLURM's commands are not found.
    """
    if not all(map(importlib.util.find_spec, ("submitit", "hydra_plugins.hydra_submitit_launcher"))):
        raise ValueError("hydra/launcher=submitit_slurm: not installed; pip install 'labelnoise[slurm]'")
    for command in ("sbatch", "srun", "squeue"):
        if shutil.which(command) is None:
            raise ValueError(f"hydra/launcher=submitit_slurm: no {command} on PATH; is this a cluster's login node?")


def launch(launcher: Any, overrides: Sequence[Sequence[str]], first: int) -> dict[int, str]:
    """Submit jobs to SLURM and wait until none of them is queued or running. threads=1 unless a job sets it.

    Args:
        launcher: submitit's, after its `setup`.
        overrides: of each job.
        first: number of the first job.
    Returns:
        job number -> reason, for each job that failed.
    Raises:
        SystemExit: with exit code 75, at Ctrl-C. The jobs keep running.
        ValueError: the jobs could not be submitted.
    """
    name = f"{launcher.params['name']}-{secrets.token_hex(4)}"  # unique, so that squeue can list this driver's jobs
    launcher.params["name"] = name
    overrides = [
        [*job] if any(o.lstrip("+").startswith("threads=") for o in job) else [*job, "threads=1"] for job in overrides
    ]
    waiting = _Waiting(launcher, overrides, first)
    waiting.start()
    try:
        number = _wait(waiting, name)
    except KeyboardInterrupt:
        print(f"interrupted; the jobs keep running (scancel --name={name} cancels them)", file=sys.stderr, flush=True)
        sys.exit(STOPPED)
    if waiting.failure is not None and number is None:
        raise ValueError(f"hydra/launcher=submitit_slurm: {waiting.failure}") from waiting.failure
    reasons = {}
    for place, job in enumerate(overrides):
        identifier = f"{number}_{place}" if len(overrides) > 1 else str(number)
        folder = Path(str(launcher.params["submitit_folder"]).replace("%j", identifier))
        last = _decisive_line(folder, identifier)
        if waiting.results:
            failed = waiting.results[place].status.name == "FAILED"
        else:  # the result file is a pickle, which is not read here
            failed = last.startswith("error: ") or not (folder / f"{identifier}_0_result.pkl").is_file()
        if failed:
            reason = last.removeprefix(f"error: job {first + place} ({' '.join(job)}): ")
            reasons[first + place] = f"{reason}; its output is in {folder}"
    return reasons


class _Waiting(threading.Thread):
    """Submit and wait with submitit. A daemon thread, because it never ends if a job writes no result."""

    def __init__(self, launcher: Any, overrides: Sequence[Sequence[str]], first: int) -> None:
        super().__init__(daemon=True, name="submitit")
        self._launcher, self._overrides, self._first = launcher, overrides, first
        self.results: Sequence[Any] = ()
        self.failure: Exception | None = None

    def run(self) -> None:
        with contextlib.suppress(ImportError, AttributeError):
            from submitit import SlurmJob

            vars(SlurmJob.watcher)["_make_command"] = lambda: None  # do not call sacct; squeue is called below
        try:
            self.results = self._launcher.launch(self._overrides, self._first)
        except Exception as error:
            self.failure = error


def _wait(waiting: _Waiting, name: str) -> str | None:
    """Wait for the jobs. Returns the job id that SLURM gave the array, or None if squeue never listed it."""
    number, before, empty, pause = None, "", 0, 1.0
    while empty < 2:  # twice: a requeued job may be missing for a moment, and a job's result appears after its end
        if waiting.is_alive():
            waiting.join(pause)
        else:
            time.sleep(pause)
        if not waiting.is_alive() and waiting.failure is None:
            break
        jobs = _listed(name)
        if jobs is None or not (jobs or number):  # SLURM does not answer, or does not list the jobs yet
            if number is None and waiting.failure is not None:
                break
            pause = min(2 * pause, POLL)
            continue
        if number is None:
            number, pause = next(iter(jobs)).partition("_")[0], POLL
            print(f"SLURM: job {number}, named {name}", flush=True)
        left = {job: state for job, state in jobs.items() if state[0] not in ENDED}
        now = _count_states(left)
        if now != before:
            print(f"SLURM: {now}", flush=True)
        before, empty = now, 0 if left else empty + 1
    return number


def _listed(name: str) -> Jobs | None:
    """The jobs with this name in squeue, including recently ended ones; None if SLURM does not answer."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--name={name}", "--format=%i|%T|%r"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = [line.strip().split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2]
    return {job: (state, reason) for job, state, reason in rows}


def _count_states(left: Jobs) -> str:
    """How many jobs are in each state. Held jobs are named, because they must be released by hand."""
    if not left:
        return "no job left"
    states = Counter(state.lower() for state, _ in left.values())
    text = ", ".join(f"{count} {state}" for state, count in states.most_common())
    held = [job for job, (_, reason) in left.items() if "held" in reason.lower()]
    return text + (f"; held until `scontrol release {' '.join(held)}`" if held else "")


def _decisive_line(folder: Path, job: str) -> str:
    """The line of a job's output that best explains its end: our own error, else SLURM's, else the last line."""
    lines: list[str] = []
    for kind in ("out", "err"):
        path = folder / f"{job}_0_log.{kind}"
        if path.is_file():
            lines += [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    for start in ("error: ", "slurmstepd", "srun: error: "):
        for line in reversed(lines):
            if line.startswith(start) and "REQUEUE" not in line and "PREEMPTION" not in line:
                return line
    return lines[-1] if lines else "no output"
