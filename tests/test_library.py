"""docs/library.md: its examples in one program, as written. A data set from arrays, noise on one's own labels, and a
method in one's own loop give what the command line gives, and say what is wrong with what they are given."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from support.configs import TOLD, TRUSTING, chosen, every
from support.data import REPOSITORY
from support.pages import blocks

from labelnoise import compose, from_arrays, make_setup, noisy_labels, start_epoch, train
from labelnoise.data.dataset import Dataset
from labelnoise.data.digits import MEAN, STD
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.run import Trained
from labelnoise.methods.co_teaching import CoTeaching
from labelnoise.methods.elr import ELR
from labelnoise.networks.base import Network
from labelnoise.networks.cnn import cnn4
from labelnoise.training import schedules
from labelnoise.training.method import Method

BLOCKS = blocks("library")


def test_the_pages_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And have the shapes that their comments say."""
    monkeypatch.chdir(tmp_path)
    assert {block.language for block in BLOCKS} == {"python"}
    names: dict[str, Any] = {}
    shapes = 0
    for block in BLOCKS:
        exec(block.code, names)
        for name, shape in re.findall(r"^(\w+) = .*  # .*?(\(\d+,[\d, ]*\))", block.code, re.M):
            assert str(tuple(names[name].shape)) == shape, name
            shapes += 1
    assert shapes >= 6
    truth = torch.from_numpy(names["truth"])
    assert float((names["predicted"] == truth).float().mean()) > 0.8, "ELR has learned from features"
    names["method"].eval()
    with torch.no_grad():
        names["batch"]["images"] = names["inputs"]
        right = names["method"].predict(names["inputs"]).argmax(dim=1) == truth
    assert float(right.float().mean()) > 0.8, "and from the loader's batches"


def test_the_page_says_what_train_returns_and_what_the_file_holds(tmp_path: Path) -> None:
    page = (REPOSITORY / "docs" / "library.md").read_text()
    rows = [re.findall(r"`(\w+)", row) for row in re.findall(r"^\| (`.*?) \|", page, re.M)]
    named = {name for row in rows for name in row}
    assert set(Trained._fields) <= named
    job = ["dataset=digits", "epochs=1", "num_trusted=1300", "threads=1", "record_predictions=true"]
    trained = train(compose([*job, f"results={tmp_path}"]), quiet=True)
    with np.load(tmp_path / f"{trained.record['run_id']}.npz") as file:
        assert set(file) <= named


@pytest.mark.parametrize(
    ("method", "options"),
    [(ELR, {"lam": 3.0, "beta": 0.7}), (CoTeaching, {"forget_rate": 0.4, "ramp": 0.5})],
    ids=["elr", "co_teaching"],
)
def test_a_method_in_ones_own_loop_trains_as_the_command_line_does(
    method: type[Method], options: dict[str, float], tmp_path: Path
) -> None:
    """The same images, labels, networks and seeds give the same weights, bit for bit."""
    chosen = {ELR: "elr", CoTeaching: "co_teaching"}[method]
    job = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "num_trusted=1200", "threads=1", "precision=float32"]
    given = [f"method={chosen}", *(f"method.{name}={value}" for name, value in options.items())]
    trained = train(compose([*job, *given, f"results={tmp_path}"]), quiet=True)
    theirs = trained.method.train_set
    made = 0

    def network(outputs: int) -> torch.nn.Module:
        nonlocal made
        torch.manual_seed(1 + 1_000_003 * made)
        made += 1
        return cnn4(outputs, 1, 28).to(memory_format=torch.channels_last)

    optimizer = partial(torch.optim.SGD, lr=0.01, momentum=0.9, weight_decay=1e-3)
    more = {"epochs": 2, "batch_size": 32, "schedule": schedules.cosine, "clip_norm": 5.0}
    ours = method(make_setup(theirs.plain, theirs.labels, 10, network, optimizer, **more), **options)
    for epoch in range(2):
        for feed in start_epoch(ours, epoch):
            ours.step(feed)
    expected, found = trained.method.network.state_dict(), ours.network.state_dict()
    assert made == len(trained.method.learners())
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_every_method_trains_in_a_loop_of_ones_own() -> None:
    """But those that need trusted images or strong views, as the page says."""
    images, labels = torch.rand(100, 1, 8, 8), torch.arange(100) % 10

    def network(outputs: int) -> Network:
        body = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten())
        return Network(body, torch.nn.Linear(128, outputs))

    for name in set(every("method")) - TRUSTING - {"rcal"}:
        cfg = chosen("method", name, "noise=sym", "rate=0.4", "dataset=digits")
        told = {word.partition("=")[0].removeprefix("method."): 0.4 for word in TOLD.get(name, ())}
        optimizer = partial(torch.optim.SGD, lr=0.1)
        setup = make_setup(images, labels, 10, network, optimizer, epochs=3, batch_size=50)
        method = instantiate(cfg.method)(setup, **told)
        before = [weight.clone() for weight in method.network.parameters() if weight.ndim > 1]
        for epoch in range(3):
            for feed in start_epoch(method, epoch):
                method.step(feed)
        after = [weight for weight in method.network.parameters() if weight.ndim > 1]  # cam_softmax needs no bias
        assert not any(torch.equal(one, other) for one, other in zip(before, after, strict=True)), name


