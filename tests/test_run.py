"""Whole runs on digits: what a record holds, that it repeats bit for bit, that it is found again, the diagnostics."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors import safe_open
from support.configs import composed, with_values
from support.data import REPOSITORY, real

from labelnoise.data.split import split
from labelnoise.data.train_set import TrainSet
from labelnoise.experiment.metrics import summarise
from labelnoise.experiment.run import compose, load_noisy, run
from labelnoise.methods.erm import ERM
from labelnoise.records import store
from labelnoise.training.clock import Clock
from labelnoise.training.graphs import Steps
from labelnoise.training.loop import train_epoch
from labelnoise.training.method import Feed, Method, StepResult
from labelnoise.training.state import TrainState

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "loss=nce_agce", "epochs=2", "num_trusted=1200", "threads=1"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    results = tmp_path_factory.mktemp("results")
    return run(compose([*SHORT, f"results={results}", "num_val=100", "save_model=true"]), quiet=True), results


def test_record_is_complete(finished: tuple[dict, Path]) -> None:
    record, results = finished
    path = results / f"{record['run_id']}.json"
    assert json.loads(path.read_text()) == record
    assert sorted(p.suffix for p in results.iterdir()) == [".json", ".safetensors"], "something half-written is left"
    assert tuple(record) == store.KEYS
    assert path.stat().st_size < 10_000
    assert record["noise"]["realised_rate"] == pytest.approx(0.4, abs=0.001)
    assert np.array(record["noise"]["transition"]).sum() == 1437
    metrics = record["metrics"]
    assert metrics["oracle"] == ["test_acc_best"]
    assert np.array(metrics["confusion"]).sum() == 360
    assert np.trace(metrics["confusion"]) / 360 == pytest.approx(metrics["test_acc_last"], abs=1e-6)
    assert all(len(column) == 2 for column in record["history"].values())
    environment = record["environment"]
    assert environment["threads"] == 1
    assert environment["precision"] in ("float32", "bfloat16")
    assert environment["fused_kernels"] is True
    assert {"commit", "dirty", "versions", "processor", "seconds", "device"} <= environment.keys()


def test_no_folder_of_this_machine_in_a_record(finished: tuple[dict, Path]) -> None:
    record, results = finished
    for word in (str(results), str(REPOSITORY), str(Path.home()) + "/"):
        assert word not in json.dumps(record)


def test_repeats_bit_for_bit(finished: tuple[dict, Path], tmp_path: Path) -> None:
    first, results = finished
    torch.manual_seed(99)  # what was drawn before must not matter
    np.random.seed(99)
    again = run(compose([*SHORT, f"results={tmp_path}", "num_val=100", "save_model=true"]), quiet=True)
    for key in store.KEYS[:-1]:
        assert first[key] == again[key], key
    name = f"{first['run_id']}.safetensors"
    with safe_open(results / name, "pt") as a, safe_open(tmp_path / name, "pt") as b:
        assert all(torch.equal(a.get_tensor(k), b.get_tensor(k)) for k in a.keys())  # noqa: SIM118


@pytest.mark.parametrize("change", ["seed_init=2", "seed_data=2", "seed_noise=2", "epochs=3", "loss.beta=2"])
def test_every_seed_and_setting_matters(finished: tuple[dict, Path], tmp_path: Path, change: str) -> None:
    first, _ = finished
    cfg = with_values(composed(*SHORT, "num_val=100"), results=str(tmp_path))
    OmegaConf.update(cfg, change.partition("=")[0], int(change.partition("=")[2]))
    other = run(cfg, quiet=True)
    assert other["run_id"] != first["run_id"]
    assert other["history"]["train_loss"] != first["history"]["train_loss"]
    same_labels = other["noise"]["label_hash"] == first["noise"]["label_hash"]
    assert same_labels == (change != "seed_noise=2")


def test_a_finished_run_is_not_run_again(finished: tuple[dict, Path], train, monkeypatch) -> None:
    record, results = finished
    monkeypatch.setattr("labelnoise.training.loop.fit", lambda *_: pytest.fail("trained again"))
    ended = train(*SHORT, f"results={results}", "num_val=100")
    assert ended.code == 0
    assert f"run {record['run_id']} is done already" in ended.out
    assert f"{record['metrics']['test_acc_last']:.2%}" in ended.out
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        run(compose([*SHORT, f"results={results}", "num_val=100", "force=true"]))


def test_a_network_of_an_earlier_run_is_not_kept(tmp_path: Path) -> None:
    common = [*SHORT, "epochs=1", "num_trusted=1300", f"results={tmp_path}"]
    run(compose([*common, "save_model=true"]), quiet=True)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    run(compose([*common, "force=true"]), quiet=True)
    assert not list(tmp_path.glob("*.safetensors"))


def test_a_network_made_later_comes_with_its_own_record(tmp_path: Path, capsys) -> None:
    common = [*SHORT, "epochs=1", "num_trusted=1300", f"results={tmp_path}"]
    path = tmp_path / f"{run(compose(common), quiet=True)['run_id']}.json"
    before = path.stat().st_mtime_ns
    later = run(compose([*common, "save_model=true"]), quiet=True)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    assert path.stat().st_mtime_ns > before
    assert json.loads(path.read_text()) == later
    assert "another process" not in capsys.readouterr().err


def test_a_record_that_another_process_finished_meanwhile_is_kept(tmp_path: Path, monkeypatch, capsys) -> None:
    """Its owner was suspended, and its claim taken over."""
    from labelnoise.training import loop as trainer

    common = [*SHORT, "epochs=1", "num_trusted=1300"]
    other = run(compose([*common, f"results={tmp_path / 'other'}"]), quiet=True)
    fit = trainer.fit
    mine = tmp_path / "mine"
    monkeypatch.setattr(trainer, "fit", lambda *a: (fit(*a), store.write(other, mine))[0])
    assert run(compose([*common, f"results={mine}", "save_model=true"]), quiet=True) == other
    assert "was written by another process meanwhile; it is kept, this one is not" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == [f"{other['run_id']}.json"]


def test_committed_records_are_found_after_ones_own(finished, tmp_path: Path, monkeypatch) -> None:
    record, results = finished
    monkeypatch.setattr(store, "COMMITTED", results)
    monkeypatch.setattr("labelnoise.training.loop.fit", lambda *_: pytest.fail("trained again"))
    assert run(compose([*SHORT, f"results={tmp_path}", "num_val=100"]), quiet=True) == record


def test_a_broken_record_is_reported_and_run_again(finished, tmp_path: Path, train) -> None:
    record, _ = finished
    broken = tmp_path / f"{record['run_id']}.json"
    broken.write_text(json.dumps(record)[:200])
    ended = train(*SHORT, f"results={tmp_path}", "num_val=100")
    assert ended.code == 0
    assert "is not a whole record (" in ended.err
    assert json.loads(broken.read_text())["history"] == record["history"]


def test_a_loss_that_draws_repeats_too(tmp_path: Path) -> None:
    """Negative learning draws from torch's default generator, which the run seeds."""
    histories = []
    for before in (1, 2):
        torch.manual_seed(before)
        cfg = compose([*SHORT, "loss=nlnl", "num_trusted=1300", "force=true", f"results={tmp_path}"])
        histories.append(run(cfg, quiet=True)["history"])
    assert histories[0] == histories[1]


