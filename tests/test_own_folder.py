"""Options and functions in a user's own folder, without a fork: the files of docs/own.md, word for word, with
--config-dir and the working directory. Every command of the page is run as it is written."""

import json
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from support.command import Ended
from support.pages import blocks
from support.report_records import content_of

from labelnoise.records import store

BLOCKS = blocks("own")
# The file that a block is: the first that the paragraph before it names.
FILES = {
    re.findall(r"`([\w/]+\.(?:py|yaml))`", block.said)[0]: block.code
    for block in BLOCKS
    if block.language in ("python", "yaml")
}
COMMANDS = [line for block in BLOCKS if block.language == "bash" for line in block.code.splitlines()]
SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_trusted=1300", "threads=1"]
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
    for name, content in {**FILES, "configs/table/mine.yaml": TABLE}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in FILES:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return tmp_path


def test_every_command_of_the_page_runs(own: Path, labelnoise: Callable[..., Ended]) -> None:
    """And prints what the page shows."""
    said = ""
    for line in COMMANDS:
        program, *words = shlex.split(line, comments=True)
        if program == "python":
            runpy.run_path(words[0])
            continue
        assert program == "labelnoise"
        ended = labelnoise(*words)
        assert ended.code == 0, (line, ended.err)
        said += ended.out
    for shown in (block.code for block in BLOCKS if not block.language):
        assert shown in said
    assert len(FILES) == sum(block.language in ("python", "yaml") for block in BLOCKS), "each is there once"
    assert {block.language for block in BLOCKS} == {"python", "yaml", "bash", ""}
    records = [store.load(path) for path in (own / "runs").glob("*.json")]
    assert len(records) == sum(" train " in line for line in COMMANDS)
    by_noise = {record["config"]["noise"]["_target_"]: record["noise"]["realised_rate"] for record in records}
    assert by_noise["my_noise.faint"] == pytest.approx(0.4, abs=1e-3)


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


@pytest.mark.parametrize(
    ("file", "option", "keys"),
    [
        ("loss/power_rows", "loss=power_rows", "tuned and loss"),
        ("loss/power_rows", "loss=ce,power_rows", "tuned and loss"),
        ("noise/faint", "noise=faint", "tuned_kind and noise"),
        ("dataset/half", "dataset=half", "tuned_row, recipe and dataset"),
    ],
)
def test_a_missing_package_line_is_named(own: Path, labelnoise, file: str, option: str, keys: str) -> None:
    path = own / "configs" / f"{file}.yaml"
    path.write_text(path.read_text().replace("# @package _global_\n", "# Of my own.\n\n"))
    given = [word for word in SHORT if word.split("=")[0] != option.split("=")[0]]
    ended = labelnoise("train", "--config-dir=configs", *given, option, *["-m"] * ("," in option))
    where = option.split("=")[0]
    reason = f"because without it {keys} would be options below {where}"
    assert ended.err == f"error: {path}: its first line must be # @package _global_, {reason}\n"
    assert ended.code == 1
    assert not (own / "runs").exists()


def test_the_arrays_count_for_the_runs_id(own: Path, labelnoise) -> None:
    runpy.run_path("make_arrays.py")
    command = ["train", "--config-dir=configs", "dataset=arrays", "noise=sym", "rate=0.4", "epochs=1", "num_val=1300"]
    assert labelnoise(*command).code == 0
    (own / "make_arrays.py").write_text(FILES["make_arrays.py"].replace("15.9", "15.8"))
    runpy.run_path("make_arrays.py")
    assert "is done already" not in labelnoise(*command).out
    assert len(list((own / "runs").glob("*.json"))) == 2


def test_a_table_of_ones_own(own: Path, labelnoise, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its jobs find the folder too, in a process of their own."""
    ended = labelnoise("train", "-m", "--config-dir=configs", "table=mine", "hydra.launcher.n_jobs=1")
    assert ended.code == 0, ended
    assert "done 2, failed 0, missing 0" in ended.out
    shown = labelnoise("table", "--config-dir=configs", "table=mine")
    assert (shown.code, shown.err) == (0, "")
    assert "| `power` |" in shown.out
    assert "missing" not in shown.out.split("|")[-1]
    assert labelnoise("table", "table=mine").err.startswith("error: table=mine: no such option; one of ")
    monkeypatch.setattr("labelnoise.cli.report.charting_library", lambda: nullcontext(str))
    _every_subcommand_takes_it(own, labelnoise)


def _every_subcommand_takes_it(own: Path, labelnoise) -> None:
    pytest.importorskip("matplotlib")
    folder = "--config-dir=configs"
    summary = labelnoise("summary", folder, "table=mine", "format=csv")
    assert [line.split(",")[0] for line in summary.out.splitlines()] == ["loss", "ce", "power"]
    drawn = labelnoise("figures", "accuracy", "table=mine", folder)
    assert (drawn.code, drawn.err) == (0, "")
    over = labelnoise("figures", "hyper_parameter", "over=loss.t", "table=mine", folder)
    assert over.err.startswith("error: over=loss.t: has only one value where all else is the same; ")
    assert labelnoise("report", "table=mine", "only=true", folder).out.startswith("report.html written: 2 runs, ")
    page = content_of((own / "report.html").read_text())
    assert [table["name"] for table in page["tables"]] == ["mine"]
    assert [len(cell["runs"]) for cell in page["tables"][0]["cells"]] == [1, 1]
    commands = {run["names"]["loss"]: run["command"] for run in page["runs"]}
    assert commands["power"].endswith(f"seed=1 threads=1 --config-dir={own}/configs")
