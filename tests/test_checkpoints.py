"""Checkpoints: a run stopped at any step resumes, and its record equals the uninterrupted run's bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import DictConfig
from support.command import Ended, stop_at
from support.configs import composed, with_values
from support.data import REPOSITORY

from labelnoise.config import identity
from labelnoise.experiment import outcome
from labelnoise.experiment.run import run
from labelnoise.files.run_files import RunFiles
from labelnoise.records import environment, store
from labelnoise.training import checkpoints, signals
from labelnoise.training.method import Method
from labelnoise.training.state import TrainState

# Everything that has a state: a loss that draws, augmentation, Adam's moments, a held-out part.
TURN = "{_target_: labelnoise.data.augment.crop_flip_rotate, _partial_: true, padding: 1, flip: true, degrees: 9.0}"
JOB = [
    "dataset=digits",
    "noise=sym",
    "rate=0.4",
    "loss=nlnl",
    "optimizer=adam",
    "num_val=60",
    "num_trusted=1240",
    "threads=1",
]
JOB += [f"dataset.augment={TURN}"]
STEPS = 5  # of an epoch: 137 images, 32 a batch


def job(results: Path, **values: object) -> DictConfig:
    return with_values(composed(*JOB, "epochs=3"), results=str(results), **values)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> store.Record:
    return run(job(tmp_path_factory.mktemp("whole")), quiet=True)


def same(a: store.Record, b: store.Record) -> bool:
    return all(a[key] == b[key] for key in store.KEYS if key != "environment")


@pytest.mark.parametrize("step", sorted(random.Random(3).sample(range(1, 3 * STEPS), 5)))
def test_resuming_gives_the_uninterrupted_record(whole, step: int, tmp_path: Path, monkeypatch, capsys) -> None:
    stop_at(step, monkeypatch)
    with pytest.raises(signals.Stopped) as ended:
        run(job(tmp_path), quiet=True)
    assert ended.value.code == 75
    assert f"step {(step - 1) % STEPS + 1} of {STEPS}" in capsys.readouterr().err
    left = [path.suffix for path in tmp_path.iterdir()]
    assert left == [".checkpoint"], "no record, no claim, nothing half-written"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    monkeypatch.undo()
    torch.manual_seed(99)  # what was drawn before must not matter
    record = run(job(tmp_path), quiet=True)
    assert same(record, whole)
    (piece,) = record["environment"]["earlier_pieces"]
    assert piece["threads"] == 1
    assert piece["fused_kernels"] is True
    assert record["environment"]["seconds"] >= piece["seconds"] >= 0
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"], "a checkpoint goes when the record is written"


def test_a_records_durations_are_those_of_all_its_processes(monkeypatch) -> None:
    monkeypatch.setattr(outcome, "time", SimpleNamespace(monotonic=lambda: 100.0))
    made = outcome.times(92.5, 94.0, [{"seconds": 1.5}, {"seconds": 20.0}])
    assert (made["seconds"], made["seconds_training"]) == (29.0, 27.5)


def test_stopped_twice_and_in_the_evaluation(whole, tmp_path: Path, monkeypatch) -> None:
    stop_at(STEPS, monkeypatch)
    monkeypatch.setattr(Method, "evaluated_together", 100)
    evaluated = checkpoints.Checkpointer.consistent

    def late(self, state) -> None:  # the signal comes with the last step; act on it in the evaluation
        if state.done == STEPS and self.signals.noted and not hasattr(self, "waited"):
            self.waited = True
            return
        evaluated(self, state)

    monkeypatch.setattr(checkpoints.Checkpointer, "consistent", late)
    for step in (STEPS, STEPS - 2):
        with pytest.raises(signals.Stopped):
            run(job(tmp_path), quiet=True)
        monkeypatch.setattr(checkpoints.Checkpointer, "consistent", evaluated)
        stop_at(step, monkeypatch)
    monkeypatch.undo()
    record = run(job(tmp_path), quiet=True)
    assert same(record, whole)
    assert len(record["environment"]["earlier_pieces"]) == 2


def test_another_programs_handler_runs_after_the_checkpoint(whole, tmp_path: Path, monkeypatch) -> None:
    """Like submitit's for SIGUSR2, which requeues the job and raises SystemExit."""
    found = []

    def requeue(number: int, frame: object) -> None:
        found.extend(path.suffix for path in tmp_path.glob("*.checkpoint"))
        sys.exit(-1)

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        stop_at(STEPS - 2, monkeypatch, signal.SIGUSR2)
        with pytest.raises(SystemExit) as ended:
            run(job(tmp_path), quiet=True)
        assert (ended.value.code, found) == (-1, [".checkpoint"])
        assert signal.getsignal(signal.SIGUSR2) is requeue
    finally:
        signal.signal(signal.SIGUSR2, before)
    monkeypatch.undo()
    assert same(run(job(tmp_path), quiet=True), whole)


