"""WebVision-mini, ILSVRC12's validation images and Clothing1M, on small trees laid out as the archives are."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from support.image_trees import image

from labelnoise.config.check import check
from labelnoise.config.identity import effective, run_id
from labelnoise.data.clothing1m import clothing1m
from labelnoise.data.webvision import webvision_mini
from labelnoise.experiment.run import compose, run, train
from labelnoise.networks.resnet50 import resnet50

IDS = [f"n{1440764 + i:08}" for i in range(60)]
GARMENTS = ["T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker"]
GARMENTS += ["Jacket", "Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear"]


@pytest.fixture(scope="module")
def webvision(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One image a class to train on and to test on, of 60 classes, of which 50 are taken."""
    root = tmp_path_factory.mktemp("data")
    home = root / "webvision"
    train, val = [], []
    for i, name in enumerate(IDS):
        train.append(f"google/q{i:04}/a.jpg {i}")
        val.append(f"val{i:06}.jpg {i}")
        image(home / f"google/q{i:04}/a.jpg", 4 * i, i)
        image(home / f"val_images_256/val{i:06}.jpg", 4 * i, i)
        image(root / "ilsvrc12" / "val" / name / "x.JPEG", 4 * i, i)
    (home / "info").mkdir()
    (home / "info/synsets.txt").write_text("".join(f"{name} a name, another\n" for name in IDS))
    (home / "info/train_filelist_google.txt").write_text("\n".join(train) + "\n")
    (home / "info/val_filelist.txt").write_text("\n".join(val) + "\n")
    return root


@pytest.fixture(scope="module")
def clothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    home = root / "clothing1m"
    lists: dict[str, list[str]] = {"noisy_train": [], "clean_val": [], "clean_test": []}
    labels: dict[str, list[str]] = {"noisy": [], "clean": []}
    for c in range(14):
        for keys, each in (("noisy_train", 2), ("clean_val", 1), ("clean_test", 1)):
            for i in range(each):
                path = f"images/{c % 10}/{c}/{keys}{i}.jpg"
                image(home / path, 15 * c, i)
                lists[keys].append(path)
                labels[keys.split("_")[0]].append(f"{path} {c}")
    labels["clean"].append("images/none/such.jpg 3")  # of a part that is not read
    for keys, lines in lists.items():
        (home / f"{keys}_key_list.txt").write_text("\n".join(lines))
    for kind, lines in labels.items():
        (home / f"{kind}_label_kv.txt").write_text("\n".join(lines))
    (home / "category_names_eng.txt").write_text("\n".join(GARMENTS))
    return root


@pytest.mark.parametrize("test", ["webvision", "ilsvrc12"])
def test_webvision_mini_is_the_first_fifty_classes(webvision: Path, test: str) -> None:
    data = webvision_mini(str(webvision), size=8, test=test)
    assert data.classes == tuple(IDS[:50])
    assert data.train_labels.tolist() == data.test_labels.tolist() == list(range(50))
    assert (data.true_labels, data.val_labels) == (None, None)
    for images in (data.train_images, data.test_images):
        shades = images.float().mean((1, 2, 3))
        assert shades.tolist() == pytest.approx([4 * i for i in range(50)], abs=8)
    assert data.mean == (0.485, 0.456, 0.406)


def test_clothing1m_has_noisy_and_clean_parts(clothing: Path) -> None:
    data = clothing1m(str(clothing), size=8)
    assert data.classes == tuple(GARMENTS)
    assert data.train_labels.bincount().tolist() == [2] * 14
    assert data.val_labels is not None
    assert data.val_images is not None
    for images, labels in ((data.val_images, data.val_labels), (data.test_images, data.test_labels)):
        assert torch.equal(labels.sort().values, torch.arange(14))
        assert images.float().mean((1, 2, 3)).tolist() == pytest.approx((15.0 * labels).tolist(), abs=8)


@pytest.mark.parametrize("name", ["webvision_mini", "clothing1m"])
def test_a_protocol_trains(name: str, request: pytest.FixtureRequest, tmp_path: Path, capsys) -> None:
    root = request.getfixturevalue("webvision" if name == "webvision_mini" else "clothing")
    short = ["epochs=1", "batch_size=16", "dataset.load.size=8", "network=cnn4", "~network.weights", "threads=1"]
    short = short if name == "clothing1m" else [o for o in short if o != "~network.weights"]
    record = run(compose([f"protocol={name}", f"data_dir={root}", f"results={tmp_path}", *short]))
    line = "\nvalidation: 14 images with the data set's own clean labels\n"
    assert (line in capsys.readouterr().out) == (name == "clothing1m")
    assert record["config"]["dataset"]["name"] == name
    assert record["noise"]["realised_rate"] is None
    assert ("val_acc" in record["history"]) == (name == "clothing1m")
    assert str(root) not in str(record["config"])


