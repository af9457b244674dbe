"""Trackers: what they write, offline and without an account."""

from pathlib import Path

import pytest

from labelnoise.experiment.run import compose, run

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1", "num_trusted=1300"]


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


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_a_finished_run_is_sent_afterwards(tracker: str, tmp_path: Path, labelnoise) -> None:
    """From its record alone: the tracker gets what it would have got while the run trained."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = run(compose([*SHORT, f"results={tmp_path}"]), quiet=True)
    ended = labelnoise("track", f"tracker={tracker}", f"results={tmp_path}", f"run_id={record['run_id']}")
    assert ended.code == 0, ended
    assert f"1 of 1 records sent to {tracker}" in ended.out
    if tracker == "wandb":
        (offline,) = (tmp_path / "wandb").glob("offline-run-*")
        assert any(offline.glob("*.wandb"))
        return
    events = EventAccumulator(str(tmp_path / "tensorboard" / record["run_id"])).Reload()
    for name in ("test_acc", "train_loss"):
        sent = [(e.step, round(e.value, 4)) for e in events.Scalars(name)]
        assert sent == list(enumerate(record["history"][name], start=1))
