"""Published numbers of one's own: which file is read, which lines belong where, and one line for what is not read."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import made_up
from support.command import Ended
from support.pages import blocks

from labelnoise.tables import published
from labelnoise.tables import table as tables
from labelnoise.tables.published import Published
from labelnoise.tables.table import Table

FILE = {
    "title": "Mine",
    "common": ["dataset=digits"],
    "rows": "all",
    "columns": "all",
    "seeds": [1, 2, 3],
    "metric": "test_acc_last",
    "grid": {
        "rows": {"ce": ["loss=ce"], "robust": ["loss=gce"]},
        "columns": {"none": ["noise=clean"], "40%": ["noise=sym", "rate=0.4"], "asym_0.4": ["noise=asym", "rate=0.4"]},
    },
}
GOOD = "row,noise,rate,mean,std,runs\nce,sym,0.40,80.5,1.2,3\n"


class Own:
    """A folder of the user's own with a table `mine`, and numbers beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.beside = folder, folder / "table" / "published.csv"
        self.beside.parent.mkdir(parents=True)
        self.option = f"hydra.searchpath=[file://{folder}]"

    def table(self, name: str = "mine", **more: object) -> Table:
        (self.folder / "table" / f"{name}.yaml").write_text(yaml.safe_dump(FILE | more))
        return tables.read([f"table={name}", self.option])

    def numbers(self, text: str, **more: object) -> dict[tuple[str, str], Published]:
        self.beside.write_text(text)
        return published.published_of(self.table(**more))


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Own:
    monkeypatch.chdir(tmp_path)
    return Own(tmp_path / "configs")


NO_COUNT = (None, None)
BESIDE: dict[str, dict[tuple[str, str], tuple[float, float | None, int | None]]] = {
    GOOD: {("ce", "40%"): (80.5, 1.2, 3)},
    "row,column,mean\nrobust,40%,80\nce,none,99\n": {
        ("robust", "40%"): (80, *NO_COUNT),
        ("ce", "none"): (99, *NO_COUNT),
    },
    "\ufeffrow, column, mean\n\nce, none, 99\n": {("ce", "none"): (99, *NO_COUNT)},
    "row,noise,rate,mean,std,runs\nce,clean,,99,,\nce,asym,0.4,70,,5\n": {
        ("ce", "none"): (99, *NO_COUNT),
        ("ce", "asym_0.4"): (70, None, 5),
    },
    "mean,row,noise,column\n0.9,ce,,none\n1.1,ce,,40%\n": {
        ("ce", "none"): (0.9, *NO_COUNT),
        ("ce", "40%"): (1.1, *NO_COUNT),
    },
}


@pytest.mark.parametrize(("text", "expected"), BESIDE.items())
def test_a_file_beside_the_table_is_read(own: Own, text: str, expected: dict) -> None:
    """By the column's label, or by its noise and rate, whatever the label."""
    assert {place: number[:3] for place, number in own.numbers(text).items()} == expected
    assert published.unread(own.table(), [own.option]) == []


def test_the_whole_line_of_the_projects_file_is_a_line(own: Own) -> None:
    head, line = published._ours().read_text().splitlines()[:2]
    assert own.numbers(f"{head}\n{line}\n") == {("ce", "none"): Published(90.5, 0.35, 3, "read", "wang2024")}


