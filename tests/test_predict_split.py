"""`predict split=`: the images that a run trained on or held out, with the labels it was given and the true ones."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.command import Ended

from labelnoise.config.compose import compose
from labelnoise.config.identity import run_id
from labelnoise.data.train_set import normalise
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.image_sets import image_set
from labelnoise.experiment.run import Trained, train

SHORT = ["dataset=digits", "epochs=1", "threads=1", "precision=float32", "save_model=true"]
CUT = ["noise=sym", "rate=0.4", "num_val=90", "num_trusted=1200", "seed=5"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Trained:
    return train(compose([*SHORT, *CUT, f"results={folder}"]), quiet=True)


@pytest.fixture(scope="module")
def model(trained: Trained, folder: Path) -> str:
    return str(folder / f"{trained.record['run_id']}.safetensors")


@pytest.fixture
def predicted(
    labelnoise: Callable[..., Ended], tmp_path: Path
) -> Callable[..., tuple[dict[str, list[str]], list[float]]]:
    """Runs `predict`; returns the columns of its file, and the percentages it prints."""

    def ask(*arguments: str) -> tuple[dict[str, list[str]], list[float]]:
        ended = labelnoise("predict", *arguments, f"out={tmp_path / 'out.csv'}", "threads=1")
        assert ended.code == 0, ended
        header, *rows = csv.reader((tmp_path / "out.csv").read_text().splitlines())
        columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
        return columns, [float(share) for share in re.findall(r"([\d.]+)%", ended.out)]

    return ask


def agreement(one: list[str], other: list[str]) -> float:
    return round(100 * sum(a == b for a, b in zip(one, other, strict=True)) / len(one), 2)


def test_train_has_the_images_and_labels_that_the_run_trained_on(trained: Trained, model: str, predicted) -> None:
    """In their places among the data set's training images; noise, seeds and parts come from the record alone."""
    columns, shares = predicted(f"model={model}", "split=train")
    positions = torch.tensor([int(i) for i in columns["image"]])
    fed, dataset = trained.method.train_set, trained.dataset
    assert len(positions) == len(dataset.train_labels) - 90 - 1200
    everything = torch.arange(len(positions))
    assert torch.equal(dataset.train_images[positions], fed.pixels(everything))
    assert [int(c) for c in columns["given"]] == fed.labels.tolist()
    assert dataset.true_labels is not None
    assert [int(c) for c in columns["true"]] == dataset.true_labels[positions].tolist()
    mean, std = (torch.tensor(value)[:, None, None] for value in (dataset.mean, dataset.std))
    with torch.no_grad():
        probs = trained.method.eval().predict(normalise(fed.pixels(everything), mean, std)).softmax(dim=1)
    assert [int(c) for c in columns["predicted"]] == probs.argmax(dim=1).tolist()
    assert [float(p) for p in columns["probability"]] == pytest.approx(probs.amax(dim=1).tolist(), abs=1e-3)
    assert shares == [agreement(columns["predicted"], columns[of]) for of in ("given", "true")]
    assert columns["given"] != columns["true"]


def test_val_has_the_held_out_images(trained: Trained, model: str, predicted) -> None:
    columns, shares = predicted(f"model={model}", "split=val")
    in_train, _ = predicted(f"model={model}", "split=train")
    assert len(columns["image"]) == 90
    assert not {*columns["image"]} & {*in_train["image"]}
    assert shares[0] == pytest.approx(100 * trained.record["history"]["val_acc"][-1], abs=0.01)
    assert shares == [agreement(columns["predicted"], columns[of]) for of in ("given", "true")]


def test_without_true_labels_their_column_is_empty(trained: Trained, digits) -> None:
    cfg = compose([*SHORT, "num_val=90"])
    dataset = digits._replace(true_labels=None)
    for split in ("train", "val"):
        assert image_set(cfg, dataset, digits.train_labels, split).true is None


