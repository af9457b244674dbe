"""Summaries of any records: what differs tells settings apart, seeds are averaged over, the numbers are numpy's."""

import csv
import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from support import made_up
from support.command import Ended

from labelnoise.config import identity
from labelnoise.records import store
from labelnoise.tables import settings

NOISY = ["dataset=digits", "noise=sym", "rate=0.4"]
ACCURACY = {("ce", 1): 0.5, ("ce", 2): 0.6, ("ce", 3): 0.64, ("gce", 1): 0.9, ("gce", 2): 0.91, ("mae", 1): 0.7}


@pytest.fixture
def summary(labelnoise: Callable[..., Ended]) -> Callable[..., Ended]:
    """`labelnoise summary <arguments>` in this process."""
    return partial(labelnoise, "summary")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for (loss, seed), accuracy in ACCURACY.items():
        made_up.write(tmp_path / "runs", [*NOISY, f"loss={loss}", f"seed={seed}"], accuracy)
    return tmp_path / "runs"


def test_seeds_are_averaged_over_and_the_best_is_first(summary, folder: Path) -> None:
    entries = json.loads(summary(folder, "format=json", "metric=test_acc_last").out)
    assert [(e["loss"], e["n"]) for e in entries] == [("gce", 2), ("mae", 1), ("ce", 3)]
    assert not {"seed_init", "dataset", "noise", "noise.rate"} & entries[0].keys(), "it is the same in all"
    for entry in entries:
        values = [100 * value for (loss, _), value in ACCURACY.items() if loss == entry["loss"]]
        assert entry["mean"] == pytest.approx(np.mean(values))
        assert entry["std"] == (pytest.approx(np.std(values, ddof=1), abs=1e-6) if len(values) > 1 else None)
        assert entry["best_epoch_oracle_mean"] == 99
        assert entry["realised_rate"] == 0.4
        assert len(entry["run_ids"]) == entry["n"]


def test_csv_says_what_json_says(summary, folder: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(summary(folder, "format=csv").out)))
    entries = json.loads(summary(folder, "format=json").out)
    for line, entry in zip(lines, entries, strict=True):
        assert list(line) == list(entry)
        assert line["loss"] == entry["loss"]
        assert line["run_ids"].split() == entry["run_ids"]
        for name in ("mean", "std", "n", "best_epoch_oracle_mean", "realised_rate"):
            assert (float(line[name]) if line[name] else None) == entry[name]


def test_markdown(summary, folder: Path) -> None:
    ended = summary(folder, "metric=test_acc_last")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[:5] == [
        r"| loss | test\_acc\_last | best epoch (oracle) | wrong labels |",
        "| --- | --- | --- | --- |",
        "| gce | **90.50** ± 0.71 (2) | 99.00 | 40.00% |",
        "| mae | 70.00 (1) | 99.00 | 40.00% |",
        "| ce | 58.00 ± 7.21 (3) | 99.00 | 40.00% |",
    ]
    assert "The same in all: dataset=digits, noise=symmetric, network=cnn4" in ended.out
    assert "0123456: 6" in ended.out
    assert "Ranked by the test set (test\\_acc\\_last). This compares settings; the accuracy of one" in ended.out
    assert "test\\_acc\\_best, itself an oracle" in summary(folder, "metric=test_acc_best").out


def test_without_held_out_images_nothing_is_ranked(summary, folder: Path) -> None:
    """By options then, so that the order says nothing of the accuracy, and nothing is bold."""
    out = summary(folder).out
    assert [line.split(" | ")[0] for line in out.splitlines()[2:5]] == ["| ce", "| gce", "| mae"]
    assert "**" not in out
    assert "Not ranked: 0 of 6 records have held-out images" in out
    made_up.write(folder, [*NOISY, "loss=gce", "loss.q=0.5"])
    made_up.write(folder, [*NOISY, "loss=gce", "loss.q=0.06"])
    of_gce = [e["loss.q"] for e in json.loads(summary(folder, "format=json").out) if e["loss"] == "gce"]
    assert of_gce == [0.06, 0.5, 0.7], "numbers by their value"


def with_validation(folder: Path, loss: str, seed: int, val: list[float | None], test: list[float], **more) -> None:
    record = made_up.record([*NOISY, "num_val=100", f"loss={loss}", f"seed={seed}"])
    record["history"] = {"val_acc": val, "test_acc": test, **more}
    record["metrics"] |= {"test_acc_val": test[val.index(max(v for v in val if v is not None))]}
    store.write(record, folder)


