"""Hostile input through the command line: one line that says what is wrong, exit code 1, no data read, nothing left."""

import contextlib
import io
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import hostile_inputs
from support.command import Ended, exit_code

from labelnoise.config import compose


class Accepted(BaseException):
    """The input got as far as data or a claim."""


def ask(*arguments: str) -> Ended:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.argv", ["labelnoise", *arguments])
        patch.setattr("labelnoise.experiment.assemble.load", accept)
        patch.setattr("labelnoise.training.loop.train_epoch", accept)
        code = exit_code()
    return Ended(code, out.getvalue(), err.getvalue())


def accept(*_: object, **__: object) -> None:
    raise Accepted


def fault(*arguments: str) -> str:
    """What is wrong with the answer to a wrong command line; empty if nothing is."""
    try:
        answer = ask(*arguments)
    except Accepted:
        return "was accepted"
    except BaseException as error:
        return f"raised {error!r}"
    lines = answer.err.splitlines()
    if answer.code != 1 or answer.out or len(lines) != 1:
        return str(answer)
    if not lines[0].startswith("error: ") or not lines[0].isprintable() or "LABELNOISE_TRACEBACK" in lines[0]:
        return lines[0]
    return ""


def faults(inputs: list[list[str]]) -> dict[str, str]:
    found = {" ".join(arguments)[:100]: fault(*arguments) for arguments in inputs}
    return {arguments: text for arguments, text in found.items() if text}


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


CLASSES = {
    name: getattr(hostile_inputs, name) for name in ("OPTIONS", "GROUPS", "COMPONENTS", "SYNTAX", "FLAGS", "WORDS")
}


def test_there_are_three_hundred() -> None:
    every = {tuple(arguments) for inputs in CLASSES.values() for arguments in inputs}
    assert len(every) + len(hostile_inputs.YAML) >= 300


COMPOSED = ("OPTIONS", "COMPONENTS")  # most of these are refused only once they are composed, in a tenth of a second


@pytest.mark.parametrize("name", CLASSES)
def test_one_line_and_nothing_left(name: str, empty: Path) -> None:
    """Of the two long classes every other input; `make test-slow` has them whole."""
    assert faults(CLASSES[name][:: 2 if name in COMPOSED else 1]) == {}
    assert list(empty.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPOSED)
def test_one_line_and_nothing_left_of_all(name: str, empty: Path) -> None:
    assert faults(CLASSES[name]) == {}
    assert list(empty.iterdir()) == []


def test_files_of_the_users_own(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "SECONDS", 1.0)
    folder = empty / "configs" / "loss"
    folder.mkdir(parents=True)
    for name, content in hostile_inputs.MODULES.items():
        (empty / name).write_text(content)
    found = {}
    for kind, content in hostile_inputs.YAML.items():
        (folder / "mine.yaml").write_text(content)
        found[kind] = fault("train", "--config-dir", "configs", "dataset=digits", "loss=mine")
    (folder / "mine.yaml").write_bytes(b"\xff\xfe\x00_target_")
    found["not UTF-8"] = fault("train", "--config-dir", "configs", "dataset=digits", "loss=mine")
    (folder / "mine.yaml").unlink()
    (folder / "mine.yaml").mkdir()
    found["a folder"] = fault("train", "--config-dir", "configs", "dataset=digits", "loss=mine")
    assert {kind: text for kind, text in found.items() if text} == {}
    left = {path.name for path in empty.iterdir()} - {"__pycache__"}
    assert left == {"configs", *hostile_inputs.MODULES}


def test_time_that_is_over_is_said_again_where_a_destructor_dropped_it() -> None:
    """Python prints what is raised inside `__del__` and goes on."""

    def spin() -> None:
        end = time.process_time() + 5
        while time.process_time() < end:
            pass

    def drop_once() -> None:
        with contextlib.suppress(ValueError):
            spin()
        spin()

    with pytest.raises(ValueError, match="refers to others so often"), compose.deadline(0.05):
        drop_once()


KEYS = st.one_of(
    st.sampled_from(["loss", "epochs", "optimizer.lr", "+loss.x", "~noise", "results", "seed", "-m"]),
    st.text(max_size=6),
)
VALUES = st.one_of(st.text(max_size=8), st.text("[]{}(),:'\"\\${}=@~+-0123456789aeinf. ", max_size=12))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(arguments=st.lists(st.builds("{}={}".format, KEYS, VALUES), min_size=1, max_size=3))
def test_any_text_is_run_or_refused_in_one_line(arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    with contextlib.chdir(tmp_path_factory.mktemp("any")):
        assert fault("train", "dataset=digits", "epochs=7", *arguments) in ("", "was accepted")
