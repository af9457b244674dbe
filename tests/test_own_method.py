"""docs/own_method.md: its examples, word for word, in a folder of one's own: they train, stop anywhere and resume, can
be replayed, and learn nothing from true labels."""

import random
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import permuted_truth
from support.command import Ended, stop_at
from support.data import REPOSITORY
from support.recorders import Frozen
from support.replaying import same
from support.replaying import train as replayed

from labelnoise.data import digits
from labelnoise.experiment import assemble
from labelnoise.experiment.components import Components, make_loss
from labelnoise.experiment.run import compose
from labelnoise.records import store
from labelnoise.training import checkpoints, graphs, learner, signals
from labelnoise.training.device import prepare
from labelnoise.training.graphs import Steps
from labelnoise.training.method import Method

PAGE = (REPOSITORY / "docs" / "own_method.md").read_text()
FILES = dict(re.findall(r"`mine/(\S+)`:\n\n```\w+\n(.*?)```", PAGE, re.S))
COMMANDS = [shlex.split(line) for line in re.findall(r"^PYTHONPATH=.*$", PAGE, re.M)]
# The epochs of each stage, and the steps in each of them with batches of 64 images.
STAGES = {
    "itlm": [(range(0, 2), 6), (range(2, 4), 4), (range(4, 6), 4)],
    "distil": [(range(0, 2), 6), (range(2, 4), 6)],
    "soft_labels": [(range(0, 2), 5)],
}


@pytest.fixture(autouse=True)
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The page's files, in the working directory."""
    for name, content in FILES.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("mine")
    yield
    for name in STAGES:
        sys.modules.pop(name, None)


@pytest.fixture
def eight_pixels(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The first 384 digits, of 8x8 pixels, which train fast."""
    whole = digits.digits()
    few = {name: getattr(whole, name)[:384, :, 2:26:3, 2:26:3] for name in ("train_images", "test_images")}
    few |= {name: getattr(whole, name)[:384] for name in ("train_labels", "true_labels", "test_labels")}
    monkeypatch.setattr(digits, "digits", lambda: whole._replace(**few))
    assemble.load.cache_clear()
    yield
    assemble.load.cache_clear()


def overrides(method: str) -> list[str]:
    """What the page's command for a method gives, without its first words."""
    (found,) = (words for words in COMMANDS if f"method={method}" in words)
    assert found[:3] == ["PYTHONPATH=mine", "python", "train.py"]
    return found[3:]


def only(folder: str) -> tuple[store.Record, dict[str, torch.Tensor]]:
    """A folder's record and the weights that were saved with it."""
    (path,) = Path(folder).glob("*.json")
    return store.load(path), load_file(path.with_suffix(".safetensors"))


def test_the_page_has_three_examples() -> None:
    assert sorted(FILES) == sorted(f for name in STAGES for f in (f"{name}.py", f"method/{name}.yaml"))
    assert len(COMMANDS) == len(STAGES)


@pytest.mark.usefixtures("eight_pixels")
@pytest.mark.parametrize("method", STAGES)
def test_an_example_resumes_in_every_stage(
    method: str, train: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*overrides(method), "threads=1", "save_model=true", "batch_size=64"]
    ended = train(*command, "results=whole")
    assert ended.code == 0, ended.err
    whole, network = only("whole")
    test_acc, stages = whole["history"]["test_acc"], STAGES[method]
    stage_of = [number for number, (epochs, _) in enumerate(stages) for _ in epochs]
    assert whole["history"].get("stage", [0] * len(test_acc)) == stage_of
    best = max(test_acc[stages[-1][0].start :])
    assert whole["metrics"]["test_acc_best"] == pytest.approx(best, abs=1e-4)
    reported = whole["history"].get("trusted_loss")
    assert reported is None if method != "soft_labels" else len(reported) == 2 and min(reported) > 0
    before = 0
    for number, (epochs, steps) in enumerate(stages):
        at = before + random.Random(method).randrange(1, len(epochs) * steps)
        before += len(epochs) * steps
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "AT_LEAST", 0.0)
            stop_at(at, patch)
            stopped = train(*command, f"results={number}")
        assert stopped.code == signals.STOPPED
        assert int(re.findall(r"stopped after epoch (\d+)", stopped.err)[0]) in epochs, "else the test shows nothing"
        torch.manual_seed(99)  # what was drawn before must not matter
        assert train(*command, f"results={number}").code == 0
        resumed, again = only(str(number))
        assert len(resumed["environment"]["earlier_pieces"]) == 1
        for key in ("run_id", "noise", "metrics", "history"):
            assert resumed[key] == whole[key], (number, key)
        assert all(torch.equal(again[name], value) for name, value in network.items())


def small(method: str) -> Method:
    """An example's method on 120 images of 8x8 pixels."""
    own = [word for word in overrides(method) if not word.startswith(("--", "mine"))]
    cfg = compose([*own, "hydra.searchpath=[mine]", "num_trusted=20", "batch_size=16", "network=cnn4", "threads=1"])
    place = prepare("cpu", "float32", 1)
    return assemble.assemble(cfg, *permuted_truth.small(), Components(make_loss(cfg), place)).method


@pytest.mark.parametrize("method", STAGES)
def test_an_examples_steps_can_be_replayed(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "given_up", False)
    monkeypatch.setattr(learner, "TENSOR_RATES", ("cpu",))
    recorded, plain = small(method), small(method)
    recorder = Frozen(recorded)
    epochs = plain.clock.epochs
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*without a CUDA graph")
        torch.manual_seed(0)
        mine = replayed(recorded, Steps(recorded, recorder=recorder), epochs)
    torch.manual_seed(0)
    assert same(mine, replayed(plain, Steps(plain), epochs))
    assert recorder.recorded >= len(plain.stages)


@pytest.mark.parametrize("method", STAGES)
def test_an_example_learns_nothing_from_true_labels(method: str) -> None:
    own = [word for word in overrides(method) if word.startswith(("method=", "network@"))]
    cfg = compose([*permuted_truth.COMMON, "hydra.searchpath=[mine]", *own, "epochs=4"])
    assert permuted_truth.holds(cfg)


def test_the_examples_refuse_what_is_wrong(train: Callable[..., Ended]) -> None:
    for method, wrong, said in (
        ("itlm", "method.share=0", "method.share=0: must be a number above 0 and at most 1"),
        ("itlm", "method.shaer=0.7", "method.shaer=0.7: no such option"),
        ("distil", "network@method.teacher=cnn5", "network@method.teacher=cnn5: no such option; one of cnn4, cnn8"),
        ("soft_labels", "num_trusted=0", "num_trusted=0: method=soft_labels needs images with true labels"),
    ):
        ended = train(*overrides(method), wrong, "results=wrong")
        assert ended.code == 1
        assert said in ended.err
        assert len(ended.err.strip().splitlines()) == 1
    assert not list(Path("wrong").glob("*.json"))


@pytest.mark.usefixtures("eight_pixels")
def test_the_first_example_finds_wrong_labels(train: Callable[..., Ended]) -> None:
    assert train(*overrides("itlm"), "threads=1", "save_model=true", "results=whole").code == 0
    auc = only("whole")[0]["history"]["clean_auc"]
    assert auc[:2] == [0.5, 0.5], "the first stage keeps all"
    assert auc[-1] > 0.85, "the last keeps the images with right labels"