def test_summary_of_a_long_history() -> None:
    """Twelve epochs, one of them not evaluated: the last ten evaluations are the epochs from 0.2 on."""
    test = [0.9, 0.2, 0.3, None, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4]
    val = [0.1, 0.2, 0.9, None, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.9]
    metrics = summarise({"test_acc": test, "val_acc": val})
    assert metrics["test_acc_last"] == 0.4
    assert metrics["test_acc_best"] == 0.9
    assert metrics["test_acc_last10"] == pytest.approx((0.2 + 8 * 0.3 + 0.4) / 10)
    assert metrics["test_acc_val"] == 0.3, "the first epoch with the best accuracy on the held-out part"


def test_metrics_follow_the_history(finished: tuple[dict, Path]) -> None:
    record, _ = finished
    test, val = record["history"]["test_acc"], record["history"]["val_acc"]
    metrics = record["metrics"]
    assert round(metrics["test_acc_last"], 4) == test[-1]
    assert round(metrics["test_acc_best"], 4) == max(test)
    assert round(metrics["test_acc_val"], 4) == test[val.index(max(val))]
    assert metrics["test_acc_last10"] == pytest.approx(sum(test) / 2, abs=1e-4)


def test_the_use_of_default_values_and_the_labels_of_validation_are_reported(train, tmp_path: Path) -> None:
    common = ["epochs=1", "threads=1", "num_trusted=1240", f"results={tmp_path}"]
    line = "loss: a=0.6, q=0.6: cifar10's values, there are none for digits (Zhou et al. 2021, as released)"
    said = train("dataset=digits", "loss=agce", *common).out
    assert line in said
    assert "validation" not in said
    said = train("dataset=digits", "loss=ce", "num_val=60", *common).out
    assert "loss:" not in said
    assert "\nvalidation: 60 held-out images with their noisy labels\n" in said
    assert ", at the epoch chosen by validation " in said


