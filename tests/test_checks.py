"""`labelnoise check`: every part of ours passes, and a wrong one of a user's own is named in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import Ended
from support.configs import TOLD, chosen, composed, every
from support.permuted_truth import COMMON, small

from labelnoise.checks import method
from labelnoise.checks.method import check_method
from labelnoise.checks.parts import check_dataset, check_loss, check_network, check_noise
from labelnoise.data.digits import digits
from labelnoise.experiment.components import Components, make_loss
from labelnoise.losses.base import needs_of
from labelnoise.training.device import prepare

DIGITS = ("dataset=digits", "noise=sym", "rate=0.4")
FAST = ("car", "divide_mix", "erm")
ELSEWHERE = {"file", "human", "sym_zhou2021", "asym_zhou2021"}  # noises of other data sets, or of a file


def test_digits_passes() -> None:
    assert check_dataset(composed(*DIGITS))[1].startswith("1,437 training and 360 test images of 1x28x28, 10 classes")


@pytest.mark.parametrize("name", sorted({*every("noise")} - ELSEWHERE))
def test_every_noise_passes(name: str) -> None:
    rate = () if name in ("clean", "given") else ("rate=0.4",)
    assert "the same again" in check_noise(composed("dataset=digits", f"noise={name}", *rate), digits())[1]


@pytest.mark.parametrize("name", every("loss"))
def test_every_loss_passes(name: str) -> None:
    loss = make_loss(chosen("loss", name, *DIGITS))
    if "binary" not in needs_of(loss):
        assert check_loss(loss, digits()).startswith("a value ")


@pytest.mark.parametrize("name", ["cnn4", "resnet18", *(pytest.param(n, marks=pytest.mark.slow) for n in ("timm",))])
def test_networks_pass(name: str) -> None:
    cfg = composed(*DIGITS, f"network={name}", *(["network.model=resnet18"] if name == "timm" else []))
    found = check_network(cfg, small()[0])
    assert found.endswith("with features and head; the same again for the same seed")


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(n, marks=pytest.mark.slow) for n in every("method"))])
def test_methods_pass(name: str) -> None:
    cfg = composed(*COMMON, f"method={name}", *TOLD.get(name, ()))
    found = check_method(cfg, Components(make_loss(cfg), prepare("cpu", "float32", 1)), *small())
    assert found.startswith("4 epochs, ")
    assert ": the same again, and when stopped after step 2, " in found


MINE = '''
import collections
import random

import numpy as np
import torch
from torch import nn

from labelnoise.data.digits import digits
from labelnoise.losses import ce
from labelnoise.methods.erm import ERM


class Counter:
    seen = 0


class Mine(ERM):
    def __init__(self, setup, how: str) -> None:
        super().__init__(setup)
        self.how, self.hidden = how, Counter()

    def objective(self, outputs, batch):
        if self.how == "forgets":
            self.hidden.seen += 1
            return super().objective(outputs, batch) / self.hidden.seen
        if self.how == "draws":
            return super().objective(outputs, batch) * np.random.default_rng().random()
        return super().objective(outputs, batch)


def sharp(logits, labels):
    """Not finite where a probability is 0."""
    return -logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1).log()


def unseeded(facts, seed: int, rate: float):
    labels = facts.true_labels.clone()
    flipped = torch.rand(len(labels)) < rate
    return torch.where(flipped, (labels + 1) % 10, labels)


def fixed(facts, seed: int, rate: float):
    labels = facts.true_labels.clone()
    for c in range(10):
        of_class = (labels == c).nonzero().flatten()
        labels[of_class[: round(rate * len(of_class))]] = 10
    return torch.where(labels == 10, (facts.true_labels + 1) % 10, labels)


def half(facts, seed: int, rate: float):
    return fixed(facts, seed, rate / 2)


def coupled(num_classes, channels, size):
    class Centred(nn.Module):
        def forward(self, x):
            return x - x.mean(dim=0)

    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, num_classes), Centred())


def numpys(num_classes, channels, size):
    network = nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, num_classes))
    nn.init.constant_(network[1].bias, float(np.random.default_rng().random()))
    return network


def shuffled():
    whole = digits()
    order = torch.randperm(len(whole.train_labels))
    labels = whole.train_labels[order]
    return whole._replace(train_images=whole.train_images[order], train_labels=labels, true_labels=labels)
'''
CARDS = {
    "method/mine.yaml": "_target_: my_parts.Mine\n_partial_: true\nhow: right\n",
    "loss/sharp.yaml": "_target_: my_parts.sharp\n_partial_: true\n",
    **{
        f"noise/{name}.yaml": f"_target_: my_parts.{name}\n_partial_: true\nrate: ${{rate}}\n"
        for name in ("unseeded", "fixed", "half")
    },
    **{f"network/{name}.yaml": f"_target_: my_parts.{name}\n_partial_: true\n" for name in ("coupled", "numpys")},
}


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_parts.py").write_text(MINE)
    for name, card in CARDS.items():
        path = tmp_path / "configs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(card)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["dataset.load._target_=my_parts.shuffled"],
            "dataset.load: my_parts.shuffled: train_images differs when it is",
        ),
        (["noise=unseeded"], "noise: my_parts.unseeded: the same seed gave other labels; draw from numpy"),
        (["noise=fixed"], "noise: my_parts.fixed: another seed gave the same labels"),
        (["noise=half"], "noise: my_parts.half: rate=0.4: 287 labels are wrong, not 575 as requested"),
        (["loss=sharp"], "sharp: not finite at logits of -10000, where a probability is 0"),
        (["network=coupled"], "network: my_parts.coupled: in evaluation the logits of an image depend on the other"),
        (["network=numpys"], "network: my_parts.numpys: the same seed gave other weights; draw from torch's default"),
        (["method=mine", "method.how=draws"], "method: my_parts.Mine: the same run gives another result ("),
        (
            ["method=mine", "method.how=forgets"],
            "method: my_parts.Mine: stopped after step 2, 10, 18 of 20 and resumed, it gives another result (",
        ),
    ],
)
def test_a_wrong_part_is_named(overrides: list[str], said: str, labelnoise: Callable[..., Ended]) -> None:
    noise = [] if any(o.startswith("noise=") for o in overrides) else ["noise=sym"]
    ended = labelnoise(
        "check", "--config-dir=configs", "dataset=digits", *noise, "rate=0.4", "network=cnn4", "threads=1", *overrides
    )
    assert ended.code == 1
    assert ended.err.startswith(f"error: {said}")
    assert ended.err.count("\n") == 1
    before = ["dataset", "noise", "loss", "network", "method"]
    passed = [line.split()[0] for line in ended.out.splitlines() if " ok: " in line]
    assert passed == before[: len(passed)]


@pytest.mark.usefixtures("mine")
def test_a_right_configuration_passes_part_by_part(labelnoise: Callable[..., Ended]) -> None:
    ended = labelnoise("check", "--config-dir=configs", *DIGITS, "method=mine", "network=cnn4", "threads=1")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split()[:2] for line in ended.out.splitlines()] == [
        [part, "ok:"] for part in ("dataset", "noise", "loss", "network", "method")
    ]


def test_what_a_method_learns_from_true_labels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    built = method.assemble

    def peeking(cfg, dataset, labels, components):
        made = built(cfg, dataset, labels, components)
        part = len(labels) // 2
        made.method.register_buffer("share", (dataset.true_labels[:part] == labels[:part]).float().mean())
        return made

    cfg = composed(*COMMON, "num_val=0", "num_trusted=0")
    monkeypatch.setattr(method, "assemble", peeking)
    with pytest.raises(ValueError, match=r"ERM: what it learns depends on true labels \(share\)"):
        check_method(cfg, Components(make_loss(cfg), prepare("cpu", "float32", 1)), *small())
