"""dataset=features: files of vectors, tables and images, the noise on them, and one line for every mistake."""

import json
import lzma
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.data import REPOSITORY

from labelnoise.config import identity
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.run import compose
from labelnoise.features.load import features
from labelnoise.features.tables import as_features

pytestmark = pytest.mark.usefixtures("one_thread")


def made_up(count: int = 120, width: int = 6, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around their class's centre, on scales that differ by column; class numbers."""
    random = np.random.RandomState(0)
    labels = np.arange(count) % classes
    vectors = 4 * np.eye(classes, width)[labels] + random.standard_normal((count, width))
    return (vectors * 10.0 ** np.arange(width) + 5).astype(np.float32), labels


def npz(path: Path, **arrays: object) -> str:
    np.savez(path, **arrays)
    return str(path)


@pytest.fixture
def file(tmp_path: Path) -> str:
    vectors, labels = made_up()
    return npz(tmp_path / "a.npz", features=vectors, labels=labels, true_labels=labels)


def test_vectors_are_standardised_by_the_training_part(file: str) -> None:
    data = features(file)
    assert data.train_images.dtype == torch.float32
    assert (len(data.train_labels), len(data.test_labels), data.classes) == (96, 24, ("0", "1", "2"))
    train = data.train_images.double()
    torch.testing.assert_close(torch.tensor(data.mean).double(), train.mean(dim=0))
    torch.testing.assert_close(torch.tensor(data.std).double(), train.std(dim=0, correction=0))
    together = torch.cat([data.train_images, data.test_images]).sort(dim=0).values
    assert torch.equal(together, torch.from_numpy(made_up()[0]).sort(dim=0).values), "every row is in one part"
    assert features(file, split_seed=1).test_images.ne(data.test_images).any()
    assert data.test_labels.bincount().tolist() == [8, 8, 8]


def test_one_file_in_each_form_is_one_data_set(tmp_path: Path) -> None:
    vectors, labels = made_up()
    np.save(tmp_path / "x.npy", vectors)
    np.save(tmp_path / "y.npy", labels)
    tensors = {"features": torch.from_numpy(vectors), "labels": torch.from_numpy(labels)}
    about = json.dumps({"dataset": "letters", "classes": ["a", "b", "c"]})
    save_file(tensors, tmp_path / "x.safetensors", {"about": about})
    whole = features(npz(tmp_path / "x.npz", features=vectors, labels=labels, classes=np.array(["a", "b", "c"])))
    other = features(str(tmp_path / "x.safetensors"))
    bare = features(str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy"))
    assert (whole.source, other.source, bare.source) == (None, "letters", None)
    assert (whole.classes, other.classes, bare.classes) == (("a", "b", "c"), ("a", "b", "c"), ("0", "1", "2"))
    for data in (other, bare):
        assert torch.equal(data.train_images, whole.train_images)
        assert torch.equal(data.test_labels, whole.test_labels)
        assert data.mean == whole.mean


def test_labels_of_the_formats_that_noise_reads(tmp_path: Path) -> None:
    vectors, labels = made_up()
    np.save(tmp_path / "x.npy", vectors)
    np.save(tmp_path / "y.npy", labels)
    (tmp_path / "y.csv").write_text("image,label\n" + "".join(f"{i},{y}\n" for i, y in enumerate(labels)))
    (tmp_path / "y.json").write_text(json.dumps(labels.tolist()))
    read = [
        features(str(tmp_path / "x.npy"), labels=str(tmp_path / f"y.{kind}"), truth=str(tmp_path / "y.npy"))
        for kind in ("npy", "csv", "json")
    ]
    for data in read:
        assert torch.equal(data.train_labels, read[0].train_labels)
        assert torch.equal(data.train_labels, data.true_labels)
    with pytest.raises(ValueError, match=r"dataset\.load\.labels=nowhere\.csv: no such file$"):
        features(str(tmp_path / "x.npy"), labels="nowhere.csv")


def test_the_pages_example_runs() -> None:
    page = (REPOSITORY / "docs" / "features.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    names: dict[str, object] = {}
    exec(code, names)
    assert names["probabilities"].shape == (1797, 10)
    assert names["model"].suspected_.sum() < 100


def test_parts_of_the_file_are_kept_and_labels_may_be_words(tmp_path: Path) -> None:
    vectors, labels = made_up()
    words = np.array(["b", "c", "a"])[labels]
    parts = {"features": vectors[:90], "labels": words[:90], "test_features": vectors[90:], "test_labels": words[90:]}
    data = features(npz(tmp_path / "a.npz", **parts))
    assert data.classes == ("a", "b", "c")
    assert torch.equal(data.train_images, torch.from_numpy(vectors[:90]))
    assert [data.classes[k] for k in data.test_labels.tolist()] == words[90:].tolist()


def test_words_have_the_order_of_the_classes(tmp_path: Path) -> None:
    vectors, labels = made_up()
    names = np.array(["c", "b", "a"])
    data = features(npz(tmp_path / "a.npz", features=vectors, labels=names[labels], classes=names))
    plain = features(npz(tmp_path / "b.npz", features=vectors, labels=labels, classes=names))
    assert data.classes == plain.classes == ("c", "b", "a")
    assert torch.equal(data.train_labels, plain.train_labels)


def test_a_column_of_a_table_may_have_any_name(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'labelnoise[parquet]'")
    rows = ["features,test_labels,kind", *(f"{k},{k % 5},{'ab'[k % 2]}" for k in range(40))]
    (tmp_path / "a.csv.xz").write_bytes(lzma.compress("\n".join(rows).encode()))
    data = features(str(tmp_path / "a.csv.xz"), labels="kind")
    assert (data.train_images.shape, data.classes) == ((32, 2), ("a", "b"))


def test_arrays_of_images_are_images(tmp_path: Path, train) -> None:
    random = np.random.RandomState(0)
    pictures, labels = random.randint(0, 256, (80, 8, 8, 3), dtype=np.uint8), np.arange(80) % 2
    path = npz(tmp_path / "a.npz", features=pictures, labels=labels)
    assert features(path).train_images.shape == (64, 3, 8, 8)
    done = train("dataset=features", f"features={path}", "network=cnn4", "epochs=1", f"results={tmp_path}")
    assert done.code == 0, done.err
    assert "features: images of 3x8x8, 2 classes, 64 for training, 16 for testing (set aside)" in done.out


def table(path: Path) -> str:
    rows = ["size,colour,kind"]
    rows += [f"{'' if k == 3 else k % 7},{['red', 'green', 'blue'][k % 3]},{'ab'[k % 2]}" for k in range(60)]
    path.write_bytes(lzma.compress("\n".join(rows).encode()))
    return str(path)


def test_tables(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pip install 'labelnoise[parquet]'")
    from pyarrow import csv, parquet

    path = table(tmp_path / "a.csv.xz")
    with pytest.raises(ValueError, match=r"a\.csv\.xz: column size has 1 missing values; dataset\.load\.missing=mean"):
        features(path, labels="kind")
    data = features(path, labels="kind", missing="median")
    assert data.train_images.shape == (48, 4), "a number and three colours"
    assert data.classes == ("a", "b")
    assert data.train_images[:, 1:].sum(dim=1).eq(1).all()
    with lzma.open(path) as file:
        parquet.write_table(csv.read_csv(file), tmp_path / "a.parquet")
    same = features(str(tmp_path / "a.parquet"), labels="kind", missing="median")
    assert torch.equal(same.train_images, data.train_images)
    with pytest.raises(ValueError, match=r"dataset\.load\.labels=nope: must be one of colour, kind, size, or a file"):
        features(path, labels="nope")
    with pytest.raises(ValueError, match=r"has no labels, but colour, kind, size; dataset\.load\.labels= names"):
        features(path)


@pytest.mark.parametrize(("rule", "filled"), [("mean", 2.0), ("median", 1.0), ("most_frequent", 1.0)])
def test_missing_values_are_those_of_the_training_rows(rule: str, filled: float) -> None:
    columns = {"a": np.array([1.0, 1.0, 4.0, np.nan, 100.0]), "b": np.array(["x", "x", "", "y", "z"])}
    found = as_features(columns, np.array([0, 1, 2, 3]), rule)
    assert found[3, 0] == filled
    assert found[:, 1:].tolist() == [[1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], "z is unknown in training"


def test_noise_is_drawn_as_on_the_images(digits, tmp_path: Path) -> None:
    """For the same seed, where the file names the data set and has its order and true labels."""
    vectors = digits.train_images.flatten(1).float() / 255
    tensors = {
        "features": vectors,
        "labels": digits.true_labels.clone(),
        "true_labels": digits.true_labels,
        "test_features": digits.test_images.flatten(1).float() / 255,
        "test_labels": digits.test_labels,
    }
    about = {"dataset": "digits", "mistaken_for": digits.mistaken_for.tolist(), "classes": list(digits.classes)}
    save_file(tensors, tmp_path / "a.safetensors", {"about": json.dumps(about)})
    for noise in ("sym", "asym", "pairflip"):
        drawn = [
            load_noisy(compose([*dataset, f"noise={noise}", "rate=0.4", "seed=3"]))[1]
            for dataset in (["dataset=digits"], ["dataset=features", f"features={tmp_path / 'a.safetensors'}"])
        ]
        assert torch.equal(*drawn), noise


def test_the_id_is_that_of_the_content(file: str, tmp_path: Path) -> None:
    ids = []
    for place in ("b.npz", "c.npz"):
        (tmp_path / place).write_bytes(Path(file).read_bytes())
        ids.append(identity.run_id(identity.effective(compose(["dataset=features", f"features={tmp_path / place}"]))))
    assert len(set(ids)) == 1
    vectors, labels = made_up()
    other = npz(tmp_path / "d.npz", features=vectors + 1, labels=labels)
    assert identity.run_id(identity.effective(compose(["dataset=features", f"features={other}"]))) not in ids


@pytest.mark.parametrize("network", ["linear", "mlp"])
@pytest.mark.parametrize("method", ["erm", "mixup", "elr", "co_teaching", "divide_mix", "l2rw", "kd_rkd"])
def test_methods_train_on_vectors_and_networks_are_saved(
    method: str, network: str, file: str, tmp_path: Path, labelnoise
) -> None:
    chosen = ["dataset=features", f"features={file}", "noise=sym", "rate=0.2", f"network={network}", f"method={method}"]
    more = ["num_trusted=12"] if method == "l2rw" else []
    results = tmp_path / "runs"
    short = ["epochs=4", "batch_size=16", "optimizer.lr=0.05", "save_model=true", f"results={results}"]
    done = labelnoise("train", *chosen, *more, *short)
    assert done.code == 0, done.err
    (record,) = [json.loads(path.read_text()) for path in results.glob("*.json")]
    assert record["metrics"]["test_acc_last"] > 0.7
    (model,) = results.glob("*.safetensors")
    told = labelnoise("predict", f"model={model}", *chosen[:2])
    assert told.code == 0, told.err
    (accuracy,) = re.findall(r"^features: ([\d.]+)% of 24 test images$", told.out, re.M)
    assert float(accuracy) > 70


def test_half_precision_stays_in_the_file(tmp_path: Path, train) -> None:
    vectors, labels = made_up()
    np.save(tmp_path / "x.npy", (vectors / 10.0 ** np.arange(6)).astype(np.float16))
    np.save(tmp_path / "y.npy", labels)
    data = features(str(tmp_path / "x.npy"), labels=str(tmp_path / "y.npy"))
    assert data.train_images.dtype == torch.float16
    given = [f"features={tmp_path / 'x.npy'}", f"dataset.load.labels={tmp_path / 'y.npy'}"]
    done = train("dataset=features", *given, "epochs=2", f"results={tmp_path}")
    assert done.code == 0, done.err


VECTORS, LABELS = made_up(24)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"features": VECTORS}, "has no labels, but features; dataset.load.labels= names an array"),
        ({"features": VECTORS, "labels": LABELS[:20]}, "features: 24 rows, and 20 labels"),
        ({"features": VECTORS, "labels": LABELS * 0}, "labels: are all 0, must be of at least two classes"),
        ({"features": VECTORS[:, 0], "labels": LABELS}, "features: have shape (24,), must be (N, D), or images"),
        ({"features": np.where(VECTORS > 40, np.nan, VECTORS), "labels": LABELS}, "is nan; features must be finite"),
        ({"features": np.where(VECTORS > 40, np.inf, VECTORS), "labels": LABELS}, "is inf; features must be finite"),
        ({"features": VECTORS.astype(str), "labels": LABELS}, "features: are <U32, must be numbers"),
        ({"features": VECTORS, "labels": LABELS[:, None]}, "labels: have shape (24, 1), must be (N,)"),
        ({"features": VECTORS, "labels": np.array(["a", ""])[LABELS % 2]}, "labels: 8 are missing"),
        ({"features": VECTORS, "labels": LABELS, "true_labels": LABELS[:20]}, "true labels: are 20, and 24 labels are"),
        (
            {"features": VECTORS, "labels": LABELS, "true_labels": LABELS.astype(str)},
            "some are numbers and some are text",
        ),
        ({"features": VECTORS, "labels": LABELS + 0.5}, "labels: are numbers with fractions, must be classes"),
        ({"features": VECTORS, "labels": LABELS * np.inf}, "labels: 8 are missing"),
        ({"features": VECTORS, "labels": LABELS * 0, "classes": np.array(["a", "b"])}, "labels: are all of one class"),
        ({"features": VECTORS, "labels": LABELS, "classes": np.array("a")}, "classes: must be a list of names"),
        ({"features": VECTORS, "labels": LABELS, "test_features": VECTORS}, "has test_features, but no test_labels"),
        (
            {"features": VECTORS, "labels": LABELS, "mistaken_for": np.array([0, 1, 3])},
            "mistaken_for: must be from 0 to 2",
        ),
        (
            {"features": VECTORS, "labels": np.array(["x", "y", "z"])[LABELS], "classes": np.array(["x", "y"])},
            "labels: z is not among its classes",
        ),
        ({"labels": LABELS}, "has no features, but labels"),
        ({"features": VECTORS, "labels": LABELS, "test_labels": LABELS}, "has no test_features for its labels"),
        (
            {"features": VECTORS, "labels": LABELS, "test_labels": LABELS, "test_features": VECTORS[:, :3]},
            "test: features of (3,), those of training are of (6,)",
        ),
        (
            {"features": VECTORS, "labels": LABELS, "classes": np.array(["a", "b"])},
            "labels: must be 0 to 1, for its 2 classes",
        ),
        ({"features": np.array([{}, 1], dtype=object), "labels": LABELS[:2]}, "holds objects, must hold arrays of"),
    ],
)
def test_a_wrong_file_is_one_line(arrays: dict[str, np.ndarray], said: str, tmp_path: Path, train) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    done = train("dataset=features", f"features={tmp_path / 'a.npz'}", f"results={tmp_path / 'runs'}")
    assert done.code == 1
    assert done.err.startswith(f"error: features={tmp_path / 'a.npz'}: "), done.err
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], "features=null: must be a file that ends in .npy, .npz, .safetensors, .parquet, .csv.xz"),
        (["features=nowhere.npz"], "error: features=nowhere.npz: no such file\n"),
        (["features=x.txt"], "error: features=x.txt: must be a file that ends in .npy"),
        (["features={file}", "network=cnn4"], "cannot be computed from (2, 6)"),
        (["features={file}", "noise=human", "noise.labels=worse"], "noise=human: only for dataset=cifar10"),
        (
            ["features={file}", "method=rcal"],
            "dataset=features: RCAL needs strong views of images",
        ),
        (
            ["features={file}", "dataset.augment=${{strong}}"],
            "dataset.augment: must be null, because vectors",
        ),
        (["features={file}", "method=kd_at"], "needs feature maps of one size"),
        (["features={file}", "dataset.load.missing=guess"], "must be mean, median or most_frequent, or null"),
    ],
)
def test_what_vectors_cannot_is_one_line(overrides: list[str], said: str, file: str, tmp_path: Path, train) -> None:
    given = [override.format(file=file) for override in overrides]
    done = train("dataset=features", *given, "epochs=2", f"results={tmp_path / 'runs'}")
    assert done.code == 1
    assert said in done.err
    assert len(done.err.splitlines()) == 1, done.err
    assert not (tmp_path / "runs").exists()
