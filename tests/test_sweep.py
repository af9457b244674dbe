"""The local launcher: jobs run one after another in each worker; failures of jobs, workers and the driver."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import sweep_stand_in

from labelnoise.launch import driver, pool
from labelnoise.launch.cells import each_value_once
from labelnoise.launch.driver import Ended, drive
from labelnoise.launch.jobs import Job, Outcome, line, make_jobs, over_seeds, summary
from labelnoise.launch.local import check_options
from labelnoise.launch.pool import slots, visible_gpus


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def sweep(monkeypatch: pytest.MonkeyPatch, log: Path) -> Callable[..., Ended]:
    """Drive jobs that do what their name says, in real worker processes that train nothing."""
    monkeypatch.setattr(pool, "COMMAND", [sys.executable, sweep_stand_in.__file__])
    monkeypatch.setattr(driver, "POLL", 0.3)

    def run(*things: str, places: tuple[str | None, ...] = (None, None), check=lambda: None) -> Ended:
        jobs = make_jobs([[f"do={thing}"] for thing in things], 0)
        return drive(jobs, lambda job: text(job.number, job.overrides[0][3:], log), list(places), check)

    return run


def text(name: int, thing: str, log: Path) -> str:
    return json.dumps({"name": name, "do": thing, "log": str(log)})


def logged(log: Path) -> list[dict]:
    return [json.loads(entry) for entry in log.read_text().splitlines()] if log.exists() else []


def statuses(ended: Ended) -> list[str]:
    return [outcome.status for outcome in ended.outcomes]


def wait_until(true: Callable[[], object], seconds: float = 600.0) -> None:
    """`seconds` is for a process that never comes, on the busiest of machines."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# ----------------------------------------------------------------------------------------------------------- jobs


def test_a_worker_takes_one_job_after_another(sweep, log: Path, capsys) -> None:
    ended = sweep("meet 2", "meet 2", "sleep 0", "sleep 0", "sleep 0")
    assert statuses(ended) == ["done"] * 5
    assert not ended.stopped
    assert ended.error is None
    entries = logged(log)
    assert len({entry["pid"] for entry in entries}) == 2
    running = most = 0
    for entry in entries:
        running += 1 if entry["did"] == "start" else -1
        most = max(most, running)
    assert most == 2, "jobs at once"
    lines = capsys.readouterr().out.splitlines()
    assert [entry.split("]")[0] for entry in lines] == [f"[{i}/5" for i in range(1, 6)]
    assert all("test 50.00%" in entry for entry in lines)
    assert "left" in lines[0]
    assert "left" not in lines[-1]
    assert all(gone(entry["pid"]) for entry in entries)


@pytest.mark.parametrize(
    ("thing", "reason", "processes"),
    [
        ("raise ValueError", "so it is", 1),
        ("raise RuntimeError", "RuntimeError: so it is (LABELNOISE_TRACEBACK=1 shows where)", 2),
        ("exit 3", "its process ended with exit code 3", 2),
        ("exit 0", "its process ended with exit code 0", 2),
        ("kill 9", "its process was ended by SIGKILL (out of memory?)", 2),
        ("kill 11", "its process was ended by SIGSEGV", 2),
        ("kill 15", "its process was asked to stop; the run resumes next time", 2),
    ],
)
def test_a_job_that_fails_does_not_affect_others(
    sweep, log: Path, capsys, thing: str, reason: str, processes: int
) -> None:
    """A process whose state may be damaged gets no further job."""
    ended = sweep("sleep 0", thing, "sleep 0", places=(None,))
    assert statuses(ended) == ["done", "failed", "done"]
    assert ended.outcomes[1].reason == reason
    assert len({entry["pid"] for entry in logged(log)}) == processes
    assert capsys.readouterr().err.splitlines()[-1:] == [f"error: job 1 (do={thing}): {reason}"]


def test_output_of_a_job_is_not_taken_for_an_answer(sweep, capfd) -> None:
    assert statuses(sweep("print", "sleep 0", places=(None,))) == ["done", "done"]
    captured = capfd.readouterr()
    assert captured.err.count('"status"') == 2, "a job's prints go to standard error"
    assert '"status"' not in captured.out


