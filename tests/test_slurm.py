"""A table on a real SLURM: jobs that are requeued, preempted, out of time or killed, and the driver that waits.

Needs root, Debian's slurm-wlm and munge, and `pip install 'labelnoise[slurm]'`; `make test-slow` runs it there.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import slurm_cluster
from support.data import REPOSITORY
from support.slurm_cluster import until

from labelnoise.records import store

try:
    import submitit  # noqa: F401

    lacking = slurm_cluster.missing() + (["root"] if os.geteuid() else [])
except ImportError:
    lacking = ["hydra-submitit-launcher"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.slurm,
    pytest.mark.skipif(bool(lacking), reason=f"a SLURM of our own needs {', '.join(lacking)}"),
]

ON_SLURM = ["hydra/launcher=submitit_slurm", "hydra.launcher.mem_gb=1"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    with slurm_cluster.cluster() as variables:
        yield variables


@pytest.fixture
def ask(cluster: dict[str, str]) -> Callable[..., str]:
    """Run one of SLURM's commands; returns its output."""

    def command(*words: str) -> str:
        done = subprocess.run(words, env={**os.environ, **cluster}, capture_output=True, text=True, timeout=1800)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return command


@pytest.fixture
def drive(cluster: dict[str, str], ask: Callable[..., str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `python train.py -m <overrides>`; it and its jobs are ended with the test."""
    drivers = []

    def start(*overrides: str) -> "subprocess.Popen[str]":
        source = os.pathsep.join([str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")])
        drivers.append(
            subprocess.Popen(
                [sys.executable, "train.py", "-m", *overrides],
                cwd=REPOSITORY,
                env={**os.environ, **cluster, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return drivers[-1]

    yield start
    for driver in drivers:
        if driver.poll() is None:
            driver.kill()
            driver.communicate()
    ask("scancel", f"--user={os.geteuid()}")
    until(lambda: not ask("squeue", "--noheader"), "no job left", 900)


def table(results: Path, seeds: str, epochs: int) -> list[str]:
    """Two cells of the digits table, with other epochs, because with its own they have records."""
    chosen = ["table=digits", "table.rows=[ce,agce]", "table.columns=[sym_0.4]", f"table.seeds={seeds}"]
    return [*chosen, f"epochs={epochs}", f"results={results}"]


def lasting(results: Path) -> dict[str, store.Record]:
    """Each record without its environment."""
    found = {}
    for path in results.glob("*.json"):
        record = store.load(path)
        found[path.stem] = {key: record[key] for key in store.KEYS if key != "environment"}
    return found


def state(ask: Callable[..., str], job: str) -> str:
    return ask("squeue", "--noheader", "--array", "--states=all", f"--jobs={job}", "--format=%T")


def running(ask: Callable[..., str], results: Path, place: int) -> str:
    """Wait until the job at this place of the newest array has finished an epoch. Returns its id, such as 12_0."""

    def found() -> str | None:
        jobs = ask("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i").split()
        job = next((job for job in jobs if job.endswith(f"_{place}")), None)
        log = job and results / "slurm" / job / f"{job}_0_log.out"
        return job if log and log.is_file() and "epoch " in log.read_text() else None

    return until(found, f"job {place} trains", 900)


def resume_now(ask: Callable[..., str], job: str) -> None:
    """Start a requeued job at once, for which SLURM would wait two minutes."""
    until(lambda: state(ask, job) == "PENDING", f"{job} queued again", 900)
    ask("scontrol", "update", f"job={job}", "StartTime=now")


def test_requeued_and_preempted_jobs_end_with_the_same_numbers(ask, drive, tmp_path: Path) -> None:
    here, there = tmp_path / "local", tmp_path / "slurm"
    driver = drive(*table(there, "[1,2]", 75), *ON_SLURM)

    preempted = [running(ask, there, place) for place in (0, 1)]
    ask("sbatch", "--partition=high", "--cpus-per-task=2", "--output=/dev/null", "--wrap=sleep 1")
    for job in preempted:
        until(lambda job=job: state(ask, job) == "PENDING", f"{job} preempted", 900)

    requeued, signalled = (running(ask, there, place) for place in (2, 3))  # the others have to wait for two minutes
    ask("scontrol", "requeue", requeued)
    ask("scancel", "--signal=USR2", signalled)  # as a cluster with preempt_send_user_signal does
    jobs = [*preempted, requeued, signalled]
    for job in jobs:
        resume_now(ask, job)

    out, err = driver.communicate(timeout=1800)
    assert driver.returncode == 0, out + err
    for job in jobs:
        log = (there / "slurm" / job / f"{job}_0_log.out").read_text()
        assert "resumes after epoch" in log, f"{job} began anew"
    assert not list(there.glob("*.checkpoint")) + list(there.glob("*.claim"))

    local = drive(*table(here, "[1,2]", 75))
    out, err = local.communicate(timeout=1800)
    assert local.returncode == 0, out + err
    assert len(lasting(here)) == 4
    assert lasting(here) == lasting(there)


def test_a_job_at_its_time_limit_resumes(ask, drive, tmp_path: Path) -> None:
    """SLURM may send the signal up to a minute early, and a job takes seconds to start."""
    times = ["hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=20"]
    driver = drive(*table(tmp_path, "[1]", 200), *ON_SLURM, *times)
    end = time.monotonic() + 1800
    while driver.poll() is None and time.monotonic() < end:
        for job in ask("squeue", "--noheader", "--array", "--states=PENDING", "--format=%i").split():
            with contextlib.suppress(AssertionError):  # it has just started
                ask("scontrol", "update", f"job={job}", "StartTime=now")
        time.sleep(2)
    out, err = driver.communicate(timeout=1800)
    assert driver.returncode == 0, out + err
    assert len(lasting(tmp_path)) == 2
    logs = {kind: "".join(p.read_text() for p in tmp_path.glob(f"slurm/*/*_log.{kind}")) for kind in ("out", "err")}
    assert "resumes after epoch" in logs["out"]
    assert "DUE TO JOB REQUEUE" in logs["err"]


def test_the_driver_does_not_wait_for_a_killed_job(ask, drive, tmp_path: Path) -> None:
    driver = drive(*table(tmp_path, "[1]", 75), *ON_SLURM)
    job = running(ask, tmp_path, 1)
    until(lambda: len(list(tmp_path.glob("*.checkpoint"))) == 2, "both have a checkpoint", 900)  # ten seconds at least
    os.kill(process(tmp_path, 1), signal.SIGKILL)
    out, err = driver.communicate(timeout=1800)
    assert driver.returncode == 1, out + err
    assert "done 1, failed 1, missing 0" in out
    assert re.search(rf"failed: loss=agce: .*Killed; its output is in .*/{job}\n  python train.py .*loss=agce", out)
    assert len(lasting(tmp_path)) == 1
    again = drive(*table(tmp_path, "[1]", 75), *ON_SLURM)
    out, err = again.communicate(timeout=1800)
    assert again.returncode == 0, out + err
    assert "digits: 2 cells, 1 done already" in out
    assert len(lasting(tmp_path)) == 2
    logs = "".join(path.read_text() for path in tmp_path.glob("slurm/*/*_log.out"))
    assert "resumes after epoch" in logs, "it was not the killed job's checkpoint that was resumed"


def process(results: Path, place: int) -> int:
    """The process that trains the job at this place of the array."""

    def found() -> int | None:
        for path in results.glob("*.claim"):
            pid = json.loads(path.read_text())["pid"]
            if f"SLURM_ARRAY_TASK_ID={place}" in Path(f"/proc/{pid}/environ").read_text().split("\0"):
                return pid
        return None

    return until(found, f"the claim of job {place}", 900)