def test_eval_every_spares_evaluations_but_not_the_last(tmp_path: Path) -> None:
    record = run(compose([*SHORT, "epochs=5", "eval_every=2", f"results={tmp_path}"]), quiet=True)
    assert [v is not None for v in record["history"]["test_acc"]] == [False, True, False, True, True]


@pytest.mark.slow
def test_robust_loss_resists_what_cross_entropy_memorises(tmp_path: Path) -> None:
    """The project's point, small: after 20 epochs of digits under 40% noise."""
    common = ["dataset=digits", "noise=sym", "rate=0.4", "threads=1", f"results={tmp_path}"]
    ce, robust = (run(compose([*common, f"loss={name}"]), quiet=True) for name in ("ce", "nce_agce"))
    assert robust["metrics"]["test_acc_last"] > ce["metrics"]["test_acc_last"] + 0.1
    assert ce["history"]["acc_wrong_given"][-1] > 0.5 > 0.2 > robust["history"]["acc_wrong_given"][-1]


class Scripted(ERM):
    """A method whose predictions are known: the given label, but the true one for every fifth image."""

    def __init__(self, train: TrainSet, truth: torch.Tensor) -> None:
        torch.nn.Module.__init__(self)
        self.train_set, self.truth, self.clock = train, truth, Clock(epochs=1, batch_size=7)

    def step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        given, truth = self.train_set.labels[index], self.truth[index]
        predicted, target = torch.where(index % 5 > 0, given, truth), torch.where(index < 20, truth, given)
        return StepResult(index.float().mean(), index, predicted, index < 10, target, {"spread": index.float().mean()})


def epoch_of(method: Method, truth: torch.Tensor | None) -> dict:
    return train_epoch(method, TrainState(), truth, Steps(method))


def test_diagnostics_count_what_they_say() -> None:
    truth = torch.arange(100) % 5
    given = torch.where(torch.arange(100) % 4 < 2, truth, (truth + 1) % 5)  # half of the even and odd ones are wrong
    images = torch.zeros(100, 1, 4, 4, dtype=torch.uint8)
    train = TrainSet(images, given, 5, (0.5,), (0.5,), None, torch.Generator().manual_seed(0))
    row = epoch_of(Scripted(train, truth), truth)
    assert row["train_loss"] == pytest.approx(49.5), "the mean over images, whatever the batches"
    assert row["spread"] == pytest.approx(49.5)
    assert row["acc_clean"] == 1
    assert row["acc_wrong_given"] == 0.8
    assert row["acc_wrong_true"] == pytest.approx(0.2)
    assert row["label_precision"] == 0.6, "images 0, 1, 4, 5, 8, 9 of the ten selected"
    assert row["label_recall"] == 6 / 50
    assert row["target_acc"] == 0.6, "the first twenty, and half of the rest"
    assert row["relabel_acc"] == 1
    unknown = epoch_of(Scripted(train, truth), None)
    assert unknown.keys() == row.keys()
    assert {name for name, value in unknown.items() if value is not None} == {"train_loss", "spread"}