def test_held_out_images_rank(summary, tmp_path: Path) -> None:
    """gce is better on the test set, mae on held-out images, in whose last stage only 0.7 counts."""
    for seed in (1, 2):
        with_validation(tmp_path, "gce", seed, [0.6, 0.5], [0.9, 0.8])
        with_validation(tmp_path, "mae", seed, [0.9, 0.7, None], [0.2, 0.3, 0.4], stage=[0, 1, 1])
    out = summary(tmp_path).out
    assert out.splitlines()[0] == r"| loss | val\_acc | test\_acc\_val | best epoch (oracle) | wrong labels |"
    assert out.splitlines()[2] == "| mae | **70.00** ± 0.00 (2) | 20.00 ± 0.00 (2) | 99.00 | 40.00% |"
    assert "Ranked by val\\_acc, on held-out images: choose a setting by it, and report its test\\_acc\\_val." in out
    entries = json.loads(summary(tmp_path, "format=json").out)
    shown = [(e["loss"], e["metric"], e["mean"], e["test_acc_val_mean"], e["test_acc_val_std"]) for e in entries]
    assert shown == [("mae", "val_acc", 70, 20, 0), ("gce", "val_acc", 60, 90, 0)]
    by_test = json.loads(summary(tmp_path, "format=json", "metric=test_acc_val").out)
    assert [(e["loss"], e["mean"]) for e in by_test] == [("gce", 90), ("mae", 20)]
    made_up.write(tmp_path, [*NOISY, "loss=ce"])
    assert "Not ranked: 4 of 5 records" in summary(tmp_path).out
    ranked = json.loads(summary(tmp_path, "format=json", "metric=val_acc").out)
    assert [(e["loss"], e["mean"]) for e in ranked] == [("mae", 70), ("gce", 60), ("ce", None)]


def test_a_table_chooses_its_records(summary, folder: Path) -> None:
    part = ["table=digits", "table.rows=[ce,mae]", "table.columns=[sym_0.4]"]
    for where in ([f"results={folder}"], [folder]):
        ended = summary(*part, *where, "format=json")
        assert (ended.code, ended.err) == (0, "")
        assert [(e["loss"], e["n"]) for e in json.loads(ended.out)] == [("ce", 3), ("mae", 1)]
    (entry,) = json.loads(summary(*part, "table.seeds=[2]", folder, "format=json").out)
    assert (entry["mean"], entry["n"]) == (60, 1), "gce is in no row, mae has no second seed"
    assert (
        summary(*part, folder, "epochs=3").err
        == f"error: {folder}: has none of the 6 runs of this part of table=digits\n"
    )


def test_what_differs_is_shown_and_nothing_else(tmp_path: Path) -> None:
    def shown(*more: list[str]) -> list[str]:
        found = settings.settings([made_up.record(overrides) for overrides in more], "test_acc_last", False)
        return list(found[0].values)

    q = [[*NOISY, "loss=gce", f"loss.q={q}"] for q in (0.3, 0.5)]
    assert shown(*q) == ["loss.q"]
    assert shown(*q, [*NOISY, "loss=ce"]) == ["loss", "loss.q"]
    assert shown([*NOISY, "loss=ce"], [*NOISY, "loss=agce"]) == ["loss"], "agce's own values follow from it"
    assert shown(NOISY, [*NOISY, "epochs=3"]) == ["epochs"]
    assert shown(NOISY, ["dataset=digits"]) == ["noise", "noise.rate"]
    assert shown(NOISY, [*NOISY, "seed=2"]) == []
    assert shown([*NOISY, "clip_norm=5"], [*NOISY, "clip_norm=5.0", "seed=3"]) == []


def test_a_record_of_an_earlier_version_is_of_the_same_setting() -> None:
    """One without a key that came later and is neutral here."""
    now, before = made_up.record(NOISY), made_up.record([*NOISY, "seed=2"])
    for key in identity.NEUTRAL:
        before["config"].pop(key, None)
    (one,) = settings.settings([now, before], "test_acc_last", False)
    assert one.n == 2


def test_only_settings_of_the_same_task_are_compared(summary, tmp_path: Path) -> None:
    for rate, accuracies in ((0.2, (0.9, 0.8)), (0.4, (0.5, 0.6))):
        for loss, accuracy in zip(("ce", "gce"), accuracies, strict=True):
            made_up.write(tmp_path, ["dataset=digits", "noise=sym", f"rate={rate}", f"loss={loss}"], accuracy)
    found = settings.settings([store.load(path) for path in sorted(tmp_path.glob("*.json"))], "test_acc_last", True)
    assert {(s.values["noise.rate"], s.values["loss"]) for s in (found[i] for i in settings.best_of_tasks(found))} == {
        (0.2, "ce"),
        (0.4, "gce"),
    }
    assert summary(tmp_path, "metric=test_acc_last").out.count("**") == 4