def test_a_job_that_cannot_be_composed_fails_alone(log: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(pool, "COMMAND", [sys.executable, sweep_stand_in.__file__])

    def compose(job: Job) -> str:
        if job.number == 0:
            raise ValueError("loss=agcee: no such option")
        return text(job.number, "sleep 0", log)

    ended = drive(make_jobs([["loss=agcee"], ["loss=ce"]], 0), compose, [None], lambda: None)
    assert statuses(ended) == ["failed", "done"]
    assert "error: job 0 (loss=agcee): loss=agcee: no such option" in capsys.readouterr().err


def test_what_others_run_is_tried_again(sweep, log: Path, tmp_path: Path, capsys) -> None:
    finished = tmp_path / "finished"

    def finish() -> None:  # once the first job was tried three times and the second is done
        wait_until(lambda: tried()[0, "start"] >= 3 and tried()[1, "end"])
        finished.touch()

    def tried() -> Counter[tuple[int, str]]:
        return Counter((entry["name"], entry["did"]) for entry in logged(log))

    threading.Thread(target=finish).start()
    ended = sweep(f"claimed {finished}", "sleep 0", places=(None,))
    assert statuses(ended) == ["done", "done"]
    entries = [(entry["name"], entry["did"]) for entry in logged(log)]
    assert entries[:3] == [(0, "start"), (1, "start"), (1, "end")], "the other job had to wait"
    out = capsys.readouterr().out
    assert out.count("waiting for 1 that other processes are running (run 7: is being run by process 1 on node7)") == 1


def test_each_place_is_a_gpu(sweep, log: Path) -> None:
    sweep("meet 3", "meet 3", "meet 3", places=("0", "GPU-1", "0"))
    assert sorted(entry["gpu"] for entry in logged(log) if entry["did"] == "start") == ["0", "0", "GPU-1"]


def test_workers_that_do_not_start(sweep, monkeypatch) -> None:
    monkeypatch.setattr(pool, "COMMAND", [sys.executable, "-c", "raise SystemExit(4)"])
    ended = sweep("sleep 0", "sleep 0")
    assert statuses(ended) == ["missing", "missing"]
    assert str(ended.error) == "workers do not start: its process ended with exit code 4"


def test_results_that_cannot_be_written_any_more(sweep, log: Path, capsys) -> None:
    """One error; running jobs may finish; no further job is started."""
    answers = iter([None, "results=r: cannot be written (No space left on device)"])

    def check() -> None:
        if reason := next(answers):
            raise ValueError(reason)

    ended = sweep("raise ValueError", "sleep 0", "sleep 0", places=(None,), check=check)
    assert statuses(ended) == ["missing"] * 3
    assert str(ended.error) == "results=r: cannot be written (No space left on device)"
    assert len(logged(log)) == 1
    assert capsys.readouterr().err == ""


# --------------------------------------------------------------------------------------------------------- the end


def test_a_stopped_driver_lets_its_jobs_save(sweep, log: Path, monkeypatch) -> None:
    monkeypatch.setattr(driver, "GRACE", 3600.0)

    def stop() -> None:
        wait_until(lambda: len(logged(log)) == 2)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop).start()
    ended = sweep("sleep 3600", "sleep 3600", "sleep 0")
    assert ended.stopped
    assert statuses(ended) == ["missing"] * 3
    assert [entry["did"] for entry in logged(log)] == ["start", "start", "stopped 75", "stopped 75"]
    assert all(gone(entry["pid"]) for entry in logged(log))
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_ends_at_once(sweep, log: Path, monkeypatch) -> None:
    """Without it the driver would wait an hour."""
    asked, ask = [], driver._Driver.ask_to_stop
    monkeypatch.setattr(driver, "GRACE", 3600.0)
    monkeypatch.setattr(driver._Driver, "ask_to_stop", lambda self: (ask(self), asked.append(self))[0])

    def stop() -> None:
        wait_until(lambda: logged(log))
        os.kill(logged(log)[0]["pid"], signal.SIGSTOP)  # so it does not answer to the first
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: asked)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop).start()
    assert sweep("sleep 3600", places=(None,)).stopped
    assert len(asked) == 2
    assert gone(logged(log)[0]["pid"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP])
