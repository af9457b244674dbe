"""A long tail (dataset.imbalance): published sizes, which images, before which noise, runs of the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import made_up
from support.command import Ended, stop_at
from support.configs import composed, every
from support.data import real
from support.image_trees import tree

from labelnoise.config import identity
from labelnoise.config.check import check
from labelnoise.data.dataset import Dataset
from labelnoise.data.fields import refuse_fields
from labelnoise.data.folder import folder
from labelnoise.data.long_tail import class_sizes, long_tail, tail_sizes, tailed
from labelnoise.data.split import split
from labelnoise.data.streamed import StreamedImages
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.parts import divide
from labelnoise.experiment.run import compose, run
from labelnoise.report.commands import command_of
from labelnoise.training import checkpoints, signals

SHORT = ("dataset=digits", "epochs=2", "threads=1", "precision=float32")
NOISY = ("noise=sym", "rate=0.4")


# --------------------------------------------------------------------------------------------------------------- sizes


def test_the_sizes_of_cifar_in_the_literature() -> None:
    """Listed, and as totals, by the papers on CIFAR-10-LT and CIFAR-100-LT."""
    assert tail_sizes(5000, 10, 100) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert tail_sizes(5000, 10, 10) == [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]
    totals = {(10, 10): 20_431, (10, 50): 13_996, (10, 100): 12_406, (100, 10): 19_573, (100, 100): 10_847}
    assert {case: sum(tail_sizes(50_000 // case[0], *case)) for case in totals} == totals


@settings(max_examples=100, deadline=None)
@given(imbalance=st.floats(1, 500), classes=st.integers(2, 100), largest=st.integers(500, 9_000))
def test_the_sizes_of_the_released_code(imbalance: float, classes: int, largest: int) -> None:
    """int(img_max * imb_factor ** (c / (C - 1))), but for whole numbers that it misses by rounding."""
    exact = [largest * (1 / imbalance) ** (c / (classes - 1.0)) for c in range(classes)]
    sizes = tail_sizes(largest, classes, imbalance)
    assert [int(number + 1e-9) for number in exact] == sizes or sizes == [int(number) for number in exact]
    assert sizes[0] == largest
    assert sizes == sorted(sizes, reverse=True)


def test_a_last_class_of_one_image_is_not_rounded_away() -> None:
    assert 49 * (1 / 49) < 1
    assert [tail_sizes(n, 10, n)[-1] for n in range(2, 300)] == [1] * 298


# -------------------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize(
    "name",
    [
        "digits",
        *(
            pytest.param(name, marks=[real(name), pytest.mark.slow])
            for name in ("mnist", "fashion_mnist", "cifar10", "cifar100")
        ),
    ],
)
def test_a_tail_of_a_data_set(name: str) -> None:
    whole, _ = load_noisy(composed(f"dataset={name}"))
    before = class_sizes(whole)
    for imbalance in (1.5, 10, 100):
        tail = long_tail(whole, imbalance, 3)
        refuse_fields(tail, name)
        sizes = [min(*of) for of in zip(before, tail_sizes(max(before), whole.num_classes, imbalance), strict=True)]
        assert tail.true_labels.bincount().tolist() == class_sizes(tail) == sizes
        assert torch.equal(tail.train_images[::20], whole.train_images[tail.kept[::20]])
        assert torch.equal(tail.true_labels, whole.true_labels[tail.kept])
        assert torch.equal(tail.train_labels, whole.train_labels[tail.kept])
        for field in ("name", "test_images", "test_labels", "classes", "mean", "std", "mistaken_for", "superclass"):
            assert getattr(tail, field) is getattr(whole, field), field


def test_which_images(digits: Dataset) -> None:
    """The same for a seed, others for another, spread over the data set; a longer tail is a part of a shorter one."""
    of = {(i, s): long_tail(digits, i, s).kept for i in (2, 10, 100) for s in (1, 2)}
    assert torch.equal(of[10, 1], long_tail(digits, 10, 1).kept)
    assert not torch.equal(of[10, 1], of[10, 2])
    assert set(of[100, 1].tolist()) < set(of[10, 1].tolist()) < set(of[2, 1].tolist())
    last = of[2, 1][digits.true_labels[of[2, 1]] == 9].double()
    assert abs(last.mean() / len(digits.true_labels) - 0.5) < 0.1
    for imbalance in (None, 1, 1.0):
        assert long_tail(digits, imbalance, 1) is digits


def test_given_labels_make_the_tail_where_the_true_ones_are_unknown(tmp_path: Path) -> None:
    """Of a folder, in memory and streamed."""
    tree(tmp_path, {"cat": 60, "dog": 190, "emu": 250}, 20)
    held, streamed = (tailed(lambda s=s: folder(str(tmp_path), size=8, stream=s), 4, 1) for s in (False, True))
    assert held.true_labels is None
    assert class_sizes(held) == tail_sizes(16, 3, 4) == [16, 8, 4]
    assert isinstance(streamed.train_images, StreamedImages)
    assert streamed.train_images.shape == held.train_images.shape == (28, 3, 8, 8)
    whole = folder(str(tmp_path), size=8)
    assert held.paths == streamed.paths == tuple(whole.paths[i] for i in held.kept.tolist())
    assert len(held.test_labels) == len(whole.test_labels)


# --------------------------------------------------------------------------------------------------------------- noise


@pytest.mark.parametrize("noise", ["sym", "asym", "pairflip"])
def test_the_noise_comes_after_the_tail(noise: str) -> None:
    """The rate holds in each class of the tail, which a tail of a noisy data set would miss."""
    cfg = composed("dataset=digits", f"noise={noise}", "rate=0.4", "dataset.imbalance=10", "seed=4")
    tail, labels = load_noisy(cfg)
    sizes = torch.tensor(class_sizes(tail))
    moving = torch.ones(10) if noise != "asym" else (tail.mistaken_for != torch.arange(10)).float()
    flipped = tail.true_labels[labels != tail.true_labels].bincount(minlength=10)
    assert ((flipped - moving * 0.4 * sizes).abs() <= 1).all()
    assert abs(int(flipped.sum()) - float((moving * 0.4 * sizes).sum())) <= 2


@pytest.mark.parametrize("noise", every("noise"))
def test_every_noise_with_a_tail(noise: str, tmp_path: Path) -> None:
    """Or it says in a line that it cannot."""
    np.save(tmp_path / "labels.npy", np.arange(1437) % 10)
    more = {"file": [f"noise.path={tmp_path / 'labels.npy'}"], "human": ["noise.labels=worse"]}.get(noise, [])
    rate = [] if noise in ("clean", "given", "file", "human") else ["rate=0.4"]
    cfg = compose(["dataset=digits", f"noise={noise}", "dataset.imbalance=30", *rate, *more])
    if noise == "human" or noise.endswith("zhou2021"):
        with pytest.raises(ValueError, match="not digits"):
            load_noisy(cfg)
        return
    tail, labels = load_noisy(cfg, imprecise=noise == "imprecise")
    assert len(labels) == len(tail.train_labels) == sum(tail_sizes(146, 10, 30)) - 4  # class 0 has 142
    if noise == "file":
        assert torch.equal(labels, tail.kept % 10), "the file's labels of the images that are kept"


@pytest.mark.slow
@real("cifar10")
def test_the_released_noise_says_when_a_class_is_too_small() -> None:
    tail = ("dataset=cifar10", "rate=0.4", "dataset.imbalance=100")
    with pytest.raises(ValueError, match=r"^noise=sym_zhou2021: the released code flips 496 labels of each class, and"):
        load_noisy(composed(*tail, "noise=sym_zhou2021"))
    dataset, labels = load_noisy(composed(*tail, "noise=asym_zhou2021"))
    assert int((labels != dataset.true_labels)[dataset.true_labels == 2].sum()) == int(0.4 * 1796)


@pytest.mark.slow
@real("cifar10", "cifar-n")
def test_human_labels_of_a_tail() -> None:
    human = ("dataset=cifar10", "noise=human", "noise.labels=worse")
    _, whole = load_noisy(composed(*human))
    tail, labels = load_noisy(composed(*human, "dataset.imbalance=50"))
    assert torch.equal(labels, whole[tail.kept])
    assert class_sizes(tail) == tail_sizes(5000, 10, 50)


# --------------------------------------------------------------------------------------------------------------- parts


def test_trusted_images_are_set_aside_before_the_tail(digits: Dataset) -> None:
    """Ten of each class, where the tail has one image of the last; held-out images are of the tail."""
    cfg = compose([*SHORT, *NOISY, "dataset.imbalance=100", "num_trusted=100", "num_val=30", "seed=2"])
    tail, labels = load_noisy(cfg)
    assert class_sizes(tail) == [min(*of) for of in zip(_without(digits, 10), tail_sizes(136, 10, 100), strict=True)]
    train_set, evaluation = divide(cfg, tail, labels, torch.Generator().manual_seed(1), None, None)
    assert train_set.trusted is not None
    assert train_set.trusted.labels.bincount().tolist() == [10] * 10, "true labels"
    assert (len(train_set), len(evaluation.val.labels)) == (len(labels) - 30, 30)
    marked = digits._replace(train_images=torch.arange(1437)[:, None, None, None].expand(-1, 1, 2, 1).clone())
    apart = long_tail(marked, 100, 2, split(digits.true_labels, 0, 100, 2)[2])
    assert torch.equal(apart.kept, tail.kept)
    assert not set(apart.trusted_images.flatten().tolist()) & set(apart.kept.tolist())


def _without(dataset: Dataset, trusted: int) -> list[int]:
    return [size - trusted for size in class_sizes(dataset)]


# ------------------------------------------------------------------------------------------------------ configurations


@pytest.mark.parametrize("name", every("dataset"))
def test_every_data_set_has_the_option(name: str) -> None:
    assert composed(f"dataset={name}").dataset.imbalance is None
    more = ["features=a.npz"] if name == "features" else []
    check(composed(f"dataset={name}", "dataset.imbalance=10", *more))


def test_the_id() -> None:
    """That of the plain run at null and at 1, another one at any other value."""

    def named(*overrides: str) -> str:
        return identity.run_id(identity.effective(composed("dataset=digits", *overrides)))

    config = identity.effective(composed("dataset=digits"))
    del config["dataset"]["imbalance"]  # as in the records of earlier versions
    assert identity.run_id(config) == named()
    assert {named(f"dataset.imbalance={value}") for value in ("null", 1, 1.0)} == {named()}
    assert named("dataset.imbalance=10") == named("dataset.imbalance=10.0")
    assert len({named(f"dataset.imbalance={value}") for value in (1, 1.5, 10, 100)}) == 4


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("0.5", "must be a number, at least 1, or null"),
        ("long", "must be a number, at least 1, or null"),
        ("true", "must be a number, at least 1, or null"),
        ("nan", "must be a number, at least 1, or null"),
        (
            "147",
            "must be at most 146 for dataset=digits, the images of its largest class",
        ),
    ],
)
def test_values_that_are_refused(value: str, reason: str, train: Callable[..., Ended], tmp_path: Path) -> None:
    ended = train(*SHORT, f"dataset.imbalance={value}", f"results={tmp_path / 'runs'}")
    assert (ended.code, ended.out.strip()) == (1, "")
    assert ended.err.startswith(f"error: dataset.imbalance={value}: {reason}")
    assert len(ended.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


# ---------------------------------------------------------------------------------------------------- the command line


def test_a_run(train: Callable[..., Ended], labelnoise: Callable[..., Ended], tmp_path: Path) -> None:
    """The line before training, the record, the command that repeats it, and the images it was trained on."""
    tail = (*SHORT, *NOISY, "dataset.imbalance=10", "num_val=40", f"results={tmp_path}")
    ended = train(*tail, "save_model=true", "record_predictions=true")
    sizes = [142, 113, 87, 67, 52, 40, 31, 24, 18, 14]
    line = f"long tail of imbalance 10: 588 of 1,437 training images, by class {', '.join(map(str, sizes))}"
    assert ended.out.splitlines()[0] == line
    record = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert record["noise"]["class_sizes"] == [sum(row) for row in record["noise"]["transition"]] == sizes
    assert sum(map(sum, record["metrics"]["confusion"])) == 360, "the test part is whole"
    assert "dataset.imbalance=10" in command_of(record)
    assert "is done already" in train(*tail).out
    repeated = train(*command_of(record), f"results={tmp_path}")
    assert f"run {record['run_id']} is done already" in repeated.out

    model = tmp_path / f"{record['run_id']}.safetensors"
    asked = labelnoise("predict", f"model={model}", "split=train", f"out={tmp_path / 'out.csv'}", "threads=1")
    assert asked.code == 0, asked
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    whole, _ = load_noisy(composed("dataset=digits"))
    numbers = torch.tensor([int(row["image"]) for row in rows])
    assert len(numbers) == 548
    assert whole.true_labels[numbers].tolist() == [int(row["true"]) for row in rows]
    assert np.load(tmp_path / f"{record['run_id']}.npz")["index"].tolist() == numbers.tolist()
    other = labelnoise("predict", f"model={model}", "split=train", "dataset.imbalance=20")
    assert other.code == 1
    assert other.err.startswith("error: dataset.imbalance=20: the run of model=")


def test_a_file_of_noisy_labels_has_the_whole_data_set(labelnoise: Callable[..., Ended], tmp_path: Path) -> None:
    tail, path = ("noise", "dataset=digits", "dataset.imbalance=20"), tmp_path / "labels.npy"
    made = labelnoise(*tail, *NOISY, f"out={path}")
    assert len(np.load(path)) == 1437
    read = labelnoise(*tail, "noise=file", f"noise.path={path}")
    assert json.loads(read.out.splitlines()[-1])["label_hash"] == json.loads(made.out.splitlines()[-1])["label_hash"]


def test_a_run_without_a_tail_has_nothing_of_it(train: Callable[..., Ended], tmp_path: Path) -> None:
    """And imbalance=1 is that run."""
    plain = (*SHORT, "epochs=1", "num_val=1300", f"results={tmp_path}")
    assert "long tail" not in train(*plain).out
    assert "class_sizes" not in json.loads(next(tmp_path.glob("*.json")).read_text())["noise"]
    assert "is done already" in train(*plain, "dataset.imbalance=1").out


def test_it_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped run ends as one that was not, with the same images and labels."""
    overrides = [*SHORT, *NOISY, "dataset.imbalance=100", "batch_size=64"]
    whole = run(compose([*overrides, f"results={tmp_path}/whole"]), quiet=True)
    monkeypatch.setattr(checkpoints, "AT_LEAST", 0.0)
    stop_at(4, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(compose([*overrides, f"results={tmp_path}"]), quiet=True)
    monkeypatch.undo()
    again = run(compose([*overrides, f"results={tmp_path}"]), quiet=True)
    assert again["environment"]["resumed"] == 1
    for part in ("run_id", "noise", "metrics", "history"):
        assert again[part] == whole[part], part


@pytest.mark.parametrize("folds", [0, 3])
def test_an_audit_of_a_tail(folds: int, labelnoise: Callable[..., Ended], tmp_path: Path) -> None:
    """Every image of the tail, by its number in the data set; folds are those of the tail."""
    tail = (*SHORT, *NOISY, "dataset.imbalance=100", "loss=ce", "epochs=1", "batch_size=64")
    ended = labelnoise("audit", *tail, f"folds={folds}", "show=3", f"out={tmp_path}")
    assert ended.code == 0, ended
    dataset, labels = load_noisy(composed("dataset=digits", *NOISY, "dataset.imbalance=100"))
    rows = sorted(csv.DictReader((tmp_path / "audit.csv").open()), key=lambda row: int(row["path"]))
    assert [int(row["path"]) for row in rows] == dataset.kept.tolist()
    assert [int(row["given"]) for row in rows] == labels.tolist()


def test_summaries_do_not_compare_tails(labelnoise: Callable[..., Ended], tmp_path: Path) -> None:
    """Another imbalance is another task."""
    for imbalance, accuracy in ((1, 0.9), (10, 0.75)):
        for loss in ("ce", "gce"):
            overrides = ["dataset=digits", *NOISY, f"loss={loss}", f"dataset.imbalance={imbalance}"]
            made_up.write(tmp_path, overrides, accuracy - 0.1 * (loss == "ce"))
    shown = labelnoise("summary", tmp_path, "metric=test_acc_last").out
    assert shown.count("**") == 4
    assert "**90.00" in shown
    assert "**75.00" in shown
    assert "dataset.imbalance" in shown


@pytest.mark.slow
@pytest.mark.parametrize("method", every("method"))
def test_every_method_with_a_tail(method: str, train: Callable[..., Ended], tmp_path: Path) -> None:
    """Few images of the last classes, and trusted ones where a method needs some."""
    tail = ("dataset.imbalance=50", "num_trusted=50")
    ended = train(*SHORT, *NOISY, f"method={method}", *tail, f"results={tmp_path}")
    assert ended.code == 0, ended
