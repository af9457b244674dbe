"""How the driver waits for SLURM's jobs, with a scripted squeue; test_slurm.py uses a real SLURM."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labelnoise.launch import slurm

DONE, FAILED = (SimpleNamespace(status=SimpleNamespace(name=name)) for name in ("COMPLETED", "FAILED"))


class Launcher:
    """Stands in for submitit's launcher: its `launch` is the test's function."""

    def __init__(self, folder: Path, does: Callable[[], Any]) -> None:
        self.params = {"name": "labelnoise", "submitit_folder": f"{folder}/%j"}
        self.overrides, self._does = [], does

    def launch(self, overrides: list[list[str]], first: int) -> Any:
        self.overrides = overrides
        return self._does()


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let squeue print these texts in turn, and then repeat the last; None: it fails."""
    monkeypatch.setattr(slurm, "POLL", 0.05)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "bin").mkdir()

    def answers(*texts: str | None) -> None:
        for place, text in enumerate(texts):
            if text is not None:
                (tmp_path / f"answer{place}").write_text(text)
        command = tmp_path / "bin" / "squeue"
        command.write_text(f"""#!/bin/bash
echo "$@" >> {tmp_path}/asked
n=$(( $(wc -l < {tmp_path}/asked) - 1 ))
[ $n -lt {len(texts)} ] || n={len(texts) - 1}
cat {tmp_path}/answer$n
""")
        command.chmod(0o755)

    return answers


def leave(folder: Path, job: str, err: str = "", result: bool = True) -> None:
    """Write a job's output files."""
    (folder / job).mkdir()
    (folder / job / f"{job}_0_log.out").write_text("submitit INFO Starting\n")
    (folder / job / f"{job}_0_log.err").write_text(err)
    if result:
        (folder / job / f"{job}_0_result.pkl").touch()


def test_a_sweep_that_ends_as_it_should(tmp_path: Path, squeue: Callable[..., None]) -> None:
    squeue("7_0|RUNNING|None\n7_1|PENDING|Resources\n")
    asked = tmp_path / "asked"

    def over() -> list[SimpleNamespace]:  # once squeue was asked
        while not asked.exists() or not asked.read_text().endswith("\n"):
            time.sleep(0.02)
        return [DONE, FAILED]

    launcher = Launcher(tmp_path, over)
    said = "error: job 11 (loss=x threads=1): loss=x: no such option"
    leave(tmp_path, "7_1", f"some warning\n{said}\nsubmitit ERROR more\n")
    failures = slurm.launch(launcher, [["loss=ce", "threads=2"], ["loss=x"]], 10)
    assert failures == {11: f"loss=x: no such option; its output is in {tmp_path}/7_1"}
    assert launcher.overrides == [["loss=ce", "threads=2"], ["loss=x", "threads=1"]]
    assert launcher.params["name"].startswith("labelnoise-")
    assert f"--name={launcher.params['name']}" in asked.read_text()


def test_a_driver_exits_when_no_job_is_left(
    tmp_path: Path, squeue: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    over = "7_0|COMPLETED|None\n7_1|FAILED|NonZeroExitCode\n"
    squeue("", "7_0|RUNNING|None\n7_1|RUNNING|None\n", over, "7_1|PENDING|BeginTime\n", None, over, None, "")
    leave(tmp_path, "7_0")
    leave(tmp_path, "7_1", "srun: error: vm: task 0: Killed\n", result=False)
    failures = slurm.launch(Launcher(tmp_path, threading.Event().wait), [["seed=1"], ["seed=2"]], 0)
    assert failures == {1: f"srun: error: vm: task 0: Killed; its output is in {tmp_path}/7_1"}
    assert "SLURM: 2 running\nSLURM: no job left\nSLURM: 1 pending\nSLURM: no job left\n" in capsys.readouterr().out
    assert len((tmp_path / "asked").read_text().splitlines()) == 8, "an squeue that fails says nothing about the jobs"


def test_one_failed_job_does_not_end_the_waiting_for_the_others(tmp_path: Path, squeue: Callable[..., None]) -> None:
    def gives_up() -> None:
        raise RuntimeError("Job 7_0 has not produced any output (state: CANCELLED by 0)")

    squeue("7_0|CANCELLED|None\n7_1|RUNNING|None\n", "7_1|RUNNING|None\n", "7_1|RUNNING|None\n", "")
    leave(tmp_path, "7_1")
    failures = slurm.launch(Launcher(tmp_path, gives_up), [["seed=1"], ["seed=2"]], 0)
    assert failures == {0: f"no output; its output is in {tmp_path}/7_0"}


def test_jobs_that_cannot_be_submitted(tmp_path: Path, squeue: Callable[..., None]) -> None:
    def refused() -> None:
        raise RuntimeError("sbatch: error: invalid partition specified: gpus")

    squeue("")
    with pytest.raises(ValueError, match="submitit_slurm: sbatch: error: invalid partition"):
        slurm.launch(Launcher(tmp_path, refused), [["seed=1"]], 0)


def test_held_jobs_are_named(tmp_path: Path, squeue: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    squeue("9|PENDING|launch failed requeued held\n", "9|CANCELLED|None\n")
    slurm.launch(Launcher(tmp_path, threading.Event().wait), [["seed=1"]], 0)
    assert "SLURM: 1 pending; held until `scontrol release 9`\n" in capsys.readouterr().out


def test_ctrl_c_leaves_the_jobs_alone(
    tmp_path: Path, squeue: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(slurm, "_wait", pressed)
    with pytest.raises(SystemExit) as end:
        slurm.launch(Launcher(tmp_path, threading.Event().wait), [["seed=1"]], 0)
    assert end.value.code == 75
    assert "the jobs keep running (scancel --name=labelnoise-" in capsys.readouterr().err


def test_without_the_plugin_or_slurm_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"submitit_slurm: not installed; pip install 'labelnoise\[slurm\]'"):
        slurm.check()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="no sbatch on PATH"):
        slurm.check()
