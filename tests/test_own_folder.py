"""Options and functions in a user's own folder, without a fork: --config-dir and the working directory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_trusted=1300", "threads=1"]
LOSS = '''"""A loss of one's own."""

from typing import Annotated

from annotated_types import Ge
from torch import Tensor


def power(logits: Tensor, labels: Tensor, t: Annotated[float, Ge(1)]) -> Tensor:
    """(1 - p_y)^t. Shapes: (B, C), (B,) -> (B,)."""
    return (1 - logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)) ** t
'''
CARD = "_target_: my_losses.power\n_partial_: true\nt: 2.0\n"
DATA = '''"""A data set of one's own."""

from labelnoise.data.dataset import Dataset
from labelnoise.data.digits import digits


def half() -> Dataset:
    """Every other image of digits."""
    whole = digits()
    labels = whole.train_labels[::2]
    return whole._replace(name="half", train_images=whole.train_images[::2], train_labels=labels, true_labels=labels)
'''
DATASET = """# @package _global_
tuned_row: default
recipe: {epochs: 2, batch_size: 32, lr: 0.01, weight_decay: 0.0}
dataset: {name: half, load: {_target_: my_data.half, _partial_: true}, augment: null}
"""
TABLE = """title: Mine
common: [dataset=digits, epochs=1, num_trusted=1300]
rows: all
columns: all
seeds: [1]
metric: test_acc_last
grid:
  rows: {power: [loss=power], ce: [loss=ce]}
  columns: {sym_0.4: [noise=sym, rate=0.4]}
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, which is the working directory."""
    files = {
        "my_losses.py": LOSS,
        "my_data.py": DATA,
        "configs/loss/power.yaml": CARD,
        "configs/dataset/half.yaml": DATASET,
        "configs/table/mine.yaml": TABLE,
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in ("my_losses", "my_data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_a_loss_of_ones_own(own: Path) -> None:
    """Through the shell, as a user types it."""
    command = [sys.executable, "-m", "labelnoise", "train", "--config-dir", "configs", "loss=power", *SHORT]
    done = subprocess.run(command, cwd=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = (own / "runs").glob("*.json")
    assert json.loads(path.read_text())["config"]["loss"]["_target_"] == "my_losses.power"


def test_its_range_and_its_name_are_known(own: Path, labelnoise) -> None:
    train = ("train", "--config-dir=configs", *SHORT)
    assert labelnoise(*train, "loss=power", "loss.t=0.5").err == "error: loss.t=0.5: must be a number, at least 1\n"
    assert "one of ael, agce" in (err := labelnoise(*train, "loss=powr").err)
    assert " power, " in err
    assert "power" in labelnoise("train", "--config-dir=configs", "--help").out
    assert not (own / "runs").exists()


def test_a_data_set_of_ones_own(own: Path, labelnoise) -> None:
    ended = labelnoise("noise", "--config-dir=configs", "dataset=half", "noise=sym", "rate=0.4")
    assert (ended.code, ended.err) == (0, "")
    assert "of 719 labels are wrong" in ended.out


def test_a_table_of_ones_own(own: Path, labelnoise) -> None:
    """Its jobs find the folder too, in a process of their own."""
    ended = labelnoise("train", "-m", "--config-dir=configs", "table=mine", "hydra.launcher.n_jobs=1")
    assert ended.code == 0, ended
    assert "done 2, failed 0, missing 0" in ended.out
    shown = labelnoise("table", "--config-dir=configs", "table=mine")
    assert (shown.code, shown.err) == (0, "")
    assert "| `power` |" in shown.out
    assert "missing" not in shown.out.split("|")[-1]
    assert labelnoise("table", "table=mine").err.startswith("error: table=mine: no such option; one of ")