def test_a_named_file_is_sought_beside_the_table_and_then_here(own: Own, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(GOOD.replace("80.5", "10.5"))
    assert published.published_of(own.table(published="mine.csv"))["ce", "40%"].mean == 10.5
    own.beside.with_name("mine.csv").write_text(GOOD)
    own.beside.write_text("not read, so not checked")
    table = own.table(published="mine.csv")
    assert published.published_of(table)["ce", "40%"].mean == 80.5
    (line,) = published.unread(table, [own.option])
    assert line == f"{own.beside}: not read, because table=mine names others under published"
    with pytest.raises(
        ValueError, match=r"^\S+/table/mine\.yaml: published: no\.csv: no such file in \S+/table or the wo"
    ):
        published.published_of(own.table(published="no.csv"))


def test_a_source_chooses_lines_of_ones_own_file_before_the_projects(own: Own) -> None:
    where = {"source": "wang2024", "table": "Table 2", "dataset": "cifar10", "label": "W"}
    text = "source,table,dataset,row,noise,rate,mean\nwang2024,Table 2,{},ce,asym,0.4,55\nother,,,ce,asym,0.4,66\n"
    assert own.numbers(text.format("cifar10"), published=where) == {
        ("ce", "asym_0.4"): Published(55, None, None, "read", "wang2024")
    }
    projects = own.numbers(text.format("digits"), published=where)
    assert projects["ce", "asym_0.4"] == Published(75.28, 0.58, 3)
    told = published.unread(own.table(published=where), [own.option])
    assert told[-1].endswith("published.csv: not read, because table=mine names others under published")
    nothing = own.table(published=where | {"table": "Table 99"})
    assert published.published_of(nothing) == {}
    assert (
        "no line of published.csv has source=wang2024, table=Table 99, dataset=cifar10"
        in published.unread(nothing, [])[0]
    )


def test_lines_without_a_place_are_told_in_one_line(own: Own) -> None:
    more = "".join(f"ce{i},sym,0.4,1{i},,\n" for i in range(5))
    assert list(own.numbers(f"{GOOD}ec,sym,0.4,80,,\nce,sym,0.3,80,,\nce,pairflip,,80,,\n{more}")) == [("ce", "40%")]
    (line,) = published.unread(own.table(), [own.option])
    assert line == (
        f"{own.beside}: not read, because table=mine has no such place: line 3 (no row ec), line 4 (no column for "
        "noise sym, rate 0.3), line 5 (no column for noise pairflip, rate none), line 6 (no row ce0), line 7 (no row "
        "ce1) and 3 more"
    )
    assert published.unread(own.table(rows=["robust"]), [own.option]) == [line], "a row that is not selected is there"


def test_a_file_elsewhere_is_told(own: Own) -> None:
    own.beside.write_text(GOOD)
    (own.folder / "published.csv").write_text(GOOD)
    (line,) = published.unread(own.table(), [own.option])
    assert line == f"{own.folder}/published.csv: not read, because table=mine is in another folder, {own.folder}/table"
    ours = tables.read(["table=digits", own.option])
    assert published.published_of(ours) == {}
    assert [line.split(":")[0] for line in published.unread(ours, [own.option])] == [
        f"{own.folder}/published.csv",
        str(own.beside),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: needs the columns row, mean, and column (a label) or noise and rate"),
        ("row,mean\nce,90\n", "line 1: needs the columns row, mean, and column"),
        ("row;column;mean\nce;none;90\n", "line 1: no column is called 'row;column;mean'; one of source, table, "),
        ("row,column,mean,stdev\nce,none,90,1\n", "line 1: no column is called 'stdev'; one of source, table, "),
        ("row,column,mean\nce,none,90\nce,40%,80 ± 1\n", "line 3, column mean: must be a valid number"),
        ("row,column,mean\nce,none,190\n", "line 2, column mean: must be less than or equal to 100"),
        ("row,column,mean\nce,none,0.9\nrobust,none,0.9\n", "line 2, column mean: 0.9: accuracies are in percent"),
        ("row,column,mean,std\nce,none,90,-1\n", "line 2, column std: must be greater"),
        ("row,column,mean,runs\nce,none,90,2.5\n", "line 2, column runs: must be a valid integer"),
        ("row,column,mean\nce,none\n", "line 2, column mean: must be a valid number"),
        ("row,column,mean\n,none,90\n", "line 2, column row: "),
        ("row,column,mean\nce,none,90,5\n", "line 2: has more values than line 1 has columns"),
        ("row,column,noise,mean\nce,none,clean,90\n", "line 2: needs a value in column or in noise, and not in both"),
        ("row,column,noise,mean\nce,,,90\n", "line 2: needs a value in column or in noise, and not in both"),
        ("row,noise,rate,mean\nce,sym,0.4,9\n\nce,sym,0.40,8\n", "line 4: row ce, column 40% is on line 2 already"),
    ],
)
def test_a_bad_file_is_one_line_with_its_place(
    own: Own, labelnoise: Callable[..., Ended], text: str, said: str
) -> None:
    with pytest.raises(ValueError, match=r"published\.csv") as raised:
        own.numbers(text)
    assert str(raised.value).startswith(f"{own.beside}, {said}")
    assert "\n" not in str(raised.value)


def test_a_file_that_cannot_be_read_is_one_line(own: Own) -> None:
    own.beside.write_bytes(b"row,column,mean\nce,none,90\xff\n")
    with pytest.raises(ValueError, match=r"published\.csv: is not UTF-8 text$"):
        published.published_of(own.table())
    with pytest.raises(ValueError, match=r"table: is a folder$"):
        published.published_of(own.table(published="../table"))


def test_the_files_of_the_page_are_a_table_and_its_numbers(own: Own) -> None:
    content = {block.code.partition(":")[0].partition(",")[0]: block.code for block in blocks("tables")}
    own.beside.write_text(content["row"])
    table = own.table(**yaml.safe_load(content["title"]))
    numbers = published.published_of(table)
    assert numbers["ce", "sym_0.4"] == Published(78.1, 1.5, 5, "read", "Smith 2023")
    assert list(numbers) == [("ce", "sym_0.4"), ("power", "sym_0.4")]
    assert published.unread(table, [own.option]) == []
    wider = yaml.safe_load(content["title"]) | yaml.safe_load(content["caption"])
    wider["grid"]["rows"]["nce_agce"] = ["loss=nce_agce"]
    assert own.table(**wider).named("power") == "$p^t$"


def test_the_command_shows_them_beside_and_tells_what_it_does_not_read(
    own: Own, labelnoise: Callable[..., Ended]
) -> None:
    own.beside.write_text("row,column,mean,std,runs,source\nce,40%,80.5,0.1,3,Smith 2023\nec,40%,1,,,\n")
    own.table()
    for seed, accuracy in ((1, 0.5), (2, 0.52), (3, 0.51)):
        made_up.write(own.folder, ["dataset=digits", "loss=ce", "noise=sym", "rate=0.4", f"seed={seed}"], accuracy)
    ended = labelnoise("table", f"--config-dir={own.folder}", "table=mine", f"results={own.folder}")
    assert ended.code == 0
    assert "51.00 ± 1.00 (3) †<br>80.50 ± 0.10<br>−29.50" in ended.out
    assert "Beneath ours: Smith 2023 (published.csv)." in ended.out
    assert f"table=mine results={own.folder} --config-dir={own.folder} format=markdown" in ended.out, "as typed"
    assert ended.err.count("\n") == 1
    assert "has no such place: line 3 (no row ec)" in ended.err
