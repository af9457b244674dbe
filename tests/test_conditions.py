"""What a loss, a noise, a network and a data set must give: every one of ours does, and a wrong one is refused before
training, in one line that names it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.configs import chosen, every
from support.permuted_truth import small
from torch import Tensor, nn

from labelnoise.data.digits import digits
from labelnoise.data.fields import refuse_fields
from labelnoise.experiment.components import make_loss, make_regulariser
from labelnoise.losses import ce
from labelnoise.losses.base import needs, needs_of
from labelnoise.losses.conditions import refuse_loss, refuse_regulariser
from labelnoise.networks.base import Network
from labelnoise.networks.conditions import refuse_network
from labelnoise.noise.apply import apply
from labelnoise.theory import check

# ---------------------------------------------------------------------------------------------------------- losses


@pytest.mark.parametrize("name", every("loss"))
def test_every_loss_is_fit_for_training(name: str) -> None:
    loss = make_loss(chosen("loss", name, "dataset=digits", "noise=sym", "rate=0.4"))
    before = torch.get_rng_state()
    for classes in (2,) if "binary" in needs_of(loss) else (2, 10, 100):
        superclass = torch.arange(classes) // 2 if "superclass" in needs_of(loss) else None
        refuse_loss(loss, classes, superclass)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", [name for name in every("regulariser") if name != "none"])
def test_every_regulariser_is_fit_for_training(name: str) -> None:
    refuse_regulariser(make_regulariser(chosen("regulariser", name, "dataset=digits", "noise=sym", "rate=0.4")), 10)


def column(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits, labels)[:, None]


def square(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits, labels) * ce(logits, labels)[:, None]


def mean(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits, labels).mean()


def number(logits: Tensor, labels: Tensor) -> float:
    return float(ce(logits, labels).mean())


def centred(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits, labels) - ce(logits, labels).mean()


def detached(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits.detach(), labels)


def constant(logits: Tensor, labels: Tensor) -> Tensor:
    return 0 * ce(logits, labels)


def infinite(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits, labels) / 0


def endless(logits: Tensor, labels: Tensor) -> Tensor:
    return (ce(logits, labels) - ce(logits, labels).detach()).sqrt()


def for_four(logits: Tensor, labels: Tensor) -> Tensor:
    return ce(logits * torch.ones(4), labels)


SHAPE = "not per-sample: logits (32, 10) gave shape {}, must be (32,) (reduction='none' if it has one)"
WRONG: dict[Callable[..., Any], str] = {
    column: SHAPE.format((32, 1)),
    square: SHAPE.format((32, 32)),
    mean: SHAPE.format(()),
    number: "gave float, must give a tensor of per-sample values",
    centred: "not per-sample: a value depends on the other samples of the batch",
    detached: "has no gradient in the logits",
    constant: "does not depend on the logits",
    infinite: "not finite at ordinary logits (normal, standard deviation 3)",
    endless: "its gradient is not finite at ordinary logits (normal, standard deviation 3)",
}


@pytest.mark.parametrize("loss", WRONG)
def test_a_wrong_loss_is_refused_as_losscheck_refuses_it(loss: Callable[..., Any]) -> None:
    for refuse in (partial(refuse_loss, loss, 10), partial(check, loss, 10)):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            refuse()
        assert str(refused.value) == f"{loss.__name__}: {WRONG[loss]}"


def test_a_loss_for_other_classes_is_refused_in_one_line() -> None:
    refuse_loss(for_four, 4)
    with pytest.raises(ValueError, match=r"^for_four: cannot be computed from logits \(32, 10\) and labels \(32,\): "):
        refuse_loss(for_four, 10)


def test_a_loss_may_declare_that_it_is_of_the_whole_batch() -> None:
    refuse_loss(needs("batch")(lambda logits, labels: mean(logits, labels)), 10)
    refuse_loss(needs("batch")(lambda logits, labels: centred(logits, labels)), 10)
    with pytest.raises(ValueError, match="not per-sample"):
        refuse_loss(needs("batch")(lambda logits, labels: column(logits, labels)), 10)


def test_a_wrong_regulariser_is_refused() -> None:
    of_logits = needs("logits")
    for wrong, reason in {
        of_logits(lambda logits: logits.mean(dim=1)): "gave shape (32,), must give a tensor of shape ()",
        of_logits(lambda logits: 1.0): "gave float, must give a tensor of shape ()",
        of_logits(lambda logits: logits.mean() / 0): "not finite at ordinary outputs (normal)",
        of_logits(lambda logits: logits.detach().mean()): "has no gradient in its inputs (logits)",
        needs("features", "new_features")(lambda features: features.mean()): (
            "gave shape (), must give a tensor of shape (32, 64)"
        ),
    }.items():
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            refuse_regulariser(wrong, 10)
        assert str(refused.value) == f"regulariser: <lambda>: {reason}"


# ----------------------------------------------------------------------------------------------------------- noise


def in_place(facts: Any, seed: int) -> Tensor:
    facts.true_labels[:5] = 1
    return facts.true_labels


def test_a_wrong_noise_is_refused() -> None:
    dataset, _ = small()
    given = dataset.train_labels
    whole = f"({len(given)},) whole numbers from 0 to 9"
    for noise, reason in {
        (lambda facts, seed: given[:5]): f"gave (5,), torch.int64, must give {whole}",
        (lambda facts, seed: given[:, None]): f"gave ({len(given)}, 1), torch.int64, must give {whole}",
        (lambda facts, seed: given.float()): f"gave ({len(given)},), torch.float32, must give {whole}",
        (lambda facts, seed: given > 3): f"gave ({len(given)},), torch.bool, must give {whole}",
        (lambda facts, seed: given.numpy()): f"gave ndarray, must give {whole}, a tensor",
        (lambda facts, seed: given + 1): f"gave labels from 1 to 10, must give {whole}",
        (lambda facts, seed: given - 1): f"gave labels from -1 to 8, must give {whole}",
        in_place: "wrote into {} of the data set; it must change a copy, {}.clone()",
    }.items():
        before = dataset.true_labels.clone()
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            apply(noise, dataset, 1, "noise: mine")
        field = "train_labels" if dataset.train_labels is dataset.true_labels else "true_labels"
        assert str(refused.value) == f"noise: mine: {reason.replace('{}', field)}"
        assert torch.equal(dataset.true_labels, before), "the data set is as it was"


def test_a_noises_labels_are_its_own_and_long() -> None:
    dataset, _ = small()
    labels = apply(lambda facts, seed: facts.train_labels, dataset, 1, "noise: mine")
    assert torch.equal(labels, dataset.train_labels)
    assert labels.data_ptr() != dataset.train_labels.data_ptr()
    assert apply(lambda facts, seed: facts.train_labels.to(torch.uint8), dataset, 1, "").dtype == torch.int64


# -------------------------------------------------------------------------------------------------------- networks


def test_a_wrong_network_is_refused() -> None:
    flat = partial(nn.Sequential, nn.Flatten())
    linear = flat(nn.Linear(64, 10))
    whole = Network(nn.Flatten(), nn.Linear(64, 10))
    refuse_network(linear, "n", (1, 8, 8), 10, features=False)
    refuse_network(whole, "n", (1, 8, 8), 10, features=True)
    bad_head = Network(nn.Unflatten(1, (1, 1)), nn.Linear(64, 10))
    bad_head.forward = lambda images: whole(images)  # type: ignore[method-assign]
    needed = "which the loss or the regulariser needs"
    for network, features, reason in (
        (3, False, "gave int, must give a torch.nn.Module"),
        (flat(nn.Linear(64, 7)), False, "(2, 1, 8, 8) gave (2, 7), must give (2, 10)"),
        (nn.Flatten(2), False, "(2, 1, 8, 8) gave (2, 1, 64), must give (2, 10)"),
        (flat(nn.Linear(32, 10)), False, "cannot be computed from (2, 1, 8, 8): "),
        (flat(nn.Linear(64, 10), nn.Threshold(1e9, float("inf"))), False, "gave logits that are not finite"),
        (linear, True, f"has no features(images), {needed}"),
        (bad_head, True, "features of (2, 1, 8, 8) gave (2, 1, 1, 8, 8), must give (2, D)"),
    ):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            refuse_network(network, "network: mine", (1, 8, 8), 10, features)
        assert str(refused.value).startswith(f"network: mine: {reason}")


def test_the_check_of_a_network_leaves_it_as_it_was() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(72, 10))
    network[1].eval()
    before = [value.clone() for value in network.state_dict().values()]
    refuse_network(network, "n", (1, 8, 8), 10, features=False)
    assert all(torch.equal(a, b) for a, b in zip(before, network.state_dict().values(), strict=True))
    assert [module.training for module in network] == [True, False, True, True, True]


# ------------------------------------------------------------------------------------------------------- data sets


def test_a_wrong_data_set_is_refused() -> None:
    whole = digits()
    images, labels = whole.train_images, whole.train_labels
    refuse_fields(whole, "d")
    of_images = "must be (N, channels, height, width), torch.uint8, or (N, D), floating point, on the CPU"
    of_labels = "must be (1,437,), torch.int64, on the CPU"
    for changes, reason in (
        ({"train_images": images.float()}, f"train_images: is (1437, 1, 28, 28), torch.float32, on cpu; {of_images}"),
        ({"train_images": images[:, 0]}, f"train_images: is (1437, 28, 28), torch.uint8, on cpu; {of_images}"),
        ({"train_images": images.numpy()}, f"train_images: is ndarray, {of_images}"),
        ({"train_images": images[:0]}, "train_images: is (0, 1, 28, 28), must not be empty"),
        ({"test_images": images[:, :, :8]}, "test_images: are (1, 8, 28) each, must be (1, 28, 28), as the training"),
        ({"train_labels": labels[:9]}, f"train_labels: is (9,), torch.int64, on cpu; {of_labels}"),
        ({"train_labels": labels.float()}, f"train_labels: is (1437,), torch.float32, on cpu; {of_labels}"),
        ({"train_labels": labels.tolist()}, f"train_labels: is list, {of_labels}"),
        ({"train_labels": labels + 1}, "train_labels: from 1 to 10, must be from 0 to 9"),
        ({"true_labels": labels - 1}, "true_labels: from -1 to 8, must be from 0 to 9"),
        ({"classes": ["a", "b"]}, "classes=['a', 'b']: must be a tuple of at least two names"),
        ({"val_images": images}, "val_images and val_labels: must both be given, or both be None"),
        ({"mean": (0.5, 0.5)}, "mean=(0.5, 0.5): must be 1 finite numbers, one for each channel"),
        ({"std": (0.0,)}, "std=(0.0,): must be 1 finite numbers above 0, one for each channel"),
        ({"paths": ("a",)}, "paths: has 1 entries, must have 1,437, one for each training image"),
        ({"mistaken_for": torch.arange(9)}, "mistaken_for: is (9,), torch.int64, on cpu; must be (10,)"),
    ):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            refuse_fields(whole._replace(**changes), "dataset.load: mine")
        assert str(refused.value).startswith(f"dataset.load: mine: {reason}")
    with pytest.raises(ValueError, match=r"^mine: gave tuple, must give a labelnoise\.data\.dataset\.Dataset$"):
        refuse_fields(tuple(whole), "mine")


# ------------------------------------------------------------------------------------------------ the command line

MINE = """
import torch
from torch import nn
from labelnoise.data.digits import digits
from labelnoise.losses import ce