TRUSTING = ["dataset=clothing1m", "network=cnn4", "dataset.load.size=8", "epochs=1", "threads=1", "method=l2rw"]
TRUSTING += ["batch_size=4", "trusted_from=val"]


@pytest.mark.parametrize("trusted", [0, 6])
def test_a_clean_part_of_its_own_is_trusted(trusted: int, clothing: Path, tmp_path: Path, capsys) -> None:
    """The whole of it, or a part, and the rest validates; the training images stay what they are."""
    job = [*TRUSTING, f"num_trusted={trusted}", f"data_dir={clothing}", f"results={tmp_path}"]
    record, method, data, *_ = train(compose(job))
    assert len(method.train_set) == 28
    kept = method.train_set.trusted
    assert len(kept) == (trusted or 14)
    same = [data.val_images == kept.pixels(torch.tensor([i])) for i in range(len(kept))]
    found = [int(each.flatten(1).all(1).nonzero()) for each in same]
    assert len(set(found)) == len(found)
    assert torch.equal(data.val_labels[found], kept.labels), "with their clean labels"
    assert ("val_acc" in record["history"]) == bool(trusted)
    rest = "8 images with the data set's own clean labels" if trusted else "none, see num_val"
    line = f"trusted: {len(kept)} images of the data set's own clean part; validation: {rest}"
    assert line in capsys.readouterr().out
    assert record["config"]["trusted_from"] == "val"


def test_what_cannot_be_trusted_is_refused(clothing: Path, tmp_path: Path) -> None:
    job = [*TRUSTING, f"data_dir={clothing}", f"results={tmp_path}"]
    for change, said in (
        (["num_trusted=13"], "num_trusted=13: the validation part has 14 images; 0 trusts all of them"),
        (["trusted_from=train", "num_trusted=5"], "num_trusted=5: dataset=clothing1m has no true labels to trust; tr"),
        (["trusted_from=train", "num_trusted=0"], "num_trusted=0: method=l2rw needs images with true labels"),
        (["trusted_from=test"], "trusted_from=test: must be train or val"),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
            run(compose([*job, *change]))
    with pytest.raises(ValueError, match=r"^trusted_from=val: dataset=digits has no validation part"):
        run(compose(["dataset=digits", "trusted_from=val", "threads=1", f"results={tmp_path}"]))
    assert not list(tmp_path.glob("*.json"))


def test_protocols_are_the_papers() -> None:
    web, clothes = (compose([f"protocol={name}"]) for name in ("webvision_mini", "clothing1m"))
    for cfg in (web, clothes):
        check(cfg)
        assert cfg.network._target_.endswith("resnet50")
        assert (cfg.batch_size, cfg.optimizer.momentum) == (256, 0.9)
    assert (web.epochs, web.optimizer.lr, web.optimizer.weight_decay, web.clip_norm) == (250, 0.4, 3e-5, 5.0)
    assert (web.optimizer.nesterov, web.schedule.every, web.schedule.gamma) == (True, 1, 0.97)
    assert (clothes.epochs, clothes.optimizer.lr, clothes.optimizer.weight_decay) == (10, 5e-3, 1e-3)
    assert (clothes.clip_norm, clothes.schedule.every, clothes.schedule.gamma) == (None, 5, 0.1)
    assert clothes.network.weights == "IMAGENET1K_V1"


def test_the_id_is_that_of_the_content(webvision: Path, tmp_path: Path) -> None:
    def of(root: Path, *more: str) -> str:
        return run_id(effective(compose(["dataset=webvision_mini", f"data_dir={root}", *more])))

    before = of(webvision)
    copy = shutil.copytree(webvision, tmp_path / "data")
    assert of(copy) == before
    assert of(copy, "dataset.load.test=ilsvrc12") != before
    with (copy / "webvision/info/train_filelist_google.txt").open("a") as file:
        file.write("google/q0001/b.jpg 0\n")
    assert of(copy) != before


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda info: (info / "synsets.txt").unlink(), "synsets.txt cannot be read"),
        (lambda info: (info / "train_filelist_google.txt").write_text("a.jpg one"), "has the line 'a.jpg one', must"),
        (lambda info: (info / "val_filelist.txt").write_text(""), "has no images to test on"),
    ],
)
def test_damaged_lists_are_one_line(spoil, message: str, webvision: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(webvision, tmp_path / "data")
    spoil(copy / "webvision" / "info")
    with pytest.raises(ValueError, match=re.escape(message)):
        webvision_mini(str(copy), size=8)


def test_resnet50_refuses_weights_it_does_not_have() -> None:
    with pytest.raises(ValueError, match=r"network.weights=big: must be null or one of IMAGENET1K_V1"):
        resnet50(10, 3, 64, "big")
    with pytest.raises(ValueError, match="are for three channels, and the images have 1"):
        resnet50(10, 1, 64, "IMAGENET1K_V1")