def test_nothing_is_left_of_a_dead_driver(log: Path, tmp_path: Path, number: signal.Signals) -> None:
    """Two workers: if one had inherited the other's pipe, it would keep it open. The running job is stopped too."""
    jobs = json.dumps([text(i, "sleep 3600", log) for i in range(3)])
    process = subprocess.Popen([sys.executable, sweep_stand_in.__file__, jobs], cwd=tmp_path)
    try:
        wait_until(lambda: len(logged(log)) == 2)
        process.send_signal(number)
        assert process.wait(600) == -number
        wait_until(lambda: all(gone(entry["pid"]) for entry in logged(log)))
        assert [entry["did"] for entry in logged(log)] == ["start", "start", "stopped 75", "stopped 75"]
    finally:
        process.kill()
        for entry in logged(log):
            if not gone(entry["pid"]):
                os.kill(entry["pid"], signal.SIGKILL)


def test_ctrl_c_reaches_the_driver_alone(log: Path, tmp_path: Path) -> None:
    """A terminal signals a whole process group. The workers are in other groups, and the driver stops each once."""
    jobs = json.dumps([text(i, "sleep 3600", log) for i in range(3)])
    command = [sys.executable, sweep_stand_in.__file__, jobs]
    process = subprocess.Popen(command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, text=True)
    wait_until(lambda: len(logged(log)) == 2)
    assert all(os.getpgid(entry["pid"]) == entry["pid"] for entry in logged(log))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 75
    assert out == "['missing', 'missing', 'missing']\n"
    assert [entry["did"] for entry in logged(log)] == ["start", "start", "stopped 75", "stopped 75"]


# ----------------------------------------------------------------------------------------------------- small parts


def test_jobs_are_named_by_what_distinguishes_them() -> None:
    jobs = make_jobs([["dataset=digits", "loss=ce", "seed=1"], ["dataset=digits", "loss=gce", "seed=1"]], 4)
    assert [(job.number, job.name) for job in jobs] == [(4, "loss=ce"), (5, "loss=gce")]
    assert make_jobs([["loss=ce"]], 0)[0].name == "loss=ce"


def test_the_summary_gives_reason_and_command() -> None:
    jobs = make_jobs([["loss=ce"], ["schedule.milestones=[1,2]"], ["loss=gce"]], 0)
    text = summary([Outcome(jobs[0], "done"), Outcome(jobs[1], "failed", "so it is"), Outcome(jobs[2], "missing")])
    assert text.splitlines() == [
        "done 1, failed 1, missing 1",
        "failed: schedule.milestones=[1,2]: so it is",
        "  python train.py 'schedule.milestones=[1,2]'",
    ]


def test_a_finished_job_in_one_line() -> None:
    job = Job(3, ("loss=ce",), "loss=ce")
    text = line(Outcome(job, "done", "", 0.94722, 5.04), 7, 459, 600)
    assert text == "[  7/459] loss=ce  test 94.72%  5.0 s  10 min left"


