"""A user's mistake: one line that names option, value and what is allowed; exit code 1; no traceback; no record."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support.data import DATA, REPOSITORY, real

from labelnoise.cli.noise import noise
from labelnoise.data import mnist
from labelnoise.data.dataset import Dataset
from labelnoise.noise.given import from_file
from labelnoise.noise.human import human

DIGITS = ["dataset=digits", "epochs=1", "threads=1", "num_val=1300"]

MISTAKES = {
    "option": (["loss=agcee"], ["loss=agcee: no such option; one of", "agce", "nfl_rce"]),
    "no option": (["loss="], ["loss=: no such option; one of"]),
    "key": (["epoch=5"], ["epoch=5: no such option; did you mean epochs?"]),
    "group": (["los=ce"], ["los=ce: no such option; did you mean loss?"]),
    "nested key": (["loss=agce", "loss.b=1"], ["loss.b=1: no such option; loss=agce has a, q"]),
    "nested key of none": (["loss=ce", "loss.b=1"], ["loss.b=1: no such option; loss=ce has none"]),
    "key that is there": (
        ["+optimizer.nesterov=true"],
        ["+optimizer.nesterov=true: is an option already; change it without the plus, optimizer.nesterov=true"],
    ),
    "key to remove": (
        ["optimizer=sgd", "~optimizer.x"],
        ["~optimizer.x: no such option; optimizer=sgd has lr, momentum"],
    ),
    "added key": (["+foo=1"], ["foo=1: nothing reads this option"]),
    "added nested key": (["loss=agce", "+loss.b=1"], ["loss.b=1: no such option; loss has a, q"]),
    "added data set key": (["+dataset.foo=1"], ["dataset.foo=1: nothing reads this option"]),
    "added letter of a sum": (["loss=nce_agce", "+loss.zz=1"], ["loss.zz=1: no such hyper-parameter"]),
    "rate without noise": (["noise=clean", "rate=0.2"], ["rate=0.2: this noise has no rate", "noise=sym"]),
    "added rate without noise": (["noise=clean", "+rate=0.2"], ["rate=0.2: this noise has no rate"]),
    "no rate": (["noise=sym"], ["rate: this noise needs one, such as rate=0.4"]),
    "rate above 1": (["noise=sym", "rate=1.5"], ["rate=1.5: must be a number from 0 to 1"]),
    "rate below 0": (["noise=sym", "rate=-0.1"], ["rate=-0.1: must be a number from 0 to 1"]),
    "rate in words": (["noise=sym", "rate=lots"], ["rate=lots: must be a number from 0 to 1"]),
    "instance rate": (["noise=instance", "rate=0.01"], ["rate=0.01: must be a number from 0.05 to 0.9"]),
    "seed": (["seed=minus"], ["seed=minus: must be a whole number"]),
    "negative seed": (["seed=-1"], ["seed=-1: must be a whole number, at least 0"]),
    "fractional seed": (["seed_noise=1.5"], ["seed_noise=1.5: must be a whole number"]),
    "epochs": (["epochs=0"], ["epochs=0: must be a whole number, at least 1"]),
    "batch size": (["batch_size=0"], ["batch_size=0: must be a whole number, at least 2"]),
    "eval_every": (["eval_every=0"], ["eval_every=0: must be a whole number, at least 1"]),
    "threads": (["threads=0"], ["threads=0: must be auto or a whole number"]),
    "precision": (["precision=float16"], ["precision=float16: must be auto, float32 or bfloat16"]),
    "device": (["device=tpu"], ["device=tpu: must be auto, cpu, cuda or cuda:N"]),
    "absent device": (["device=cuda:63"], ["device=cuda:63: not there"]),
    "clip_norm": (["clip_norm=0"], ["clip_norm=0: must be a number above 0, or null"]),
    "switch": (["force=maybe"], ["force=maybe: must be true or false"]),
    "range": (["loss=agce", "loss.a=-1"], ["loss.a=-1: must be a number, at least 0"]),
    "range in a sum": (["loss=nce_aul", "loss.a=0.5"], ["loss.a=0.5: must be a number, at least 1"]),
    "number in words": (["loss=gce", "loss.q=abc"], ["loss.q=abc: must be a number"]),
    "optimizer": (["optimizer.lr=fast"], ["optimizer.lr=fast: must be a number"]),
    "untuned": (["loss=agce", "~tuned.loss.default"], ["loss.a: this loss has no value for dataset=digits", "mnist"]),
    "dashes": (["--loss=agce"], ["--loss=agce: options have no dashes; write loss=agce"]),
    "no value": (["loss"], ["loss: not of the form option=value"]),
    "timm": (["network=timm", "network.model=resnat18"], ["network.model=resnat18: timm has no such network"]),
    "timm without a name": (["network=timm"], ["network.model: needs a value"]),
    "human": (["noise=human", "noise.labels=worse"], ["noise=human: only for dataset=cifar10 and cifar100"]),
    "released noise": (["noise=sym_zhou2021", "rate=0.2"], ["noise=sym_zhou2021: the released code has mnist"]),
    "nothing left": (["num_val=1437"], ["num_val=1437 num_trusted=0: leave no training images of 1437"]),
    "tracker": (["tracker=wandb", "tracker.mode=loud"], ["tracker.mode=loud: must be offline, online or disabled"]),
    "diverged": (["optimizer.lr=1e9"], ["the loss is NaN or infinite at epoch 1, step "]),
    "ruined by the last step": (
        ["num_val=1420", "optimizer.lr=1e30", "clip_norm=null"],
        ["NaN or infinite after epoch 1"],
    ),
    "recipe": (["+recipe.foo=1"], ["recipe.foo=1: nothing reads this option"]),
    "an old name": (["regime.lr=0.5"], ["regime.lr=0.5: regime is called recipe now, recipe.lr=0.5"]),
    "an old name below": (["+tuned.regime.x=1"], ["tuned.regime is called tuned.recipe now, tuned.recipe.x=1"]),
    "a launcher that was removed": (["hydra/launcher=basic"], ["hydra/launcher=basic: was removed"]),
    "a value that is left out": (["loss=agce", "loss.a=auto"], ["loss.a=auto: must be a number; labelnoise losscheck"]),
    "card": (["loss=agce", "+tuned.loss.cifar10.zz=1"], ["tuned.loss.cifar10.zz=1: nothing reads this option"]),
    "a method's card": (
        ["method=elr", "+tuned.method.cifar10.asym.zz=1"],
        ["tuned.method.cifar10.asym.zz=1: nothing reads this option"],
    ),
    "a row that stands for none": (
        ["method=elr", "tuned.method.mnist=svhn"],
        ["tuned.method.svhn: no such row; one of default, mnist, cifar10"],
    ),
    "a strong view's value": (["strong.ops=99"], ["strong.ops=99: must be a whole number from 0 to 14"]),
    "a strong view": (["dataset.strong=foo"], ["dataset.strong=foo: must be a component"]),
    "trusted images' part": (["trusted_from=test"], ["trusted_from=test: must be train or val"]),
    "a row that is a number": (
        ["method=elr", "noise=asym", "rate=0.4", "tuned.method.cifar10.asym=3"],
        ["tuned.method.cifar10.asym=3: must be a mapping, or the name of a row beside it"],
    ),
    "a row that stands for itself": (
        ["loss=agce", "tuned.loss.default=default"],
        ["loss.a: tuned.loss.default: stands for itself"],
    ),
    "a row's value": (["loss=agce", "tuned.loss.cifar10.a=-1"], ["loss.a=-1: must be a number, at least 0"]),
    "kind of noise": (["tuned_kind=odd"], ["tuned_kind=odd: must be one of sym, asym, instance, human, or null"]),
    "infinite": (["clip_norm=inf"], ["clip_norm=inf: must be a finite number"]),
    "infinite rate": (["optimizer.lr=inf"], ["optimizer.lr=inf: must be a finite number"]),
    "removed": (["~loss"], ["loss: needs a value"]),
    "removed number": (["~epochs"], ["epochs: needs a value"]),
    "not a component": (["loss=nce_agce", "loss.first=abc"], ["loss.first=abc: must be a component"]),
    "not a list": (["schedule=multistep", "schedule.milestones=3"], ["schedule.milestones=3: must be a list"]),
    "not text": (["network=timm", "network.model=5"], ["network.model=5: must be text"]),
    "null": (["optimizer.lr=null"], ["optimizer.lr=null: must be a number"]),
    "list": (["optimizer.lr=[1]"], ["optimizer.lr=[1]: must be a number"]),
    "what run supplies": (["+noise.seed=3"], ["noise.seed=3: no such option"]),
    "target": (["loss._target_=foo.bar"], ["loss._target_=foo.bar: no such function"]),
    "overflow": (["loss=agce", "loss.q=2000"], ["loss: a parameter is too large"]),
    "negative rate": (["optimizer.lr=-1"], ["optimizer: Invalid learning rate"]),
    "false name": (["dataset.name=foo"], ["dataset.name=foo: is given by the data set, digits"]),
    "whole number": (["network=cnn4", "loss=agce", "dataset.augment=null", "seed=1.5"], ["seed=1.5: must be a whole"]),
    "flag": (["--resume"], ["--resume: no such flag"]),
    "table alone": (["table=digits"], ["table=digits: a table is many runs and needs -m"]),
    "several values": (["loss=ce,gce"], ["loss=ce,gce: several values need -m"]),
    "interpolation": (["epochs=${nowhere}"], ["nowhere"]),
    "loop": (["seed=${seed_noise}"], ["seed"]),
    "environment": (["data_dir=${oc.env:NO_SUCH_VARIABLE}"], ["NO_SUCH_VARIABLE"]),
    "noise.rate and rate": (["noise=sym", "noise.rate=0.2", "rate=0.2"], ["rate=0.2: noise.rate is given instead"]),
    "label file": (["noise=file", "noise.path=nowhere.npy"], ["noise.path=nowhere.npy: cannot be read"]),
}


def said_once(ended, *parts: str) -> None:
    # the line of a machine's first run is no answer to the mistake
    lines = [line for line in ended.err.strip().splitlines() if not line.startswith("compiling the fused CPU kernels")]
    assert ended.code == 1, ended
    assert len(lines) == 1, ended.err
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_one_line_and_no_record(mistake: str, train, tmp_path: Path) -> None:
    overrides, parts = MISTAKES[mistake]
    said_once(train(*DIGITS, f"results={tmp_path / 'results'}", *overrides), *parts)
    left = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert left == [], "a failed run left files"


def test_label_files(train, tmp_path: Path) -> None:
    for labels, said in (
        ([0] * 10, "has shape (10,), must be (1437,)"),
        ([10] * 1437, "has label 10, must be 0 to 9"),
    ):
        path = tmp_path / "labels.npy"
        np.save(path, np.array(labels))
        said_once(train(*DIGITS, f"results={tmp_path / 'r'}", "noise=file", f"noise.path={path}"), said, str(path))
        assert not list((tmp_path / "r").glob("*.json"))


@pytest.mark.parametrize("end", ["npy", "csv", "json"])
def test_what_is_no_file_is_no_label_file(train, tmp_path: Path, end: str) -> None:
    """A pipe that nobody writes to and a device without an end are not read."""
    pipe, folder, device = (tmp_path / f"{name}.{end}" for name in ("pipe", "folder", "device"))
    os.mkfifo(pipe)
    folder.mkdir()
    device.symlink_to("/dev/zero")
    for path, said in ((pipe, "is not a regular file"), (folder, "is a folder"), (device, "is not a regular file")):
        ended = train(*DIGITS, f"results={tmp_path / 'r'}", "noise=file", f"noise.path={path}")
        said_once(ended, f"noise.path={path}: {said}")
        assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("end", "content"),
    [
        ("npy", b""),
        ("npy", b"\x93NUMPY\x01\x00v\x00{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999,), }\n"),
        ("npy", b"\x93NUMPY\x01\x00\x04\x00{'a'"),
        ("csv", b"\xff\xfe"),
        ("csv", b"1\nx\n"),
        ("csv", b""),
        ("json", b"[" * 100_000),
        ("json", b"[1, [2]]"),
        ("json", b"[1e999]"),
        ("json", b"{}"),
    ],
)
def test_label_files_that_are_none(digits, tmp_path: Path, end: str, content: bytes) -> None:
    path = tmp_path / f"labels.{end}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^noise\.path={path}: ") as raised:
        from_file(digits, 1, str(path))
    assert "\n" not in str(raised.value)


def test_a_pickle_is_no_label_file(digits, tmp_path: Path) -> None:
    """The message does not suggest how to load the file anyway."""
    path = tmp_path / "labels.npy"
    np.save(path, np.array([{}] * 1437), allow_pickle=True)
    with pytest.raises(ValueError, match="it is not an array of numbers") as raised:
        from_file(digits, 1, str(path))
    assert "allow_pickle" not in str(raised.value)


@pytest.mark.parametrize("how", ["empty", "text", "cut", "a pickle", "a list", "floats", "few"])
def test_a_cifar_n_file_that_is_none(tmp_path: Path, how: str) -> None:
    facts = digits_like("cifar10")
    whole = {"clean_label": facts.train_labels.numpy(), "worse_label": facts.train_labels.numpy()}
    path = tmp_path / "cifar-n" / "CIFAR-10_human.pt"
    path.parent.mkdir()
    torch.save(whole, path)
    assert torch.equal(human(facts, 1, "worse", str(tmp_path)), facts.train_labels)
    content = path.read_bytes()
    if how in ("empty", "text", "cut"):
        path.write_bytes({"empty": b"", "text": b"no labels", "cut": content[: len(content) // 2]}[how])
    else:
        torch.save(
            {
                "a pickle": Path("x"),
                "a list": [1],
                "floats": {key: value + 0.5 for key, value in whole.items()},
                "few": {key: value[:5] for key, value in whole.items()},
            }[how],
            path,
        )
    with pytest.raises(ValueError, match=rf"^noise=human: {path} is damaged") as raised:
        human(facts, 1, "worse", str(tmp_path))
    assert "\n" not in str(raised.value)
    assert "weights_only" not in str(raised.value)


def digits_like(name: str) -> SimpleNamespace:
    labels = torch.arange(30) % 10
    return SimpleNamespace(name=name, num_classes=10, train_labels=labels, true_labels=labels)


def test_results_that_are_a_file(train, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    said_once(train(*DIGITS, f"results={tmp_path / 'taken'}"), "results=", "cannot be written")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere; the case above covers the message")
def test_results_without_permission(train, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    said_once(train(*DIGITS, f"results={tmp_path}"), "results=", "cannot be written")


@pytest.fixture
def small_disk(tmp_path: Path):
    """A disk of 200 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(train, small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 180_000)
    said_once(train(*DIGITS, f"results={small_disk}"), f"results={small_disk}", "No space left on device")
    assert [p.name for p in small_disk.iterdir()] == ["filler"]
    (small_disk / "filler").unlink()
    assert train(*DIGITS, f"results={small_disk}").code == 0, "going on works once there is space"


