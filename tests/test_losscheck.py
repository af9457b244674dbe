"""The losscheck command, from the command line to its last line."""

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from omegaconf import DictConfig
from support.command import Ended
from support.configs import chosen, every
from support.data import HERE, REPOSITORY

from labelnoise.experiment.classes import CLASSES
from labelnoise.experiment.run import compose, load_noisy

KEYS = {"symmetric", "additive", "asymmetry_ratio", "critical_ratio", "completely_asymmetric", "tolerant"}
Command = Callable[..., Ended]


@pytest.fixture
def command(labelnoise: Command) -> Command:
    return partial(labelnoise, "losscheck")


def test_the_last_line_is_the_object(command: Command) -> None:
    ended = command("loss=agce", "loss.a=0.6", "loss.q=0.6", "dataset=cifar10")
    assert ended.code == 0
    found = json.loads(ended.out.splitlines()[-1])
    assert found.keys() >= KEYS
    assert found["loss"] == "agce(a=0.6, q=0.6)"
    assert found["num_classes"] == 10
    assert found["critical_ratio"] == pytest.approx(1.480, abs=1e-3)
    assert found["transition"] is None
    assert {(v["noise"], v["rate"], v["num_classes"]) for v in found["tolerant"]} >= {
        ("asym", 0.4, 10),
        ("sym", 0.2, 100),
    }


@pytest.mark.parametrize(
    ("noise", "rate", "tolerant"), [("asym", 0.4, True), ("pairflip", 0.45, False), ("sym_zhou2021", 0.8, True)]
)
def test_the_configured_noise_is_judged_without_data(command: Command, noise: str, rate: float, tolerant: bool) -> None:
    ended = command("loss=agce", "dataset=cifar10", f"noise={noise}", f"rate={rate}", "data_dir=/nowhere")
    found = json.loads(ended.out.splitlines()[-1])["transition"]
    assert (found["noise"], found["rate"], found["tolerant"]) == (noise, rate, tolerant)


def test_the_smallest_tolerant_a_is_said(command: Command) -> None:
    noise = ["dataset=cifar100", "noise=asym", "rate=0.4"]
    said = command("loss=agce", *noise).out
    assert "- the smallest tolerant a with q=0.6 is 0.5696: it needs w_m/w_n >= 1.49999\n" in said
    found = json.loads(command("loss=agce", "loss.a=0.5696", *noise).out.splitlines()[-1])
    assert found["transition"]["margin"] == pytest.approx(1, abs=1e-4)
    assert found["transition"]["tolerant"]
    assert "smallest" not in command("loss=gce", *noise).out, "it has no a"
    assert "no a is tolerant of noise with w_m / w_n = 1;" in command("loss=ael", *noise[:2], "rate=0.5").out


def test_instance_noise_is_judged_by_what_it_does(command: Command) -> None:
    ended = command("loss=mae", "dataset=digits", "noise=instance", "rate=0.3")
    found = json.loads(ended.out.splitlines()[-1])
    dataset, noisy = load_noisy(compose(["dataset=digits", "noise=instance", "rate=0.3"]))
    ratios = []
    for c in range(10):
        counts = noisy[dataset.train_labels == c].bincount(minlength=10).tolist()
        ratios.append(counts.pop(c) / max(counts))
    assert found["transition"]["ratio"] == pytest.approx(min(ratios), rel=1e-4)
    assert found["transition"]["noise"] == f"class {ratios.index(min(ratios))}"
    assert any("single images may be harder" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["loss=nlnl"], "nlnl: not a function of (logits, labels): two calls differ, it draws at random"),
        (["loss=gambler"], "gambler: not a function of (logits, labels) alone: it needs extra_output"),
        (["loss=agce", "loss.q=-1"], "loss.q=-1: must be a number above 0"),
        (["--loss=agce"], "--loss=agce: options have no dashes; write loss=agce"),
        (["plot=curve.txt"], "plot=curve.txt: must end in one of .png, .svg, .pdf"),
        (["noise=sym"], "rate: this noise needs one, such as rate=0.4"),
    ],
)
def test_a_mistake_gets_one_line(command: Command, arguments: list[str], expected: str) -> None:
    ended = command("dataset=digits", *arguments)
    assert ended.code == 1
    assert ended.err.strip() == f"error: {expected}"
    assert not ended.out


def quickly(overrides: list[str]) -> DictConfig:
    """`compose`, which takes a tenth of a second for each loss."""
    *others, last = overrides
    return chosen("loss", last.removeprefix("loss="), *others) if last.startswith("loss=") else compose(overrides)


def test_every_loss_stands_in_the_table(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here of six; docs/losses.md has all, and a test generates it anew."""
    some = [*every("loss")[:4], "ce", "mae"]
    monkeypatch.setattr("labelnoise.cli.losscheck.compose", quickly)
    monkeypatch.setattr("labelnoise.cli.losscheck.choices", lambda group: {"loss": some}[group])
    ended = command("--all", "dataset=cifar10")
    rows = {row["loss"]: row for row in json.loads(ended.out.splitlines()[-1])}
    assert list(rows) == some
    assert rows["agce"]["critical_ratio"] == "1.480"
    assert rows["mae"]["asymmetric"] == "completely"
    assert rows["ce"]["critical_ratio"] == "never"
    assert len(re.findall(r"^\| `\w+` \|", ended.out, re.MULTILINE)) == len(rows)


def test_the_figure_is_written(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "figure.png"
    ended = command("loss=nce_agce", "dataset=cifar10", f"plot={path}")
    assert ended.code == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert json.loads(ended.out.splitlines()[-1])["completely_asymmetric"]


def test_without_matplotlib_a_plot_gets_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ended = command("loss=ce", "dataset=cifar10", "plot=figure.png")
    assert ended.err.strip() == "error: a plot needs matplotlib: pip install 'labelnoise[plots]'"
    assert not Path("figure.png").exists()


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n != "digits" else ()) for n in CLASSES])
def test_number_of_classes_is_the_data_sets(name: str) -> None:
    if not HERE[name]:
        pytest.skip(f"{name} is not on this machine")
    assert load_noisy(compose([f"dataset={name}"]))[0].num_classes == CLASSES[name]


def test_the_documented_figure_is_small() -> None:
    assert (REPOSITORY / "docs" / "theory.png").stat().st_size < 300_000


def test_the_example_of_the_document_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (REPOSITORY / "docs" / "theory.md").read_text(), re.S)
    found: dict = {}
    exec(example, found)
    assert found["report"].critical_ratio == pytest.approx(1.4804, abs=1e-4)
    assert capsys.readouterr().out.startswith("agce, 10 classes")
