"""A week with a paper of one's own: the parts of docs/own.md and a method of docs/own_method.md in a table beside
published numbers of one's own, stopped, resumed, merged, changed and printed."""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.command import Ended, stop_at
from support.pages import blocks

from labelnoise.records import store

PARTS = {
    re.findall(r"`([\w/]+\.(?:py|yaml))`", block.said)[0]: block.code
    for block in blocks("own")
    if block.language in ("python", "yaml")
}
METHOD = dict(
    zip(("itlm.py", "configs/method/itlm.yaml"), [block.code for block in blocks("own_method")][:2], strict=True)
)
TABLE = """title: A week
caption: "Half of the digits, $\\\\eta = 0.4$."
names: {power: "$(1 - p_y)^t$", ce: CE, itlm: ITLM}
common: [dataset=half, network=perceptron, network.width=16, epochs=3]
rows: all
columns: all
seeds: [1, 2]
metric: test_acc_last
grid:
  rows: {power: [loss=power], ce: [loss=ce], itlm: [method=itlm, loss=power]}
  columns: {opposite_0.4: [noise=opposite, rate=0.4], faint_0.4: [noise=faint, rate=0.4]}
"""
PUBLISHED = """row,noise,rate,mean,std,runs,source
ce,opposite,0.4,50.0,1.0,5,Smith 2023
power,opposite,0.4,60.0,,,Smith 2023
"""
STEPS = 3 * 23  # of a cell: 719 images, 32 a batch
WEEK = ("--config-dir=configs", "table=week")
COMMAND = Callable[..., Ended]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_this_process: None, one_thread: None) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    tables = {"configs/table/week.yaml": TABLE, "configs/table/published.csv": PUBLISHED}
    for name, content in {**PARTS, **METHOD, **tables}.items():
        put(name, content)
    yield
    forget()


def put(name: str, content: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    forget()


def forget() -> None:
    """As a new process, which imports the files anew."""
    for name in ("my_losses", "my_noise", "my_networks", "my_data", "itlm"):
        sys.modules.pop(name, None)


def status(labelnoise: COMMAND, *more: str) -> str:
    ended = labelnoise("table", *WEEK, "format=status", *more)
    assert ended.code == 0, ended.err
    return ended.out.partition(";")[0].strip()


def records(folder: str = "runs") -> dict[str, store.Record]:
    return {path.stem: store.load(path) for path in Path(folder).glob("*.json")}


def test_a_week(labelnoise: COMMAND) -> None:
    # Monday: each part is checked, and the table is started. The machine is needed, and it is stopped.
    checked = labelnoise(
        "check", *WEEK[:1], "dataset=half", "network=perceptron", "noise=faint", "rate=0.4", "loss=power"
    )
    assert (checked.code, checked.out.count(" ok: ")) == (0, 5), checked.err
    with pytest.MonkeyPatch.context() as patch:
        stop_at(3 * STEPS + 30, patch)
        stopped = labelnoise("train", "-m", *WEEK)
    assert stopped.code == 75
    assert status(labelnoise) == "week: 3 of 12 done, 0 running, 0 failed, 9 missing"

    # Tuesday: another machine makes a row, which is merged; the same command resumes the rest.
    assert labelnoise("train", "-m", *WEEK, "table.rows=itlm", "results=elsewhere").code == 0
    assert len(records("elsewhere")) == 4
    assert labelnoise("merge", "elsewhere").code == 0
    (left,) = (path.stem for path in Path("runs").glob("*.checkpoint"))
    resumed = labelnoise("train", "-m", *WEEK)
    assert resumed.code == 0, resumed.err
    assert status(labelnoise) == "week: 12 of 12 done, 0 running, 0 failed, 0 missing"
    first = records()
    assert [run_id for run_id, record in first.items() if "resumed" in record["environment"]] == [left]
    assert first[left]["environment"]["resumed"] == 1
    assert labelnoise("train", "-m", *WEEK, "results=alone", "table.rows=ce", "table.seeds=1").code == 0
    assert left in records("alone")
    assert all(first[run_id]["history"] == record["history"] for run_id, record in records("alone").items())

    # Wednesday: the table, beside the published numbers, with the rows tested against each other.
    shown = labelnoise("table", *WEEK, "test=best", "correction=holm")
    assert (shown.code, shown.err) == (0, "")
    assert "12 of 12 trainings are done." in shown.out
    assert "Smith 2023" in shown.out
    cells = json.loads(labelnoise("table", *WEEK, "format=json").out)
    known = {(cell["row"], cell["column"]): cell["published_mean"] for cell in cells if cell["published_mean"]}
    assert known == {("ce", "opposite_0.4"): 50.0, ("power", "opposite_0.4"): 60.0}

    # Thursday: the loss is mended. What was made with it is not counted, and not thrown away.
    put("my_losses.py", PARTS["my_losses.py"].replace("return (1 -", "return 5 * (1 -"))
    told = "table=week: 8 cells changed, not done: made before my_losses.py changed; force=true trains again, "
    told += "accept_changed=true counts as done\n"
    refused = labelnoise("train", "-m", *WEEK)
    assert (refused.code, refused.err) == (1, f"error: {told}")
    assert status(labelnoise) == "week: 4 of 12 done, 0 running, 0 failed, 0 missing, 8 changed"
    assert labelnoise("table", *WEEK).err == told
    figure = labelnoise("figures", "accuracy", *WEEK)
    assert (figure.code, figure.err) == (0, told)
    assert records() == first
    again = labelnoise("train", "-m", *WEEK, "table.rows=[power,itlm]", "force=true")
    assert again.code == 0, again.err
    assert status(labelnoise) == "week: 12 of 12 done, 0 running, 0 failed, 0 missing"
    second = records()
    assert second.keys() == first.keys(), "an id does not depend on source files"
    changed = {run_id for run_id in first if first[run_id]["history"] != second[run_id]["history"]}
    assert changed == {run_id for run_id in first if first[run_id]["config"]["loss"]["_target_"] == "my_losses.power"}

    # Friday: a value in its card is another configuration.
    put("configs/loss/power.yaml", PARTS["configs/loss/power.yaml"].replace("t: 2.0", "t: 3.0"))
    assert status(labelnoise) == "week: 4 of 12 done, 0 running, 0 failed, 8 missing"
    put("configs/loss/power.yaml", PARTS["configs/loss/power.yaml"])
    assert status(labelnoise) == "week: 12 of 12 done, 0 running, 0 failed, 0 missing"
    latex = labelnoise("table", *WEEK, "format=latex")
    assert (latex.code, latex.err) == (0, "")
    for part in (r"\toprule", r"\bottomrule", r"\caption{", r"$\eta = 0.4$", "$(1 - p_y)^t$ &", "ITLM &", r"\textbf{"):
        assert part in latex.out
    assert latex.out.count("missing") == 0
