"""Folders as people have them: parts by any name, what tools leave, odd labels; and the lines that tell of it."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.command import Ended
from support.image_trees import image, table, tree

from labelnoise.data.dataset import Dataset
from labelnoise.data.folder import folder
from labelnoise.data.left_out import ENDINGS
from labelnoise.data.part_names import part_of

SHADES = {"cat": 60, "dog": 190}
SHORT = ("dataset=folder", "dataset.load.size=8", "network=cnn4", "epochs=1", "batch_size=4", "threads=1", "device=cpu")


def read(root: Path, **options: object) -> Dataset:
    return folder(str(root), size=8, **options)


def left(data: Dataset) -> str:
    return data.notices[1].removeprefix("folder: left out: ")


def sizes(data: Dataset) -> tuple[int, int, int]:
    val = 0 if data.val_labels is None else len(data.val_labels)
    return len(data.train_labels), val, len(data.test_labels)


# ------------------------------------------------------------------------------------------------------------- parts


@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("train", "train Train TRAIN training Training train_set TrainingSet train-images train2017 1_train trn"),
        ("val", "val Val valid VALID validation Validation dev Dev eval val_images val2017 validation_data"),
        ("test", "test Test TEST testing Testing test_set TestData test2 tst"),
        ("", "cat trains unlabelled extra contest latest detest values training_cats devon images set"),
    ],
)
def test_names_of_parts(part: str, names: str) -> None:
    assert {name: part_of(name) for name in names.split()} == dict.fromkeys(names.split(), part)


@pytest.mark.parametrize(
    "names", [("Training", "Testing", None), ("TRAIN", "TEST", "dev"), ("train_set", "test_set", "Validation")]
)
def test_parts_by_any_name(names: tuple[str, str, str | None], tmp_path: Path) -> None:
    for name, each in zip(names, (5, 2, 1), strict=True):
        if name:
            tree(tmp_path / name, SHADES, each)
    data = read(tmp_path)
    assert (data.classes, sizes(data)) == (("cat", "dog"), (10, 2 if names[2] else 0, 4))
    assert left(data) == "nothing"
    rows = [(p.relative_to(tmp_path).as_posix(), p.parent.name) for p in tmp_path.rglob("*.png")]
    table(tmp_path / "labels.csv", rows)
    assert sizes(read(tmp_path, labels="labels.csv")) == sizes(data)
    table(
        tmp_path / "split.csv", [(path, label, path.split("/")[0]) for path, label in rows], ("path", "label", "split")
    )
    assert sizes(read(tmp_path, labels="split.csv")) == sizes(data)


def test_a_part_whose_name_is_not_known_is_told(tmp_path: Path) -> None:
    for name, each in (("train", 5), ("test", 2), ("Pruefung", 3)):
        tree(tmp_path / name, SHADES, each)
    image(tmp_path / "dev" / "loose.png", 9)
    data = read(tmp_path)
    assert sizes(data) == (10, 0, 4)
    assert left(data) == (
        "6 images in Pruefung (not a name of train, val or test), 1 image in dev (has no class folders)"
    )
    shutil.rmtree(tmp_path / "test")
    with pytest.raises(ValueError, match=r"no images to test on.* \(left out: 6 images in Pruefung"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["Testing", "valid"])
def test_a_training_part_whose_name_is_not_known_is_refused(name: str, tmp_path: Path) -> None:
    tree(tmp_path / "Lernen", SHADES, 5)
    tree(tmp_path / name, SHADES, 5)
    with pytest.raises(ValueError, match=f"{name} and Lernen both have folders called cat, dog, so they look like"):
        read(tmp_path)


def test_two_folders_for_one_part_are_refused(tmp_path: Path) -> None:
    for name in ("train", "Training", "test"):
        tree(tmp_path / name, SHADES, 2)
    with pytest.raises(ValueError, match="Training and train are both names of the part train"):
        read(tmp_path)


def test_a_csv_that_mixes_parts_and_other_folders_is_refused(tmp_path: Path) -> None:
    for name in ("train", "test", "more"):
        tree(tmp_path / name, SHADES, 2)
    rows = [(p.relative_to(tmp_path).as_posix(), p.parent.name) for p in tmp_path.rglob("*.png")]
    table(tmp_path / "labels.csv", rows)
    with pytest.raises(ValueError, match=r"labels\.csv: lists 4 images in more, which is not a name of train, val"):
        read(tmp_path, labels="labels.csv")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    tree(tmp_path, {"train": 60, "test": 120, "bus": 190}, 5)
    data = read(tmp_path)
    assert data.classes == ("bus", "test", "train")
    rows = [(p.relative_to(tmp_path).as_posix(), p.parent.name) for p in tmp_path.rglob("*.png")]
    table(tmp_path / "labels.csv", rows)
    assert read(tmp_path, labels="labels.csv").paths == data.paths


def test_the_same_folders_in_every_class_are_warned_of(tmp_path: Path) -> None:
    for name, shade in SHADES.items():
        tree(tmp_path / name, {"one": shade, "two": shade}, 3)
    assert any("each of the classes cat, dog has the folders one, two" in line for line in read(tmp_path).notices)
    tree(tmp_path / "dog", {"three": 190}, 3)
    assert len(read(tmp_path).notices) == 2


# --------------------------------------------------------------------------------------------------------- left out

TOOLS = [
    ".ipynb_checkpoints",
    "@eaDir",
    "__MACOSX",
    ".Trash-1000",
    ".AppleDouble",
    "$RECYCLE.BIN",
    "#recycle",
]


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("where", ["", "train", "train/cat", "test/dog/deep"])
def test_folders_that_tools_leave_are_skipped_and_named(name: str, where: str, tmp_path: Path) -> None:
    tree(tmp_path / "train", SHADES, 5)
    tree(tmp_path / "test", SHADES, 2)
    image(tmp_path / "test/dog/deep/x.png", 190)
    before = read(tmp_path)
    assert left(before) == "nothing"
    for i in range(3):
        image(tmp_path / where / name / "inner" / f"{i}.png", 60)
    data = read(tmp_path)
    assert (data.classes, data.paths, sizes(data)) == (before.classes, before.paths, (10, 0, 5))
    assert left(data) == f"3 images in {Path(where, name)}"


def test_files_that_are_not_read_are_counted(tmp_path: Path) -> None:
    tree(tmp_path, SHADES, 5)
    for i in range(3):
        (tmp_path / "cat" / f"{i}.HEIC").write_bytes(b"x")
        (tmp_path / "dog" / f"._{i:03}.png").write_bytes(b"x")  # beside copies on a disk that is not a Mac's
    (tmp_path / "cat" / "README").write_text("x")
    image(tmp_path / "loose.png", 9)
    (tmp_path / "cat" / "more").symlink_to(tmp_path / "dog")
    (tmp_path / "emu").symlink_to(tmp_path / "nowhere")
    (tmp_path / "cat" / "000.png").write_bytes(b"x")
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(ValueError, match="more than 1%"):
        read(tmp_path)
    (tmp_path / "cat" / "000.png").unlink()
    assert sorted(left(read(tmp_path)).split(", ")) == [
        "1 file without an ending",
        "1 image beside the folders of data_dir",
        "3 files ._*",
        "3 files .heic",
        "the link cat/more",
        "the link emu",
    ]


def test_unreadable_images_are_in_the_line(tmp_path: Path) -> None:
    tree(tmp_path, SHADES, 60)
    (tmp_path / "cat" / "000.png").write_bytes(b"x")
    assert left(read(tmp_path)) == "1 image that cannot be read"


def test_images_that_a_csv_does_not_list_are_counted(tmp_path: Path) -> None:
    tree(tmp_path, SHADES, 5)
    table(tmp_path / "labels.csv", [(f"{name}/{i:03}.png", name) for name in SHADES for i in range(3)])
    data = read(tmp_path, labels="labels.csv")
    assert (sizes(data), left(data)) == ((4, 0, 2), "4 images that labels.csv does not list")


def test_every_ending_is_read(tmp_path: Path) -> None:
    """Each holds the same shade, so what Pillow writes under an ending is what it reads."""
    for ending in ENDINGS:
        for name, shade in SHADES.items():
            (tmp_path / name).mkdir(exist_ok=True)
            made = Image.new("1" if ending == ".pbm" else "RGB", (9, 9), 255 if ending == ".pbm" else (shade,) * 3)
            made.save(tmp_path / name / f"x{ending}", {".jfif": "JPEG", ".jpe": "JPEG"}.get(ending))
    data = read(tmp_path, test=0.01)
    assert sum(sizes(data)) == 2 * len(ENDINGS)
    assert left(data) == "nothing"
    for i, path in enumerate(data.paths or ()):
        shade = 255 if path.endswith(".pbm") else SHADES[path.split("/")[0]]
        assert np.abs(data.train_images[i].numpy().astype(int) - shade).max() <= 3, path


def test_flat_images_and_copies_in_the_test_part_are_counted(tmp_path: Path) -> None:
    tree(tmp_path / "train", {"cat": 60, "dog": 190}, 5)
    tree(tmp_path / "test", {"cat": 70, "dog": 200}, 2)
    tree(tmp_path / "dev", {"cat": 80, "dog": 210}, 2)
    assert "none of one flat colour; none byte-identical in training and test" in read(tmp_path).notices[0]
    shutil.copy(tmp_path / "train/cat/003.png", tmp_path / "test/cat/x.png")
    shutil.copy(tmp_path / "train/dog/001.png", tmp_path / "dev/cat/y.png")  # under another name and label
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "train/cat/flat.png")
    for stream in (False, True):
        assert read(tmp_path, stream=stream).notices[0] == (
            "folder: 2 classes with 5 (class dog) to 6 (class cat) images; "
            "11 training, 5 validation and 5 test images; 1 of one flat colour; "
            "2 byte-identical in training and test (train/cat/003.png is test/cat/x.png)"
        )


# ------------------------------------------------------------------------------------------------------- odd labels


@pytest.mark.parametrize(
    ("labels", "warning"),
    [
        (("cat", "nan"), "look like missing values, with their number of images: 'nan' (6)"),
        (("cat", "NA", "None"), "'NA' (4) and 'None' (4)"),
        (("N/A", "dog"), "'N/A' (6)"),
        (("cat", "Cat"), "differ only in case, spaces or .0, with their images: 'Cat' (6) and 'cat' (6)"),
        (("polar bear", "polar  Bear", "dog"), "'polar  Bear' (4) and 'polar bear' (4)"),
        (("1", "1.0", "2"), "'1' (4) and '1.0' (4)"),
        (("caf\u00e9", "cafe\u0301"), "'cafe\u0301' (6) and 'caf\u00e9' (6)"),
        (("cat", "dog", "1", "10", "1.5", "banana", "nano"), None),
    ],
)
def test_odd_labels_are_warned_of(labels: tuple[str, ...], warning: str | None, tmp_path: Path) -> None:
    rows = []
    for i in range(12 if warning else 14):
        image(tmp_path / f"{i}.png", 60, i)
        rows.append((f"{i}.png", labels[i % len(labels)]))
    table(tmp_path / "labels.csv", rows)
    told = read(tmp_path, labels="labels.csv").notices
    assert len(told) == (2 if warning is None else 3)
    assert warning is None or (told[2].startswith("warning: ") and warning in told[2])


def test_odd_class_folders_are_warned_of(tmp_path: Path) -> None:
    tree(tmp_path, {"cat": 60, "CAT": 90, "null": 190}, 3)
    told = read(tmp_path).notices
    assert "'null' (3)" in told[2]
    assert "'CAT' (3) and 'cat' (3)" in told[3]


# ---------------------------------------------------------------------------------------------------- not UTF-8

LATIN1 = os.fsdecode(b"caf\xe9")


@pytest.mark.parametrize("spoiled", ["file", "class", "part", "csv", "corrected", "classes"])
@pytest.mark.parametrize("word", ["train", "audit", "noise"])
def test_names_that_are_not_utf8_are_refused_before_training(
    spoiled: str, word: str, tmp_path: Path, labelnoise: Callable[..., Ended]
) -> None:
    root, options, shown = tmp_path / "images", [], "caf\\xe9"
    tree(root, SHADES, 5)
    if spoiled == "file":
        (root / "cat/000.png").rename(root / f"cat/{LATIN1}.png")
    elif spoiled == "class":
        (root / "cat").rename(root / LATIN1)
    elif spoiled == "part":
        tree(root / "train", SHADES, 3)
        tree(root / "test", SHADES, 3)
        (root / "test/cat").rename(root / "test" / LATIN1)
    elif spoiled == "classes":
        options = [f"dataset.load.classes=[cat,'{LATIN1}']"]
    else:
        rows = "".join(f"{name}/{i:03}.png,{name}\n" for name in SHADES for i in range(5)) + "cat/caf\xe9.png,cat\n"
        (root / "x.csv").write_bytes(b"path,label\n" + rows.encode("latin-1"))
        options, shown = (
            [f"dataset.load.{'labels' if spoiled == 'csv' else 'corrected'}=x.csv"],
            "x.csv: cannot be read",
        )
    out = [f"out={tmp_path / 'audit'}"] if word == "audit" else []
    ended = labelnoise(word, *SHORT, f"data_dir={root}", f"results={tmp_path / 'runs'}", *options, *out)
    assert (ended.code, len(ended.err.splitlines())) == (1, 1), ended
    assert shown in ended.err
    assert "is not UTF-8" in ended.err
    assert not list(tmp_path.rglob("audit.*")) + list(tmp_path.rglob("*.json"))


def test_folders_above_that_are_not_utf8_are_no_obstacle(tmp_path: Path, train: Callable[..., Ended]) -> None:
    tree(tmp_path / LATIN1 / "images", SHADES, 5)
    tree(tmp_path / LATIN1 / "images" / "cat" / f".{LATIN1}", SHADES, 1)
    ended = train(*SHORT, f"data_dir={tmp_path / LATIN1 / 'images'}", f"results={tmp_path / LATIN1 / 'runs'}")
    assert ended.code == 0, ended.err
    assert "left out: 2 images in cat/.caf\\xe9" in ended.out
    assert len(list((tmp_path / LATIN1 / "runs").glob("*.json"))) == 1


# --------------------------------------------------------------------------------------------------- where it is told


@pytest.mark.parametrize("word", ["train", "audit", "folds", "noise"])
def test_the_lines_come_before_training(word: str, tmp_path: Path, labelnoise: Callable[..., Ended]) -> None:
    root = tree(tmp_path / "images", SHADES, 6)
    image(root / "cat" / "@eaDir" / "x.png", 60)
    more = {"audit": ["loss=ce"], "folds": ["loss=ce", "folds=2"]}.get(word, [])
    more += [f"out={tmp_path / 'audit'}"] if more else []
    word = "audit" if word == "folds" else word
    ended = labelnoise(word, *SHORT, f"data_dir={root}", f"results={tmp_path / 'runs'}", *more)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    first = "folder: 2 classes with 5 images each; 10 training, 0 validation and 2 test images"
    (place,) = (i for i, line in enumerate(lines) if line.startswith(first))
    assert lines[place + 1] == "folder: left out: 1 image in cat/@eaDir"
    trained = [i for i, line in enumerate(lines) if line.startswith(("epoch", "test accuracy"))]
    assert all(place < i for i in trained)
    assert bool(trained) == (word != "noise")