@pytest.mark.parametrize("clean", [True, False])
def test_val_is_the_data_sets_own_part_where_it_has_one(clean: bool, digits) -> None:
    """Without the images that are trusted."""
    own = digits._replace(val_images=digits.test_images, val_labels=digits.test_labels, val_is_clean=clean)
    trusted = 40 if clean else 0
    cfg = compose([*SHORT, f"trusted_from={'val' if clean else 'train'}", f"num_trusted={trusted}"])
    chosen = image_set(cfg, own, digits.train_labels, "val")
    assert chosen.of == "validation"
    assert len(chosen.position) == 360 - trusted
    assert torch.equal(chosen.images, digits.test_images[chosen.position])
    assert torch.equal(chosen.given, digits.test_labels[chosen.position])
    assert (chosen.true is not None) is clean


def test_labels_from_a_file_need_the_file(tmp_path: Path, labelnoise, predicted) -> None:
    """A record has the file's content only as a hash."""
    _, labels = load_noisy(compose(["dataset=digits", "noise=pairflip", "rate=0.3"]))
    np.save(tmp_path / "mine.npy", labels.numpy())
    options = [*SHORT, "noise=file", f"noise.path={tmp_path / 'mine.npy'}", "num_trusted=1300"]
    record = train(compose([*options, f"results={tmp_path}"]), quiet=True).record
    model = f"model={tmp_path / record['run_id']}.safetensors"
    shutil.move(tmp_path / "mine.npy", tmp_path / "moved.npy")
    ended = labelnoise("predict", model, "split=train", "dataset=digits", "num_trusted=1300")
    assert ended.code == 1
    assert "the run of model=" in ended.err
    moved = ["dataset=digits", "num_trusted=1300", "noise=file", f"noise.path={tmp_path / 'moved.npy'}"]
    columns, _ = predicted(model, "split=train", *moved)
    assert [int(c) for c in columns["given"]] == [int(labels[int(i)]) for i in columns["image"]]
    ended = labelnoise("predict", model, "split=val", *moved)
    assert "split=val: the run holds no images out (num_val=0)" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rate=0.2"], "noise.rate=0.2: the run of model=MODEL had 0.4"),
        (["noise=asym"], "noise=asymmetric: the run of model=MODEL had symmetric"),
        (["seed_noise=6"], "seed_noise=6: the run of model=MODEL had 5"),
        (["dataset=mnist"], "dataset=mnist: the run of model=MODEL had digits"),
        (["split=rest"], "split=rest: must be train, val or test"),
    ],
)
def test_other_options_than_the_runs_are_refused(arguments: list[str], said: str, model: str, labelnoise) -> None:
    ended = labelnoise("predict", f"model={model}", "split=train", *arguments)
    assert ended.code == 1
    assert ended.err.startswith("error: " + said.replace("MODEL", model))
    assert len(ended.err.strip().splitlines()) == 1


def test_labels_that_changed_are_refused(model: str, tmp_path: Path, labelnoise) -> None:
    """So is a network without its record."""
    copy = Path(shutil.copy(model, tmp_path))
    assert "needs the run's record" in labelnoise("predict", f"model={copy}", "split=train").err
    record = json.loads(Path(model).with_suffix(".json").read_text())
    record["noise"]["label_hash"] = "0" * 16
    copy.with_suffix(".json").write_text(json.dumps(record))
    ended = labelnoise("predict", f"model={copy}", "split=train", f"out={tmp_path / 'out.csv'}")
    assert ended.code == 1
    assert f"model={copy}: the labels have changed since its run" in ended.err
    assert not (tmp_path / "out.csv").exists()


def test_a_record_that_is_no_run_is_refused(model: str, tmp_path: Path, labelnoise) -> None:
    record = json.loads(Path(model).with_suffix(".json").read_text())
    for config in ({"dataset": 5}, {"dataset": {}, "noise": []}, {}):
        record |= {"config": config, "run_id": run_id(config)}
        (tmp_path / f"{record['run_id']}.json").write_text(json.dumps(record))
        with safe_open(model, framework="pt") as file:
            about = file.metadata() | {"run_id": record["run_id"]}
        save_file(load_file(model), tmp_path / "a.safetensors", about)
        ended = labelnoise("predict", f"model={tmp_path / 'a.safetensors'}", "split=train", "dataset=digits")
        assert ended.code == 1
        assert len(ended.err.strip().splitlines()) == 1, ended.err
        assert "the run of model=" in ended.err