def test_places(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(pool.shutil, "which", lambda _: None)
    monkeypatch.setattr(pool, "DRIVERS", ())
    assert slots("auto", 1, "auto") == [None] * 3
    assert slots(5, 1, "cpu") == [None] * 5
    with pytest.raises(ValueError, match="device=cuda:0: not there; this machine has 0"):
        slots("auto", 1, "cuda:0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert slots("auto", 1, "auto") == ["2", "5"]
    assert slots("auto", 2, "cuda") == ["2", "5", "2", "5"]
    assert slots(3, 2, "auto") == ["2", "5", "2"]
    assert slots(9, 1, "auto") == ["2", "5"], "never more than jobs_per_gpu on a GPU"
    assert slots("auto", 2, "cuda:1") == ["5", "5"]
    assert slots("auto", 2, "cpu") == [None] * 3


@pytest.mark.parametrize(
    ("value", "gpus"),
    [("", []), ("-1", []), ("0,-1,1", ["0"]), ("NoDevFiles", []), ("GPU-ab, 3", ["GPU-ab", "3"]), ("MIG-1", ["MIG-1"])],
)
def test_gpus_of_the_environment(value: str, gpus: list[str]) -> None:
    assert visible_gpus({"CUDA_VISIBLE_DEVICES": value}) == gpus


@pytest.mark.parametrize("smi", [None, "/usr/bin/nvidia-smi"])
@pytest.mark.parametrize(
    ("driver", "counted", "gpus"),
    [(True, "2\n", ["0", "1"]), (True, "0\n", []), (True, "", []), (False, "2\n", [])],
)
def test_gpus_where_nvidia_smi_is_missing_or_fails(smi, driver, counted, gpus, tmp_path: Path, monkeypatch) -> None:
    """ROCm, and containers that have only the driver: torch counts the GPUs, in a separate process."""
    monkeypatch.setattr(pool.shutil, "which", lambda _: smi)
    monkeypatch.setattr(pool, "DRIVERS", (str(tmp_path / "absent"), str(tmp_path if driver else tmp_path / "none")))
    asked = []

    def answers(command: list[str], **_: object) -> SimpleNamespace:
        asked.append(command[0])
        return SimpleNamespace(stdout="" if command[0] == "nvidia-smi" else counted)

    monkeypatch.setattr(pool.subprocess, "run", answers)
    assert visible_gpus({}) == gpus
    assert asked == ["nvidia-smi"] * (smi is not None) + [sys.executable] * driver


def test_gpus_of_nvidia_smi() -> None:
    listed = "GPU 0: NVIDIA A (UUID: GPU-1a)\nGPU 1: NVIDIA A (UUID: GPU-2b)\n  MIG 1g Device 0: (UUID: MIG-3c)\n"
    listed += "  MIG 1g Device 1: (UUID: MIG-4d)\nGPU 2: NVIDIA A (UUID: GPU-5e)\n"
    assert pool.named_by_nvidia_smi(listed) == ["GPU-1a", "MIG-3c", "MIG-4d", "GPU-5e"]


@pytest.mark.parametrize(("n_jobs", "jobs_per_gpu"), [(0, 1), ("many", 1), (1.5, 1), (True, 1), (1, 0), (1, "auto")])
def test_options_out_of_range(n_jobs, jobs_per_gpu) -> None:
    with pytest.raises(ValueError, match=r"^hydra\.launcher\.(n_jobs|jobs_per_gpu)=.*: must be .*, at least 1$"):
        check_options(n_jobs, jobs_per_gpu)


def test_every_override_is_composed_before_any_job_runs() -> None:
    jobs = [[f"loss={a}", f"seed={b}", "epochs=1"] for a in "xyz" for b in range(4)]
    chosen = each_value_once(jobs)
    assert {o for job in chosen for o in job} == {o for job in jobs for o in job}
    assert len(chosen) == 6


def test_the_means_over_the_seeds() -> None:
    """A line a setting; runs that failed do not count, and where no setting has two runs there is nothing to say."""
    combinations = [["dataset=digits", f"loss={loss}", f"seed={seed}"] for loss in ("ce", "agce") for seed in (1, 2, 3)]
    jobs = make_jobs(combinations, 0)
    accuracies = (0.70, 0.72, 0.77, 0.9, None, 0.91)
    outcomes = [Outcome(j, "failed" if a is None else "done", "", a) for j, a in zip(jobs, accuracies, strict=True)]
    assert over_seeds(outcomes).splitlines() == [
        "last test accuracy over the seeds, mean ± standard deviation (runs):",
        f"  loss=ce    73.00 ± {(13.0) ** 0.5:.2f} (3)",
        f"  loss=agce  90.50 ± {0.5**0.5:.2f} (2)",
    ]
    assert over_seeds(outcomes[:3]).splitlines()[1:] == [f"  all runs  73.00 ± {(13.0) ** 0.5:.2f} (3)"]
    assert over_seeds([outcomes[0], outcomes[3]]) == ""
    assert over_seeds([]) == ""