def test_what_a_loop_of_ones_own_cannot_give_is_refused() -> None:
    setup = make_setup(torch.rand(6, 4), torch.tensor([0, 1] * 3), 2, lambda n: torch.nn.Linear(4, n), None, epochs=1)
    with pytest.raises(ValueError, match=r"^this method needs strong views, which given images do not have"):
        setup.train.view(torch.arange(2), "strong")
    with pytest.raises(ValueError, match=r"^network: a method that brings networks of its own cannot be set up"):
        setup.make_learner(network=cnn4)


@pytest.mark.parametrize("noise", ["sym", "pairflip", "asym", "instance"])
def test_noise_on_ones_own_labels_is_the_command_lines(noise: str, digits: Dataset) -> None:
    _, expected = load_noisy(compose(["dataset=digits", f"noise={noise}", "rate=0.3", "seed_noise=5"]))
    pairs = dict(enumerate(digits.mistaken_for.tolist()))
    labels = digits.true_labels.numpy().astype(np.uint8)
    images = digits.train_images[:, 0].numpy()
    assert expected.equal(noisy_labels(labels, 10, noise, rate=0.3, seed=5, images=images, mistaken_for=pairs))
    own = noisy_labels(labels.tolist(), 10, lambda facts, seed, by: (facts.true_labels + by + seed) % 10, seed=2, by=3)
    assert own.equal((digits.true_labels + 5) % 10)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"noise": "symm"}, "noise=symm: no such noise; one of asym, asym_zhou2021, clean, "),
        ({"rate": 1.5}, "rate=1.5: must be a number from 0 to 1"),
        ({"num_classes": 2}, "labels: have the label 2, must be 0 to 1"),
        ({"labels": [0.5, 1, 2]}, "labels: are float64, must be whole numbers"),
        ({"labels": [[0, 1, 2]]}, "labels: have shape (1, 3), must be (N,)"),
        ({"noise": "instance"}, "images: this noise looks at them; give images=, one for each label"),
        ({"images": np.zeros((2, 4, 4), np.uint8)}, "images: are 2, must be 3, one for each label"),
    ],
)
def test_a_mistake_with_noise_is_one_line(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        noisy_labels(**{"labels": [0, 1, 2], "num_classes": 3, "noise": "sym", "rate": 0.4, **given})


def test_a_data_set_from_arrays_is_the_one_from_tensors(digits: Dataset) -> None:
    """Whatever the layout of the images; so are mean and deviation."""
    labels = digits.train_labels.numpy()
    parts = [digits.train_images.numpy(), labels.astype(np.uint8), digits.test_images, digits.test_labels.tolist()]
    pairs = dict(enumerate(digits.mistaken_for.tolist()))
    for axes in (lambda x: x, lambda x: x[:, 0], lambda x: np.moveaxis(np.asarray(x), 1, 3)):
        laid = [axes(parts[0]), parts[1], axes(parts[2]), parts[3]]
        made = from_arrays("digits", *laid, true_labels=labels, mistaken_for=pairs)
        for name, value in digits._asdict().items():
            other = getattr(made, name)
            same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
            assert same or name in ("mean", "std"), name
        assert made.mean == pytest.approx((MEAN,), abs=1e-4)
        assert made.std == pytest.approx((STD,), abs=1e-4)
    colour = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    assert from_arrays("five", colour, [0] * 5, colour, [1] * 5).train_images.equal(
        torch.from_numpy(colour).permute(0, 3, 1, 2)
    )
    named = from_arrays("five", colour, [0] * 5, colour, [1] * 5, ["cat", "dog", "eel"])
    assert (named.num_classes, named.true_labels) == (3, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"train_images": np.zeros((6, 8, 8))},
            "train_images: are float64, must be uint8, 0 to 255; images from 0 to 1",
        ),
        ({"test_images": np.zeros((6, 8, 9), np.uint8)}, "test_images: have shape (6, 1, 8, 9), must be (N, H, H), "),
        ({"train_images": np.zeros((6, 8, 8, 8), np.uint8)}, "train_images: have shape (6, 8, 8, 8), must be "),
        ({"test_images": np.zeros((6, 9, 9), np.uint8)}, "test_images: are of shape (1, 9, 9), the training images of"),
        ({"train_labels": [0, 1, 2, 0, 1]}, "train_labels: have shape (5,), must be (6,), a label for each image"),
        ({"test_labels": [0, 1, 2, 0, 1, -1]}, "test_labels: have the label -1, must be 0 to 2"),
        ({"classes": ["a", "b"]}, "train_labels: have the label 2, must be 0 to 1"),
        ({"true_labels": [0, 1, 2, 0, 1, 1.5]}, "true_labels: are float64, must be whole numbers"),
        ({"val_labels": [0, 1]}, "val_images, val_labels: both are needed, or none"),
    ],
)
def test_a_mistake_in_an_array_is_one_line(given: dict[str, Any], said: str) -> None:
    images, labels = np.zeros((6, 8, 8), np.uint8), [0, 1, 2, 0, 1, 2]
    whole = {"train_images": images, "train_labels": labels, "test_images": images, "test_labels": labels}
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        from_arrays("six", **{**whole, **given})