def test_a_signal_after_the_last_step_is_not_lost(whole, tmp_path: Path, monkeypatch) -> None:
    """A program that does one run after another must not start the next."""
    from labelnoise.experiment import metrics

    summarise = metrics.summarise
    monkeypatch.setattr(
        metrics, "summarise", lambda history: (os.kill(os.getpid(), signal.SIGTERM), summarise(history))[1]
    )
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    (path,) = tmp_path.iterdir()
    assert same(json.loads(path.read_text()), whole), "the record is written all the same"


def test_force_starts_again_where_the_code_has_changed(tmp_path: Path, monkeypatch, capsys) -> None:
    for commit, force in (("a" * 40, False), ("a" * 40, True), ("b" * 40, True)):
        monkeypatch.setattr(environment, "_commit", lambda commit=commit: {"commit": commit, "dirty": False})
        stop_at(2, monkeypatch)
        with pytest.raises(signals.Stopped):
            run(job(tmp_path, force=force), quiet=True)
    said = capsys.readouterr().err
    assert [f"step {n} of" in said for n in (2, 4)] == [True, True]
    assert said.count("is not used: force=true, and another commit wrote it; the run starts again") == 1
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    assert len(torch.load(checkpoint, weights_only=True)["pieces"]) == 1


def test_partial_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    identifier = identity.run_id(identity.effective(job(tmp_path)))
    (tmp_path / f"{identifier}.checkpoint.abc.part").write_bytes(b"half")
    (tmp_path / f"{'0' * 12}.json.abc.part").write_bytes(b"another's")
    run(job(tmp_path, epochs=1), quiet=True)
    assert len(list(tmp_path.glob("*.part"))) == 2, "this run's alone"
    run(job(tmp_path), quiet=True)
    assert [path.name[:12] for path in tmp_path.glob("*.part")] == ["0" * 12]


@pytest.mark.parametrize(("code", "raised"), [(-signal.SIGTERM, signals.Stopped), (1, subprocess.CalledProcessError)])
def test_requeueing_that_ends_the_command_that_asked_for_it(code: int, raised, tmp_path: Path, monkeypatch) -> None:
    """SLURM's SIGTERM to all of a job's processes may end `scontrol requeue` before it returns."""

    def requeue(number: int, frame: object) -> None:
        raise subprocess.CalledProcessError(code, ["scontrol", "requeue", "6_1"])

    before = signal.signal(signal.SIGUSR2, requeue)
    try:
        stop_at(STEPS - 2, monkeypatch, signal.SIGUSR2)
        with pytest.raises(raised):
            run(job(tmp_path), quiet=True)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert [path.suffix for path in tmp_path.iterdir()] == [".checkpoint"]


def test_a_checkpoint_is_written_after_an_epoch_and_every_two_minutes(tmp_path: Path, monkeypatch) -> None:
    saved, save = [], checkpoints.Checkpointer.save
    monkeypatch.setattr(
        checkpoints.Checkpointer, "save", lambda self, at: (saved.append((at.epoch, at.done)), save(self, at))[1]
    )
    monkeypatch.setattr(checkpoints, "AT_LEAST", float("inf"))  # as if the whole run took seconds
    monkeypatch.setattr(checkpoints, "EVERY", float("inf"))
    run(job(tmp_path), quiet=True)
    assert saved == [(3, 0)], "the last epoch alone"
    saved.clear()
    monkeypatch.setattr(checkpoints, "AT_LEAST", 0.0)
    run(job(tmp_path, force=True), quiet=True)
    assert saved == [(1, 0), (2, 0), (3, 0)]
    saved.clear()
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    run(job(tmp_path, force=True, epochs=1), quiet=True)
    assert saved[:STEPS] == [(0, step) for step in range(1, STEPS + 1)]


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    state = torch.load(path, weights_only=True)
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "another run's":
        torch.save({**state, "run_id": "0" * 12}, path)
    elif how == "another commit's":
        torch.save({**state, "method": {}, "pieces": [{**state["pieces"][0], "commit": "a" * 40}]}, path)
    else:
        torch.save({**state, "pieces": [Bomb()]}, path)