def test_disk_that_fills_while_training(train, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("labelnoise.records.store.write", full)
    said_once(train(*DIGITS, f"results={tmp_path}"), "No space left on device")
    assert [path.suffix for path in tmp_path.iterdir()] == [".checkpoint"]
    monkeypatch.undo()
    monkeypatch.setattr("labelnoise.training.loop.train_epoch", lambda *_: pytest.fail("trained again"))
    assert train(*DIGITS, f"results={tmp_path}").code == 0, "with space again only the record is left to write"
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_missing_data(train, tmp_path: Path) -> None:
    for name in ("cifar10", "cifar100", "mnist", "fashion_mnist"):
        ended = train(f"dataset={name}", f"data_dir={tmp_path / 'none'}", f"results={tmp_path / 'r'}", "epochs=1")
        # torchvision may print its own progress before it gives up; ours is the last line
        last = ended.err.strip().splitlines()[-1]
        assert ended.code == 1
        assert last.startswith(f"error: dataset={name}: not found in data_dir={tmp_path / 'none'}")
        assert "LABELNOISE_DATA" in last
        assert not (tmp_path / "none").exists()
        assert "Traceback" not in ended.err


@real("cifar10", "mnist")
@pytest.mark.parametrize(
    ("name", "file"), [("cifar10", "cifar-10-batches-py/data_batch_3"), ("mnist", "MNIST/raw/t10k-images-idx3-ubyte")]
)
@pytest.mark.parametrize("how", ["truncated", "altered"])
def test_damaged_data(train, tmp_path: Path, name: str, file: str, how: str) -> None:
    for path in (DATA / Path(file).parent).iterdir():
        (tmp_path / Path(file).parent).mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy(path, tmp_path / Path(file).parent / path.name)
    target = tmp_path / file
    content = bytearray(target.read_bytes())
    target.unlink()
    content[5000] ^= 1
    target.write_bytes(bytes(content[:50_000]) if how == "truncated" else bytes(content))
    ended = train(f"dataset={name}", f"data_dir={tmp_path}", f"results={tmp_path / 'r'}", "epochs=1")
    assert ended.code == 1
    assert f"error: dataset={name}: {target} is damaged" in ended.err
    assert not list((tmp_path / "r").glob("*.json"))


@pytest.mark.parametrize("overrides", [["loss=agcee"], ["noise=sym", "rate=2", "dataset=digits"]])
def test_through_the_shell(overrides: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "train.py"), *overrides], cwd=tmp_path, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: " + overrides[-1 if len(overrides) == 1 else 1])
    assert list(tmp_path.iterdir()) == []