def test_what_is_unknown_is_said_to_be(summary, tmp_path: Path) -> None:
    unknown = made_up.record(NOISY)
    unknown["noise"] |= {"realised_rate": None, "transition": None}
    unknown["history"] |= {"acc_clean": None}
    store.write(unknown, tmp_path)
    out = summary(tmp_path, "metric=test_acc_val").out
    assert "unknown" in out
    assert "0.00%" not in out
    assert json.loads(summary(tmp_path, "format=json", "metric=test_acc_val").out)[0]["mean"] is None
    line = next(csv.DictReader(io.StringIO(summary(tmp_path, "format=history").out)))
    assert (line["acc_clean"], line["test_acc"]) == ("", "0.25")


@pytest.mark.committed
@pytest.mark.parametrize("gaps", [False, True])
def test_history_and_classes_of_a_committed_record(gaps: bool, summary) -> None:
    """A value that an epoch does not have, such as a method's before its second stage, is an empty field."""
    loaded = ((path, store.load(path)) for path in sorted(store.COMMITTED.glob("*.json")))
    path, record = next((p, r) for p, r in loaded if gaps == any(None in (c or ()) for c in r["history"].values()))
    lines = list(csv.DictReader(io.StringIO(summary(path, "format=history").out)))
    assert [int(line["epoch"]) for line in lines] == list(range(1, record["config"]["epochs"] + 1))
    for name, column in record["history"].items():
        assert [float(line[name]) if line[name] else None for line in lines] == (column or [None] * len(lines))
    confusion = np.array(record["metrics"]["confusion"])
    lines = list(csv.DictReader(io.StringIO(summary(path, "format=classes").out)))
    accuracy = np.array([float(line["accuracy"]) for line in lines])
    np.testing.assert_allclose(accuracy, confusion.diagonal() / confusion.sum(1), atol=1e-6)
    assert [int(line["images"]) for line in lines] == confusion.sum(1).tolist()
    mean = (accuracy * confusion.sum(1)).sum() / confusion.sum()
    assert mean == pytest.approx(record["metrics"]["test_acc_last"], abs=1e-5)


def test_a_broken_record_is_left_out_and_one_that_comes_twice_counts_once(summary, folder: Path) -> None:
    bad, *_, good = sorted(folder.glob("*.json"))
    bad.write_text("{")
    ended = summary(folder, good, "format=json")
    assert ended.code == 0
    assert ended.err.count("\n") == 1
    assert f"{bad} is not a whole record" in ended.err
    assert sum(entry["n"] for entry in json.loads(ended.out)) == len(ACCURACY) - 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["metric=acc"], "metric=acc: must be one of val_acc, test_acc_last"),
        (["table=nothing"], "table=nothing: no such option"),
        (["table=digits", "epoch=3"], "epoch=3: no such option; did you mean epochs?"),
        (["format=xml"], "format=xml: must be one of markdown, csv, json, history, classes"),
        (["nowhere"], "nowhere: there is no such folder or archive"),
        (["empty"], "empty: holds no records"),
        (["results=empty"], "empty: holds no records"),
        ([""], "an empty path"),
        (["--format=csv"], "--format=csv: no such flag"),
        (["bad"], "bad: no complete record"),
    ],
)
def test_mistakes_are_one_line(summary, tmp_path: Path, monkeypatch, arguments: list[str], said: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "0123456789ab.json").write_text("{}")
    ended = summary(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert said in ended.err.strip().splitlines()[-1]


def test_texts_of_records_are_escaped(summary, tmp_path: Path) -> None:
    record = made_up.record(NOISY, processor="| <b>\n*x*")
    record["config"]["loss"]["_target_"] = "=cmd|'/c calc'!A1"
    record["run_id"] = identity.run_id(record["config"])
    store.write(record, tmp_path)
    made_up.write(tmp_path, NOISY)
    out = summary(tmp_path).out
    assert "<b>" not in out
    assert all(line.startswith(("| ", "- ")) or not line for line in out.splitlines())
    (line,) = (x for x in csv.DictReader(io.StringIO(summary(tmp_path, "format=csv").out)) if "cmd" in x["loss"])
    assert line["loss"].startswith("'=")


def test_a_file_that_is_a_pipe_is_left_alone(summary, folder: Path) -> None:
    os.mkfifo(folder / "0123456789ab.json")
    assert summary(folder, "format=json").code == 0