class Bomb:
    """A pickle that would run code when it is read."""

    def __reduce__(self):
        return os.mkdir, ("exploded",)


@pytest.mark.parametrize("how", ["cut short", "another run's", "another commit's", "a program"])
def test_a_spoilt_checkpoint_is_refused(whole, how: str, tmp_path: Path, monkeypatch, capsys) -> None:
    stop_at(2 * STEPS + 2, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    spoil(checkpoint, how)
    record = run(job(tmp_path), quiet=True)
    said = capsys.readouterr().err
    assert said.count(f"{checkpoint} is not used: ") == 1
    assert "the run starts again" in said
    assert same(record, whole)
    assert "earlier_pieces" not in record["environment"]
    assert not (tmp_path / "exploded").exists()


PIECE = {"commit": "a" * 40, "seconds": 1.0}
WHOLE = {"run_id": "0123456789ab", "pieces": [PIECE], "method": {}, "generators": {}, "state": {}}
NONE = {
    "a list": [1],
    "a part": {"run_id": WHOLE["run_id"]},
    "more": WHOLE | {"more": 1},
    "no process": WHOLE | {"pieces": []},
    "a process that is a number": WHOLE | {"pieces": [5]},
    "no commit": WHOLE | {"pieces": [{"seconds": 1.0}]},
    "no time": WHOLE | {"pieces": [PIECE | {"seconds": "long"}]},
    "endless": WHOLE | {"pieces": [PIECE | {"seconds": float("inf")}]},
    "facts that are no JSON": WHOLE | {"pieces": [PIECE | {"threads": torch.zeros(2)}]},
    "a method that is a tensor": WHOLE | {"method": torch.zeros(2)},
    "a number for an id": WHOLE | {"run_id": 5},
    "another id": WHOLE | {"run_id": "0" * 12},
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_checkpoint_is_refused_in_one_line(tmp_path: Path, capsys, name: str) -> None:
    files = RunFiles(tmp_path, "0123456789ab")
    torch.save(WHOLE, path := files.checkpoint)
    assert checkpoints.load(files) == WHOLE
    torch.save(NONE[name], path)
    assert checkpoints.load(files) is None
    said = capsys.readouterr().err
    assert said.startswith(f"{path} is not used: it ")
    assert said.count("\n") == 1


def test_a_whole_checkpoint_that_does_not_fit_is_an_error(tmp_path: Path, monkeypatch) -> None:
    """Of this configuration and commit: starting again in silence would drop hours of work, again and again."""
    monkeypatch.setenv("LABELNOISE_COMMIT", "0123456789")
    stop_at(2 * STEPS + 2, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    monkeypatch.undo()
    monkeypatch.setenv("LABELNOISE_COMMIT", "0123456789")  # outside a checkout
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "method": {}}, checkpoint)
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=r"\.checkpoint: does not fit this run \(.*\); remove it to start again"):
        run(job(tmp_path), quiet=True)
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_of_a_gpu_resumes_on_a_cpu(whole, tmp_path: Path, monkeypatch, capsys) -> None:
    """Its generators do not fit: the run goes on with others, always the same ones, and keeps its finished epochs."""
    stop_at(STEPS + 3, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    monkeypatch.undo()
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    content = torch.load(checkpoint, weights_only=True)
    of_a_gpu = torch.zeros(16, dtype=torch.uint8)  # a seed and an offset
    torch.save({**content, "generators": {**content["generators"], "data": of_a_gpu, "cuda": of_a_gpu}}, checkpoint)
    kept = checkpoint.read_bytes()
    capsys.readouterr()
    moved = run(job(tmp_path), quiet=True)
    told = f"{checkpoint} is from a GPU: on this CPU the run resumes with other random numbers\n"
    assert capsys.readouterr().err == told
    assert len(moved["environment"]["earlier_pieces"]) == 1
    mine, uninterrupted = moved["history"], whole["history"]
    assert all(mine[name][0] == uninterrupted[name][0] for name in uninterrupted)
    assert any(mine[name][2] != uninterrupted[name][2] for name in uninterrupted)
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / checkpoint.name).write_bytes(kept)
    assert same(run(job(tmp_path / "again"), quiet=True), moved)


