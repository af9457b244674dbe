"""Trackers: what they write, offline and without an account."""

from pathlib import Path

import pytest

from labelnoise.experiment.run import compose, run

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1", "num_val=1300"]


def test_wandb_works_offline_and_without_an_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    record = run(compose([*SHORT, "tracker=wandb", f"results={tmp_path}"]), quiet=True)
    (offline,) = (tmp_path / "wandb").glob("offline-run-*")
    assert any(offline.glob("*.wandb"))
    assert (tmp_path / f"{record['run_id']}.json").is_file()


def test_tensorboard_holds_the_history(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = run(compose([*SHORT, "tracker=tensorboard", f"results={tmp_path}"]), quiet=True)
    events = EventAccumulator(str(tmp_path / "tensorboard" / record["run_id"])).Reload()
    accuracy = [(e.step, round(e.value, 4)) for e in events.Scalars("test_acc")]
    assert accuracy == list(enumerate(record["history"]["test_acc"], start=1))


def test_tensorboard_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ValueError, match=r"pip install 'labelnoise\[tensorboard\]'"):
        run(compose([*SHORT, "tracker=tensorboard", f"results={tmp_path}"]), quiet=True)


def test_the_tracker_changes_nothing(tmp_path: Path) -> None:
    plain = run(compose([*SHORT, f"results={tmp_path / 'a'}"]), quiet=True)
    tracked = run(compose([*SHORT, "tracker=tensorboard", f"results={tmp_path / 'b'}"]), quiet=True)
    assert plain["history"] == tracked["history"]
    assert plain["run_id"] == tracked["run_id"]