@real("mnist")
def test_mnists_files_are_not_fashion_mnists(train, tmp_path: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (DATA / "MNIST" / "raw").iterdir():
        (raw / path.name).symlink_to(path)
    ended = train("dataset=fashion_mnist", f"data_dir={tmp_path}", f"results={tmp_path / 'r'}", "epochs=1")
    assert ended.code == 1
    assert f"error: dataset=fashion_mnist: {raw / 'train-images-idx3-ubyte'} is MNIST's file" in ended.err


def test_other_pixels_are_not_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (60, 28, 28), generator=generator, dtype=torch.uint8)
    pixels = images.double() / 255
    mean, std = float(pixels.mean()), float(pixels.std(unbiased=False))
    mnist.check_pixels("fashion_mnist", Path("raw"), images, mean, std)
    for wrong in ((mean + 0.003, std), (mean, std - 0.003)):
        with pytest.raises(ValueError, match=r"^dataset=fashion_mnist: raw holds other images"):
            mnist.check_pixels("fashion_mnist", Path("raw"), images, *wrong)


@real("cifar10")
@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_the_classes_names_of_cifar(train, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for path in (DATA / "cifar-10-batches-py").iterdir():
        (folder / path.name).symlink_to(path)
    meta = folder / "batches.meta"
    meta.unlink()
    if how == "damaged":
        meta.write_bytes(b"x")
    ended = train("dataset=cifar10", f"data_dir={tmp_path}", f"results={tmp_path / 'r'}", "epochs=1")
    assert ended.code == 1
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith(f"error: dataset=cifar10: {meta} is {how}")
    assert "download=True" not in last


def test_the_noise_of_many_classes_is_a_summary(labelnoise, monkeypatch, tmp_path: Path) -> None:
    """A hundred classes: no wall of numbers, and the matrix as a file."""
    labels = torch.arange(1000) % 100
    made = Dataset(
        name="many",
        train_images=torch.zeros(1000, 1, 8, 8, dtype=torch.uint8),
        train_labels=labels,
        test_images=torch.zeros(100, 1, 8, 8, dtype=torch.uint8),
        test_labels=torch.arange(100),
        classes=tuple(f"class{c}" for c in range(100)),
        mean=(0.5,),
        std=(0.5,),
        true_labels=labels,
    )
    monkeypatch.setattr("labelnoise.experiment.assemble.load", lambda _: made)
    out = tmp_path / "matrix.csv"
    ended = labelnoise("noise", "dataset=digits", "dataset.name=many", "noise=pairflip", "rate=0.4", f"out={out}")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) < 200
    assert "0.400  0 class0  1 class1" in ended.out
    assert "each class gets 1 to 1 other labels" in ended.out
    rows = [line.split(",") for line in out.read_text().splitlines()]
    assert (len(rows), rows[5][0], rows[0][5]) == (101, "class4", "class4")
    assert np.array(rows)[1:, 1:].astype(float).sum(axis=1) == pytest.approx(1)


def test_noise_mistakes(capsys, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out=labels\.txt: must end in \.npy"):
        noise(["dataset=digits", "out=labels.txt"])
    with pytest.raises(ValueError, match="no such option; one of"):
        noise(["noise=uniform"])
    out = tmp_path / "l.npy"
    noise(["dataset=digits", "noise=asym", "rate=0.4", f"out={out}"])
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["rate"] == 0.4
    assert line["transition"][3][8] == pytest.approx(0.4, abs=0.01)
    assert sum(line["transition"][3]) == pytest.approx(1)
    noise(["dataset=digits", "noise=file", f"noise.path={out}"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["label_hash"] == line["label_hash"]