def test_a_checkpoint_of_a_cpu_resumes_on_a_gpu(monkeypatch, capsys) -> None:
    """With stand-ins for the GPU: both of its generators get a seed of their own for this point of this run."""
    seeds: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed", seeds.append)
    data = SimpleNamespace(device=torch.device("cuda:0"), initial_seed=lambda: 7, manual_seed=seeds.append)
    states = {"torch": torch.get_rng_state(), "data": torch.Generator().get_state()}
    for epoch, done in ((0, 3), (0, 4), (1, 0)):
        checkpoints.restore_generators(Path("a.checkpoint"), states, data, TrainState(epoch, done=done))
    assert seeds[0::2] == seeds[1::2]
    assert len({7, *seeds}) == 4
    assert "a.checkpoint is from a CPU: on this GPU the run resumes" in capsys.readouterr().err


def test_another_commits_checkpoint_that_does_not_fit_is_kept_until_the_record(
    whole, tmp_path: Path, monkeypatch, capsys
) -> None:
    """That commit can go on from it, even when this one has stopped and saved, too."""
    stop_at(2 * STEPS + 2, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    content = torch.load(checkpoint, weights_only=True)
    content["pieces"][-1]["commit"] = "b" * 40
    torch.save({**content, "method": {}}, checkpoint)
    before, kept = checkpoint.read_bytes(), checkpoint.with_suffix(".earlier")
    monkeypatch.undo()
    stop_at(3, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    said = capsys.readouterr().err
    assert f"; it is kept as {kept.name}; the run starts again\n" in said
    assert kept.read_bytes() == before != checkpoint.read_bytes()
    monkeypatch.undo()
    assert same(run(job(tmp_path), quiet=True), whole)
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run(whole, tmp_path: Path, monkeypatch, capsys) -> None:
    stop_at(2 * STEPS + 2, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    (checkpoint,) = tmp_path.glob("*.checkpoint")
    before = checkpoint.read_bytes()
    capsys.readouterr()

    def full(path: Path, content: bytes, sync: bool = True) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_whole", full)
    stop_at(3, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(job(tmp_path), quiet=True)
    assert checkpoint.read_bytes() == before
    said = capsys.readouterr().err
    assert "cannot be written (No space left on device); the run continues without" in said
    assert "starts again or resumes from an earlier checkpoint" in said
    stop_at(10**6, monkeypatch)
    assert same(run(job(tmp_path), quiet=True), whole)
    assert capsys.readouterr().err.count("cannot be written") == 1
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_the_command_line_stops_and_goes_on(tmp_path: Path, train, monkeypatch) -> None:
    """SIGTERM or SIGINT to `train.py`: exit code 75, one line, no traceback; the same command finishes it.

    Only the first is a process of its own, as users start it: it takes seconds to import torch.
    """
    signalled = (
        "tracker._target_=support.sweep_stand_in.signalled"  # so that it comes in an epoch, however fast they pass
    )
    command = [*JOB, "epochs=3", f"results={tmp_path}", signalled]

    def alone(number: int) -> Ended:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "SIGNAL": str(int(number))}
        arguments = [sys.executable, "train.py", *command]
        done = subprocess.run(arguments, cwd=REPOSITORY, env=env, capture_output=True, text=True)
        return Ended(done.returncode, done.stdout, done.stderr)

    def here(number: int) -> Ended:
        monkeypatch.setenv("SIGNAL", str(int(number)))
        return train(*command)

    for stopped, number in ((alone, signal.SIGINT), (here, signal.SIGTERM)):
        ended = stopped(number)
        assert ended.code == 75, ended
        assert "Traceback" not in ended.err
        assert "; the same command resumes from there" in ended.err.splitlines()[-1]
        assert [path.suffix for path in tmp_path.iterdir()] == [".checkpoint"]
    ended = here(0)
    assert ended.code == 0, ended
    assert "resumes after epoch" in ended.out
    (path,) = tmp_path.iterdir()
    assert len(json.loads(path.read_text())["environment"]["earlier_pieces"]) == 2


def test_a_programs_own_handler_may_let_the_run_go_on(whole, tmp_path: Path, monkeypatch, capsys) -> None:
    """As submitit's for SIGTERM does in a SLURM job; its SIGUSR2 counts more, whichever comes first."""
    called: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR2)}
    try:
        for number in before:
            signal.signal(number, lambda number, _: called.append(number))
        stop_at(2 * STEPS + 2, monkeypatch)
        record = run(job(tmp_path), quiet=True)
        with signals.Signals() as noted:
            for number in (signal.SIGUSR2, signal.SIGTERM):
                os.kill(os.getpid(), number)
            noted.leave()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert called == [signal.SIGTERM, signal.SIGUSR2]
    assert same(record, whole)
    assert "stopped" not in capsys.readouterr().err
