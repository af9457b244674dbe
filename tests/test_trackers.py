"""Trackers: what they write, offline and without an account."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml
from support.command import stop_at

from labelnoise.experiment.run import compose, run
from labelnoise.training.signals import Stopped

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1", "num_trusted=1300"]


def of_tensorboard(folder: Path) -> list[tuple[str, int, float]]:
    """Name, epoch and value of each point in a folder's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    found = [(name, e.step, round(e.value, 4)) for name in events.Tags()["scalars"] for e in events.Scalars(name)]
    return [point for point in found if point[1]]  # the metrics, beside the options, have step 0


def wandb_records(file: Path) -> Iterator[Any]:
    """What an offline file holds: protocol buffers in LevelDB's log format, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, block, place, parts = file.read_bytes(), 2**15, 7, b""
    while place < len(content):
        if block - place % block < 7:  # too short for a part's header: filled up
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(parts)
            parts = b""


def of_wandb(file: Path) -> tuple[set[str], list[tuple[str, int, float]]]:
    """The ids in an offline file; name, epoch and value of each point."""
    ids, points = set(), []
    for record in wandb_records(file):
        if record.WhichOneof("record_type") == "run":
            ids.add(record.run.run_id)
        if record.WhichOneof("record_type") == "history":
            row = {"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
            assert row["epoch"] == row["_step"] == record.history.step.num
            points += [(n, row["epoch"], round(v, 4)) for n, v in row.items() if n[0] != "_" and n != "epoch"]
    return ids, points


def assert_holds(tracker: str, results: Path, record: dict[str, Any]) -> None:
    """The tracker's files hold each point of the record's history once, and as this run alone."""
    if tracker == "wandb":
        wandb.teardown()  # waits for W&B's own process, which writes the end of a file after `finish`
        (file,) = results.glob(f"wandb/offline-run-*-{record['run_id']}/*.wandb")
        ids, points = of_wandb(file)
        assert ids == {record["run_id"]}
    else:
        points = of_tensorboard(results / "tensorboard" / record["run_id"])
    expected = [
        (name, epoch, value)
        for name, column in record["history"].items()
        for epoch, value in enumerate(column, start=1)
        if value is not None
    ]
    assert sorted(points) == sorted(expected)


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_it_holds_the_history(tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B offline and without an account."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    record = run(compose([*SHORT, f"tracker={tracker}", f"results={tmp_path}"]), quiet=True)
    assert_holds(tracker, tmp_path, record)
    assert (tmp_path / f"{record['run_id']}.json").is_file()


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
    """From its record alone: the tracker gets what it would have got while the run trained, also the second time."""
    record = run(compose([*SHORT, f"results={tmp_path}"]), quiet=True)
    for _ in range(2):
        ended = labelnoise("track", f"tracker={tracker}", f"results={tmp_path}", f"run_id={record['run_id']}")
        assert ended.code == 0, ended
        assert f"1 of 1 records sent to {tracker}" in ended.out
        assert_holds(tracker, tmp_path, record)


def test_tensorboard_shows_options_beside_metrics_and_the_whole_configuration(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    chosen = [*SHORT, "loss=gce", "loss.q=0.6", "tracker=tensorboard", f"results={tmp_path}", "seed=5"]
    record = run(compose(chosen), quiet=True)
    folder = tmp_path / "tensorboard" / record["run_id"]
    assert [path for path in folder.rglob("*") if path.is_dir()] == []
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    (text,) = (event.tensor_proto.string_val[0].decode() for event in events.Tensors("config/text_summary"))
    assert yaml.safe_load(text.strip("`")) == record["config"]
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    found = HParamsPluginData.FromString(content).session_start_info.hparams
    names = {key: getattr(value, value.WhichOneof("kind")) for key, value in found.items()}
    expected = {"dataset": "digits", "noise": "symmetric", "rate": 0.4, "loss": "gce", "loss.q": 0.6, "method": "ERM"}
    assert {key: names[key] for key in expected} == expected
    assert (names["seed_init"], names["network"], names["optimizer.lr"]) == (5, "cnn4", 0.01)
    for name in ("test_acc_last", "test_acc_best"):
        (point,) = events.Scalars(name)
        assert (point.step, point.value) == (0, pytest.approx(record["metrics"][name]))


def test_wandb_gets_flat_names_a_group_and_tags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that differ in seed or hyper-parameters are one group."""
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    common = [*SHORT, "loss=gce", "tracker=wandb", f"results={tmp_path}"]
    groups = set()
    for more in (["seed=5"], ["loss.q=0.6"]):
        record = run(compose([*common, *more]), quiet=True)
        wandb.teardown()
        (file,) = tmp_path.glob(f"wandb/offline-run-*-{record['run_id']}/*.wandb")
        sent = next(r.run for r in wandb_records(file) if r.WhichOneof("record_type") == "run")
        config = {entry.key: json.loads(entry.value_json) for entry in sent.config.update if entry.key != "_wandb"}
        assert config.pop("config") == record["config"]
        assert not [value for value in config.values() if isinstance(value, dict)]
        expected = {"dataset": "digits", "noise": "symmetric", "rate": 0.4, "loss": "gce", "method": "ERM"}
        assert {key: config[key] for key in expected} == expected
        assert (config["network"], config["epochs"]) == ("cnn4", 2)
        assert list(sent.tags) == ["digits", "symmetric", "gce", "ERM"]
        groups.add(sent.run_group)
    assert groups == {"digits symmetric 0.4 gce ERM"}


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_a_run_that_resumes_has_each_epoch_once(tracker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the epochs before it was stopped, and another training of the same run replaces all of them."""
    chosen = [*SHORT, "epochs=4", f"tracker={tracker}", f"results={tmp_path}"]
    with monkeypatch.context() as patch:
        stop_at(6, patch)  # two steps an epoch
        with pytest.raises(Stopped):
            run(compose(chosen), quiet=True)
    record = run(compose(chosen), quiet=True)
    assert len(record["environment"]["earlier_pieces"]) == 1
    assert_holds(tracker, tmp_path, record)
    assert_holds(tracker, tmp_path, run(compose([*chosen, "force=true"]), quiet=True))


@pytest.mark.parametrize("tracker", ["wandb", "tensorboard"])
def test_another_run_is_left_alone(tracker: str, tmp_path: Path) -> None:
    common = [*SHORT, f"tracker={tracker}", f"results={tmp_path}"]
    for record in [run(compose([*common, f"seed={seed}"]), quiet=True) for seed in (1, 2)]:
        assert_holds(tracker, tmp_path, record)