def column(logits, labels):
    return ce(logits, labels)[:, None]

def mean(logits, labels):
    return ce(logits, labels).mean()

def floats(facts, seed):
    return facts.train_labels.float()

def narrow(num_classes, channels, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, 3))

def plain(num_classes, channels, size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, num_classes))

def unsigned():
    return digits()._replace(train_labels=digits().train_labels.float())
"""
COMMON = ("--config-dir=configs", "dataset=digits", "epochs=1", "num_trusted=1300", "threads=1")
CARDS = {"loss": ("column", "mean"), "noise": ("floats",), "network": ("narrow", "plain")}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss=column"], "column: not per-sample: logits (32, 10) gave shape (32, 1), must be (32,)"),
        (["loss=mean", "method=co_teaching", "noise=sym", "rate=0.4"], "mean: not per-sample: logits"),
        (["noise=floats"], "noise: my_parts.floats: gave (1437,), torch.float32, must give (1,437,) whole"),
        (["network=narrow"], "network: my_parts.narrow: (2, 1, 28, 28) gave (2, 3), must give (2, 10)"),
        (
            ["network=plain", "regulariser=pgm"],
            "network: my_parts.plain: has no features(images), which the loss or the regulariser needs",
        ),
        (
            ["dataset.load._target_=my_parts.unsigned"],
            "dataset.load: my_parts.unsigned: train_labels: is (1437,), torch.float32",
        ),
    ],
)
def test_a_run_refuses_it_before_training(
    overrides: list[str], said: str, train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_parts.py").write_text(MINE)
    for group, names in CARDS.items():
        (tmp_path / "configs" / group).mkdir(parents=True)
        for name in names:
            card = f"_target_: my_parts.{name}\n_partial_: true\n"
            (tmp_path / "configs" / group / f"{name}.yaml").write_text(card)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    ended = train(*COMMON, *overrides)
    assert ended.code == 1
    assert ended.err.startswith(f"error: {said}")
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "runs").exists(), "nothing is left half-written"
