"""docs/methods.md: its example, word for word, in a folder of one's own, trains, is stopped and resumes."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import REPOSITORY, Ended, stop_at

from labelnoise.experiment import records
from labelnoise.training import checkpoints, signals

PAGE = (REPOSITORY / "docs" / "methods.md").read_text()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The page's two files, written, and its command's arguments."""
    files = re.findall(r"`(mine/\S+)`:\n\n```\w+\n(.*?)```", PAGE, re.S)
    assert [Path(name).suffix for name, _ in files] == [".py", ".yaml"]
    for name, content in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (line,) = re.findall(r"^PYTHONPATH=.*$", PAGE, re.M)
    path, _, script, *arguments = shlex.split(line)
    assert (path, script) == ("PYTHONPATH=mine", "train.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("mine")
    return [*arguments, "threads=1"]


def only(folder: str) -> records.Record:
    (path,) = Path(folder).glob("*.json")
    return records.load(path)


def test_the_example_of_the_page(command: list[str], train: Callable[..., Ended], monkeypatch) -> None:
    ended = train(*command, "results=whole")
    assert ended.code == 0, ended.err
    whole = only("whole")
    assert whole["config"]["method"]["_target_"] == "itlm.ITLM"
    first, second = whole["history"]["clean_auc"]
    assert first == 0.5, "in the warm-up it keeps all"
    assert second > 0.85, "it keeps the images with right labels"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "AT_LEAST", 0.0)
        stop_at(45 + 10, patch)  # 45 steps are the first epoch
        assert train(*command, "results=stopped").code == signals.STOPPED
    assert not list(Path("stopped").glob("*.json"))
    torch.manual_seed(99)  # what was drawn before must not matter
    assert train(*command, "results=stopped").code == 0
    resumed = only("stopped")
    assert len(resumed["environment"]["earlier_pieces"]) == 1
    for key in ("run_id", "noise", "metrics", "history"):
        assert resumed[key] == whole[key], key


def test_the_example_refuses_what_is_wrong(command: list[str], train: Callable[..., Ended]) -> None:
    for wrong, said in {
        "method.share=0": "method.share=0: must be a number above 0, at most 1",
        "method.shaer=0.7": "method.shaer",
    }.items():
        ended = train(*command, wrong, "results=wrong")
        assert ended.code == 1
        assert said in ended.err
        assert len(ended.err.strip().splitlines()) == 1
    assert not list(Path("wrong").glob("*.json"))
