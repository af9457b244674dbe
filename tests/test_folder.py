"""Your own images: what is read from a folder, what is refused, and that a run's id is that of the content."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.command import Ended
from support.image_trees import image, table, tree

from labelnoise.config import identity
from labelnoise.data import decode
from labelnoise.data.folder import content, folder
from labelnoise.data.from_files import counted, mean_and_std
from labelnoise.experiment.metrics import validation_in_short
from labelnoise.experiment.run import compose
from labelnoise.records import store

SHADES = {"cat": 60, "dog": 190}
SHORT = ("dataset=folder", "dataset.load.size=8", "network=cnn4", "epochs=2", "batch_size=4", "threads=1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("images"), SHADES, 10)


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(made, tmp_path / "images")


def paths_and_labels(root: Path) -> list[tuple[str, ...]]:
    return sorted((p.relative_to(root).as_posix(), p.parent.name) for p in root.rglob("*.png"))


def test_pixels_labels_and_statistics_are_those_of_the_files(made: Path) -> None:
    data = folder(str(made), size=10)
    assert (data.classes, data.paths is not None and len(data.paths), data.true_labels) == (("cat", "dog"), 16, None)
    for i, path in enumerate(data.paths or ()):
        assert data.classes[data.train_labels[i]] == path.split("/")[0]
        pixels = np.asarray(Image.open(made / path))[:, 1:11]  # 12x10: its middle square
        assert np.array_equal(data.train_images[i].permute(1, 2, 0).numpy(), pixels)
    numbers = data.train_images.double() / 255
    assert data.mean == pytest.approx(numbers.mean((0, 2, 3)).tolist(), rel=1e-9)
    assert data.std == pytest.approx(numbers.std((0, 2, 3), correction=0).tolist(), rel=1e-9)


def test_a_made_split_is_stratified_seeded_and_whole(made: Path) -> None:
    one, again, other = (folder(str(made), size=8, split_seed=seed) for seed in (0, 0, 1))
    assert Counter(one.test_labels.tolist()) == {0: 2, 1: 2}
    assert one.paths == again.paths != other.paths
    assert len(set(one.paths or ())) == 16
    assert len(folder(str(made), size=8, test=0.5).test_labels) == 10


def test_grey_images_and_resizing(made: Path) -> None:
    data = folder(str(made), size=24, colour=False)
    assert data.train_images.shape == (16, 1, 24, 24)
    means = [float(data.train_images[data.train_labels == c].float().mean()) for c in (0, 1)]
    assert means == pytest.approx(list(SHADES.values()), abs=3)


def test_given_parts(tmp_path: Path) -> None:
    for part, each in (("train", 4), ("val", 1), ("test", 2)):
        tree(tmp_path / part, SHADES, each)
    data = folder(str(tmp_path), size=8)
    assert data.val_labels is not None
    assert (len(data.train_labels), len(data.val_labels), len(data.test_labels)) == (8, 2, 4)
    assert validation_in_short(data, 0) == "validation: 2 images with the data set's own labels, which may be wrong"
    other = "validation: 3 held-out images with their noisy labels, in place of the data set's own part"
    assert validation_in_short(data, 3) == other
    table(tmp_path / "true.csv", paths_and_labels(tmp_path))
    known = folder(str(tmp_path), size=8, corrected="true.csv")
    assert validation_in_short(known, 0) == "validation: 2 images with the data set's own clean labels"
    shutil.rmtree(tmp_path / "test")
    data = folder(str(tmp_path), size=8)  # then val is what it is tested on
    assert (len(data.train_labels), data.val_labels, len(data.test_labels)) == (8, None, 2)
    assert validation_in_short(data, 0) == ""


def test_a_csv_is_the_same_as_class_folders(own: Path) -> None:
    before = folder(str(own), size=8)
    table(own / "labels.csv", paths_and_labels(own))
    after = folder(str(own), size=8, labels="labels.csv")
    assert before.paths == after.paths
    assert torch.equal(before.train_images, after.train_images)
    assert torch.equal(before.train_labels, after.train_labels)


def test_a_csv_gives_the_parts(own: Path) -> None:
    rows = [(path, label, "test" if path.endswith("0.png") else "train") for path, label in paths_and_labels(own)]
    table(own / "labels.csv", rows, ("path", "label", "split"))
    data = folder(str(own), size=8, labels="labels.csv")
    assert (len(data.train_labels), data.test_labels.tolist()) == (18, [0, 1])


def test_corrected_labels_are_the_true_ones(own: Path) -> None:
    rows = paths_and_labels(own)
    table(own / "true.csv", rows)
    table(own / "given.csv", [(path, "dog" if path == "cat/003.png" else label) for path, label in rows])
    data = folder(str(own), size=8, labels="given.csv", corrected="true.csv", split_seed=3)
    wrong = [
        path for path, differs in zip(data.paths or (), data.train_labels != data.true_labels, strict=True) if differs
    ]
    assert wrong == ["cat/003.png"]


def test_numbers_are_sorted_by_value_and_classes_can_be_named(tmp_path: Path) -> None:
    tree(tmp_path, {"10": 10, "9": 200}, 3)
    assert folder(str(tmp_path), size=8).classes == ("9", "10")
    assert folder(str(tmp_path), size=8, classes=["10", "9"]).classes == ("10", "9")


def test_jpegs_turned_grey_and_palette_images_are_read(tmp_path: Path) -> None:
    for name, mode, ending in (("a", "RGB", "jpg"), ("b", "L", "png"), ("c", "P", "gif.png"), ("d", "CMYK", "jpeg")):
        for i in range(2):
            image(tmp_path / name / f"{i}.{ending}", 100, mode=mode)
    turned = Image.new("RGB", (20, 10))
    turned.paste((255, 255, 255), (0, 0, 5, 10))
    exif = turned.getexif()
    exif[0x0112] = 6  # the camera was turned: left is the top
    turned.save(tmp_path / "turned.png", exif=exif)
    pixels = decode.read_image(tmp_path / "turned.png", 10, True)
    assert not isinstance(pixels, str)
    assert folder(str(tmp_path), size=8).train_images.shape == (4, 3, 8, 8)
    assert np.array_equal(pixels, pixels[:, :1].repeat(10, axis=1))


def test_worker_processes_give_the_same(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [path for path, _ in paths_and_labels(made)] * 4
    alone = decode.decode(made, paths, 8, True)
    monkeypatch.setattr(decode, "FEW", 1)
    assert torch.equal(alone.images, decode.decode(made, paths, 8, True).images)


def test_few_unreadable_images_are_listed_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree(tmp_path, SHADES, 130)
    whole = (tmp_path / "cat" / "004.png").read_bytes()
    (tmp_path / "cat" / "004.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "dog" / "007.png").write_text("no image")
    data = folder(str(tmp_path), size=8, split_seed=1)
    said = capsys.readouterr().err
    assert "cat/004.png (" in said
    assert "dog/007.png (cannot identify image file" in said
    assert len(data.train_labels) + len(data.test_labels) == 258
    assert len(data.paths or ()) == len(data.train_images) == len(data.train_labels)
    assert all(data.classes[c] == path[:3] for c, path in zip(data.train_labels, data.paths or (), strict=True))


def _truncate(root: Path) -> None:
    for path in list(root.glob("cat/*.png"))[:3]:
        path.write_bytes(path.read_bytes()[:60])


def _csv(*rows: tuple[str, ...], columns: tuple[str, ...] = ("path", "label"), name: str = "labels.csv") -> Callable:
    return lambda root: table(root / name, [*paths_and_labels(root), *rows], columns)


BAD = {
    "no folder": (shutil.rmtree, (), "no such folder"),
    "no images": (lambda root: [shutil.rmtree(p) for p in root.iterdir()], (), "holds no images"),
    "one class": (lambda root: shutil.rmtree(root / "dog"), (), "has 1 class"),
    "an empty class": (lambda root: (root / "emu").mkdir(), (), "class emu: "),
    "too many truncated": (_truncate, (), "images cannot be read, more than 1%"),
    "no such csv": (lambda root: None, ("labels=labels.csv",), "cannot be read"),
    "a csv without the column": (
        _csv(columns=("path", "class")),
        ("labels=labels.csv",),
        "has no column label; its col",
    ),
    "a row without a label": (_csv(("cat/000.png", "")), ("labels=labels.csv",), "row 22 has no label"),
    "outside": (_csv(("../secret.png", "cat")), ("labels=labels.csv",), "../secret.png is outside the data folder"),
    "outside, absolute": (_csv(("/etc/a.png", "cat")), ("labels=labels.csv",), "is outside the data folder"),
    "a csv outside": (lambda root: None, ("labels=../labels.csv",), "is outside the data folder"),
    "a csv by its whole path": (lambda root: None, ("labels=/labels.csv",), "must be relative to data_dir="),
    "two labels": (_csv(("cat/000.png", "dog")), ("labels=labels.csv",), "cat/000.png: is listed twice, with labels"),
    "unknown label": (
        _csv(),
        ("labels=labels.csv", "classes=[cat,emu]"),
        "is not one of the classes cat, emu",
    ),
    "a class without images": (_csv(), ("labels=labels.csv", "classes=[cat,dog,emu]"), "class emu: has no training"),
    "missing files": (_csv(("cat/999.png", "cat")), ("labels=labels.csv",), "cat/999.png (no such file)"),
    "corrected for some": (
        lambda root: table(root / "true.csv", paths_and_labels(root)[:3]),
        ("corrected=true.csv",),
        "17 of 20 training images have no corrected label",
    ),
    "corrected to an unknown label": (
        lambda root: table(root / "true.csv", [(path, "emu") for path, _ in paths_and_labels(root)]),
        ("corrected=true.csv",),
        "has label 'emu'",
    ),
    "corrected of no image": (
        _csv(("cat/x.png", "cat"), name="true.csv"),
        ("corrected=true.csv",),
        "cat/x.png is not one of",
    ),
    "corrected twice": (_csv(("cat/000.png", "dog"), name="true.csv"), ("corrected=true.csv",), "has two labels"),
    "an unknown split": (
        lambda root: table(root / "labels.csv", [("cat/000.png", "cat", "more")], ("path", "label", "split")),
        ("labels=labels.csv",),
        "has split 'more', must be one of train, val, test",
    ),
    "size": (lambda root: None, ("size=4",), "dataset.load.size=4: must be a whole number from 8"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_before_training(
    case: str, own: Path, tmp_path: Path, train: Callable[..., Ended]
) -> None:
    spoil, options, message = BAD[case]
    spoil(own)
    given = [f"dataset.load.{option}" for option in options]
    ended = train(f"data_dir={own}", f"results={tmp_path / 'runs'}", *SHORT, *given)
    assert ended.code == 1
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not list(tmp_path.glob("runs/*.json"))


def test_a_folder_trains_from_the_command_line(own: Path, tmp_path: Path, train: Callable[..., Ended]) -> None:
    tree(own / "train", SHADES, 10)
    tree(own / "val", SHADES, 3)
    tree(own / "test", SHADES, 3)
    ended = train(f"data_dir={own}", f"results={tmp_path / 'runs'}", *SHORT)
    assert ended.code == 0, ended.err
    assert "how many are wrong is unknown" in ended.out
    (path,) = (tmp_path / "runs").glob("*.json")
    record = store.load(path)
    assert record["metrics"]["test_acc_last"] == 1
    assert record["history"]["val_acc"][-1] == 1
    assert str(own) not in path.read_text()


def run_id(root: Path, *options: str) -> str:
    return identity.run_id(identity.effective(compose([*SHORT, f"data_dir={root}", *options])))


def test_the_id_is_that_of_content_and_options_and_not_of_the_place(own: Path, tmp_path: Path) -> None:
    before = run_id(own)
    assert run_id(shutil.copytree(own, tmp_path / "elsewhere")) == before
    (own / "notes.txt").write_text("no image")
    assert run_id(own) == before
    assert run_id(own, "dataset.load.split_seed=1") != before
    table(own / "labels.csv", paths_and_labels(own))
    csv = run_id(own, "dataset.load.labels=labels.csv")
    table(
        own / "labels.csv",
        [(path, "dog") if path == "cat/000.png" else (path, label) for path, label in paths_and_labels(own)],
    )
    assert run_id(own, "dataset.load.labels=labels.csv") != csv
    image(own / "cat" / "new.png", 60)
    assert run_id(own) != before


def test_ids_change_only_where_pixels_are_read_as_they_were_not(own: Path) -> None:
    """Until deep and transparent pixels were read right, an id was the hash of names, sizes and labels alone."""

    def earlier() -> str:
        digest = hashlib.sha256(repr(("cat", "dog")).encode())
        for path in sorted(own.rglob("*.*")):
            name = path.relative_to(own).as_posix()
            digest.update(repr((name, name.split("/")[0], "", "", path.stat().st_size)).encode())
        return "sha256:" + digest.hexdigest()[:16]

    image(own / "cat" / "grey.png", 60, mode="L")
    image(own / "cat" / "photo.jpg", 60)
    (own / "cat" / "damaged.png").write_text("no image")
    assert content(str(own)) == earlier()
    for mode in ("RGBA", "LA", "I;16", "P"):
        made = Image.new(mode, (9, 9))
        made.save(own / "dog" / "new.png", transparency=0 if mode == "P" else None)
        assert content(str(own)) != earlier(), mode


def test_statistics_of_constant_images() -> None:
    assert mean_and_std(counted(torch.full((5, 1, 8, 8), 255, dtype=torch.uint8))) == ((1.0,), (1 / 255,))