def test_batches_are_every_image_once() -> None:
    labels = torch.arange(21)
    images = labels.to(torch.uint8)[:, None, None, None].expand(21, 1, 2, 2)
    train = TrainSet(images, labels, 21, (0.0,), (1.0,), None, torch.Generator().manual_seed(0))
    sizes, seen = [], []
    for batch in map(train.batch, train.order(5)):
        sizes.append(len(batch.index))
        seen += batch.index.tolist()
        assert torch.equal(batch.labels, batch.index)
        torch.testing.assert_close(batch.images[:, 0, 0, 0], batch.index.float() / 255)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert sizes == [5, 5, 5, 6], "a single image left over joins the batch before it"
    assert sorted(seen) == list(range(21)) != seen
    assert [len(index) for index in train.order(2, among=torch.tensor([3, 4, 5, 6]))] == [2, 2]


def test_split_is_disjoint_complete_and_balanced(digits) -> None:
    parts = split(digits.train_labels, 100, 50, 1)
    assert [len(part) for part in parts] == [1287, 100, 50]
    assert sorted(torch.cat(parts).tolist()) == list(range(1437))
    assert torch.bincount(digits.train_labels[parts[2]], minlength=10).tolist() == [5] * 10
    whole = split(digits.train_labels, 0, 0, 1)
    assert torch.equal(whole[0], torch.arange(1437))


def test_multirun_gives_every_job_a_record_and_survives_a_failure(train, tmp_path: Path) -> None:
    common = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "threads=1", f"results={tmp_path}"]
    common += ["num_trusted=1300", "loss=ce,gce"]
    ended = train("-m", "optimizer.lr=0.01,1e9", *common, "hydra.launcher.n_jobs=1")
    assert ended.code == 1
    assert len(list(tmp_path.glob("*.json"))) == 2
    reasons = [line for line in ended.err.splitlines() if line.startswith("error: job")]
    assert len(reasons) == 2
    assert all("NaN or infinite at epoch 1, step" in line and "optimizer.lr=1" in line for line in reasons)
    lines = [line for line in ended.err.strip().splitlines() if not line.startswith("compiling the fused")]
    assert len(lines) == 2, "one line a failure"


def test_saved_network_predicts_the_same(finished, capsys, tmp_path: Path) -> None:
    from labelnoise.cli.predict import predict

    record, results = finished
    model, out = results / f"{record['run_id']}.safetensors", tmp_path / "p.csv"
    predict([f"model={model}", "dataset=digits", f"out={out}", "threads=1"])
    said = capsys.readouterr().out
    lines = out.read_text().splitlines()
    right = sum(line.split(",")[1] == line.split(",")[2] for line in lines[1:])
    assert (len(lines), f"{right / 360:.2%} of 360" in said) == (361, True)
    assert right / 360 == pytest.approx(record["metrics"]["test_acc_last"], abs=0.01)  # evaluated in float32
    with pytest.raises(ValueError, match="not a network saved with save_model=true"):
        predict([f"model={results / record['run_id']}.json", "dataset=digits"])


@real("cifar10")
def test_real_cifar10_trains(tmp_path: Path) -> None:
    """Sixty batches of the real thing are enough to be far better than chance."""
    short = [
        "network=cnn4",
        "epochs=1",
        "num_trusted=42000",  # which are not evaluated
        "eval_every=9",
        "optimizer.lr=0.05",
        "threads=1",
        f"results={tmp_path}",
    ]
    record = run(compose(["noise=asym", "rate=0.4", "loss=agce", *short]), quiet=True)
    assert record["noise"]["realised_rate"] == pytest.approx(0.2)
    assert record["metrics"]["test_acc_last"] > 0.25


@real("cifar10")
def test_memory_holds_the_data_once() -> None:
    data, _ = load_noisy(compose(["noise=sym", "rate=0.4"]))
    assert data.train_images.dtype == torch.uint8
    assert data.train_images.nbytes == 50_000 * 3072
    train = TrainSet(data.train_images, data.train_labels, 10, data.mean, data.std, None, torch.Generator())
    assert train.images.data_ptr() == data.train_images.data_ptr()
