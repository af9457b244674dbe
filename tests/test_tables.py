"""Tables: a cell's id is that of the run it names, the papers' values are in the rows, and what is printed is right."""

import csv
import functools
import io
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import made_up
from support.command import Ended
from support.configs import every
from support.published_values import RELEASED

from labelnoise.config import identity, merged
from labelnoise.config.compose import compose
from labelnoise.config.groups import CONFIGS
from labelnoise.files import claims
from labelnoise.records import store
from labelnoise.tables import comparison, published, sheet
from labelnoise.tables import table as tables
from labelnoise.tables.comparison import Result
from labelnoise.tables.published import Published
from labelnoise.tables.render import FORMATS
from labelnoise.tables.table import Cell, Table

TABLES = [name for name in every("table") if name != "none"]
LOSSES = ["ce", "focal", "gce", "sce", "nlnl", "mae", "rce", "nce", "agce", "aul", "ael"]
LOSSES += ["nce_mae", "nce_rce", "nfl_rce", "nce_agce", "nce_aul", "nce_ael"]
GRID = ["clean", *(f"sym_{r}" for r in (0.2, 0.4, 0.6, 0.8)), *(f"asym_{r}" for r in (0.1, 0.2, 0.3, 0.4))]


@functools.cache
def table_of(name: str) -> Table:
    return tables.read([f"table={name}"])


@pytest.fixture
def show(labelnoise: Callable[..., Ended]) -> Callable[..., Ended]:
    """`labelnoise table <arguments>` in this process."""
    return partial(labelnoise, "table")


def part(table: Table, row: str, column: str, *seeds: int) -> Table:
    return table._replace(rows={row: table.rows[row]}, columns={column: table.columns[column]}, seeds=seeds)


def assert_ids_are_the_runs(table: Table, row: str, column: str) -> None:
    """The whole command is composed once more, with the cell's own seed."""
    (cell,) = tables.cells(part(table, row, column, 2))
    assert (cell.row, cell.column, cell.seed) == (row, column, 2)
    assert cell.run_id == identity.run_id(identity.effective(compose(list(cell.overrides)))), cell


def fabricate(cell: Cell, folder: Path, accuracy: float, **environment: object) -> Path:
    """The record that this cell would have."""
    path = made_up.write(folder, cell.overrides, accuracy, **environment)
    assert path.stem == cell.run_id
    return path


# ------------------------------------------------------------------------------------------------------ every table


@pytest.mark.parametrize("name", TABLES)
def test_ids_are_those_of_the_runs(name: str) -> None:
    """Some rows and columns, the second seed; every cell below."""
    table = table_of(name)
    rows, columns = list(table.rows), list(table.columns)
    longest = max(len(rows), len(columns))
    for i in range(0, longest, max(1, longest // 4)):
        assert_ids_are_the_runs(table, rows[i % len(rows)], columns[i % len(columns)])


@pytest.mark.parametrize("name", TABLES)
def test_no_cell_needs_hydra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "compose", lambda overrides: pytest.fail(f"composed: {overrides}"))
    table = tables.read([f"table={name}"])
    assert len(tables.cells(table)) == len(table.rows) * len(table.columns) * len(table.seeds)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_ids_are_those_of_the_runs_in_every_cell(name: str) -> None:
    table = table_of(name)
    for row in table.rows:
        for column in table.columns:
            assert_ids_are_the_runs(table, row, column)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_it_is(name: str) -> None:
    head = "\n".join(line for line in (CONFIGS / "table" / f"{name}.yaml").read_text().splitlines() if line[:1] == "#")
    for word in (r"arXiv|NeurIPS", f"make table TABLE={name}", f"train.py -m table={name}", "Cost: .*training runs"):
        assert re.search(word, head.replace("\n# ", " ")), word
    table = table_of(name)
    trainings = len(table.rows) * len(table.columns) * len(table.seeds)
    assert f"Cost: {trainings} training runs" in head.replace("\n# ", " ")
    first = {row: {table.row(row, column)[0] for column in table.columns} for row in table.rows}
    assert table.heading in ("loss", "method")
    options = {f"{table.heading}={option}" for option in every(table.heading)}
    assert all(first[row] <= options for row in table.rows)  # several rows may be of one option


@pytest.mark.parametrize("name", TABLES)
def test_what_is_published_has_a_cell(name: str) -> None:
    table = table_of(name)
    numbers = published.published_of(table)
    assert bool(numbers) == bool(table.published)
    assert {column for _, column in numbers} == (set(table.columns) if numbers else set())
    assert published.unread(table, []) == [], "every line has a row and a column"


def test_every_published_line_is_used_and_has_a_source() -> None:
    used = set()
    for name in TABLES:
        where = table_of(name).published
        used |= {(where.source, where.table, where.dataset)} if where else set()
    lines = published.published_rows()
    assert {(line.source, line.table, line.dataset) for line in lines} == used
    assert all(line.row in {*every("loss"), *every("method")} and line.runs != 1 for line in lines)
    assert all(0 < line.mean < 100 for line in lines)
    assert len({tuple(line.model_dump().values())[:6] for line in lines}) == len(lines), "a cell is there twice"


def test_published_numbers() -> None:
    """By hand from the papers."""
    cifar10, cifar100, own, mnist, human = (
        published.published_of(table_of(name))
        for name in ("cifar10_zhou2021", "cifar100_wang2024", "cifar100_zhou2021", "mnist_zhou2021", "cifar10n")
    )
    assert cifar10["ce", "sym_0.4"] == Published(58.46, 0.21, 3)
    assert cifar10["nce_agce", "asym_0.4"].mean == 79.28
    assert not any(row in ("sce", "agce", "ce_eps_mae") for row, _ in cifar10)
    assert cifar100["nce_aul", "sym_0.8"].mean == 12.69
    assert own["nce_aul", "sym_0.8"].mean == 23.03, "zhou2021's, not wang2024's"
    assert own["ce", "clean"] == Published(71.33, 0.43, 3, "quoted")
    assert {row for row, _ in own} == {"ce", "gce", "nce", "nce_aul"}
    assert mnist == {}
    assert human["agce", "worse"] == Published(81.43, 0.32, 5)
    memory = {name: published.published_of(table_of(name)) for name in ("cifar10_liu2020", "cifar10_li2020")}
    assert memory["cifar10_liu2020"]["elr", "asym_0.4"] == Published(90.12, 0.47, 5, "quoted")
    assert memory["cifar10_li2020"]["divide_mix", "asym_0.4"] == Published(92.1, None, None, "memory")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cifar10_zhou2021", "not zhou2021's own numbers."),
        ("cifar10_han2018", "README of the released code."),
        ("cifar10_wei2020", "Table 3. Certainty: all quoted by a later text."),
        ("cifar10_liu2022", "ResNet-34. Certainty: all from memory, not checked."),
        (
            "cifar10_li2020",
            "divide_mix sym_0.9 quoted by a later text; divide_mix asym_0.4 from memory, not checked.",
        ),
    ],
)
def test_a_table_says_how_sure_its_published_numbers_are(name: str, said: str) -> None:
    table = table_of(name)
    lines = sheet.beneath(table, comparison.results(table, [], {}), [], [])
    (line,) = (line for line in lines if line.startswith("Beneath ours"))
    assert line.endswith(said)


def test_a_published_number_in_full() -> None:
    def full(*values: Any) -> str:
        return sheet.theirs_in_full(Result("ce", "clean", (), (), Published(*values)))

    assert full(75.47, 0.27, 3) == "75.47 ± 0.27 (3 runs)"
    assert full(85.73, None, 5, "quoted") == "85.73 (5 runs), quoted by a later text"
    assert full(92.1, None, None, "memory") == "92.10, from memory, not checked"
    assert sheet.theirs_in_full(Result("ce", "clean", (), (), None)) == ""


def test_an_unknown_number_of_runs_is_not_tested() -> None:
    values = (10.0, 11.0, 12.0)
    assert Result("ce", "clean", values, ("",) * 3, Published(20.0, 0.1, 3)).p is not None
    assert Result("ce", "clean", values, ("",) * 3, Published(20.0, 0.1, None)).p is None


@pytest.mark.parametrize("name", ["digits", "mnist_zhou2021", "cifar10_zhou2021", "cifar100_zhou2021"])
def test_the_papers_grid(name: str) -> None:
    table = table_of(name)
    assert (list(table.rows), list(table.columns), table.seeds) == (LOSSES, GRID, (1, 2, 3))
    for column in GRID:
        cfg = compose(list(tables.overrides_of(table, "ce", column, 3)))
        kind, _, rate = column.partition("_")
        own = "" if name == "digits" else "_zhou2021"
        target = {"clean": "given", "sym": f"symmetric{own}", "asym": f"asymmetric{own}"}[kind]
        assert cfg.noise._target_.rpartition(".")[2] == target
        assert str(cfg.noise.get("rate", "")) == rate
        assert cfg.seed_noise == (123 if own else 3)
        assert (cfg.seed_init, cfg.seed_data) == (3, 3)


@pytest.mark.parametrize("loss", RELEASED)
def test_rows_of_zhou2021_have_the_released_values(loss: str) -> None:
    names = ("mnist_zhou2021", "cifar10_zhou2021", "cifar100_zhou2021")
    for name, values in zip(names, RELEASED[loss], strict=True):
        cfg = compose(list(tables.overrides_of(table_of(name), loss, "sym_0.4", 1)))
        assert {letter: cfg.loss[letter] for letter in values} == values, name
        assert (cfg.batch_size, cfg.clip_norm) == (128, 5.0)
    corrected, sequential = (table_of(f"cifar10_{name}") for name in ("corrected", "zhou2021"))
    assert corrected.rows == sequential.rows
    assert corrected.common == sequential.common
    assert corrected.columns["clean"] == sequential.columns["clean"]


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_wang2024_values_and_seeds(dataset: str) -> None:
    table = table_of(f"{dataset}_wang2024")

    def cfg(row: str, column: str, seed: int):
        return compose(list(tables.overrides_of(table, row, column, seed)))

    q = [0.5, 0.5, 0.7, 0.7, 0.9, 0.7, 0.7, 0.7, 0.7] if dataset == "cifar100" else [0.7] * 9
    assert [cfg("gce", column, 1).loss.q for column in GRID] == q
    assert [cfg("ce", "sym_0.4", seed).seed_noise for seed in (1, 2, 3)] == [123, 124, 125]
    drawn = [0, 0, 0] if dataset == "cifar100" else [123, 124, 125]
    assert [cfg("ce", "asym_0.2", seed).seed_noise for seed in (1, 2, 3)] == drawn
    assert [cfg("ce", "asym_0.2", seed).seed_init for seed in (1, 2, 3)] == [1, 2, 3]
    sce, nce_rce = cfg("sce", "clean", 1).loss, cfg("nce_rce", "clean", 1).loss
    assert (sce.alpha, sce.beta) == ((0.1, 1) if dataset == "cifar10" else (6, 0.1))
    assert (nce_rce.alpha, nce_rce.beta) == ((1, 1) if dataset == "cifar10" else (10, 0.1))


@pytest.mark.parametrize("name", ["cifar10n", "cifar100n"])
def test_human_noise_has_the_cifar_n_protocol(name: str) -> None:
    table = table_of(name)
    assert (table.seeds, table.metric) == ((1, 2, 3, 4, 5), "test_acc_best")
    for column in table.columns:
        cfg = compose(list(tables.overrides_of(table, "ce", column, 1)))
        assert cfg.noise.labels == column
        assert (cfg.epochs, cfg.batch_size, cfg.clip_norm) == (100, 128, None)
        assert (cfg.optimizer.lr, cfg.optimizer.weight_decay, cfg.optimizer.momentum) == (0.1, 5e-4, 0.9)
        assert (list(cfg.schedule.milestones), cfg.schedule.gamma) == ([60], 0.1)
        assert (cfg.dataset.augment.padding, cfg.dataset.augment.flip, cfg.dataset.augment.degrees) == (4, True, 0.0)
        assert cfg.network._target_.endswith("resnet34")


@pytest.mark.committed
def test_records_made_by_hand_are_found() -> None:
    """Committed ones, made before there were tables; and the command of the README that makes one of MNIST's."""
    digits = tables.cells(tables.read(["table=digits", "table.columns=[sym_0.4]", "table.seeds=[1]"]))
    assert all(store.find(cell.run_id, "nowhere") for cell in digits)
    (cell,) = tables.cells(part(table_of("mnist_zhou2021"), "agce", "sym_0.4", 1))
    typed = "protocol=zhou2021 dataset=mnist loss=agce noise=sym_zhou2021 rate=0.4 seed_noise=123 seed=1 threads=1"
    assert cell.run_id == identity.run_id(identity.effective(compose(typed.split())))


# ---------------------------------------------------------------------------------------------------- cells and ids


def test_cells_come_seed_by_seed_in_the_tables_order() -> None:
    choice = ["table=digits", "table.rows=[agce,ce]", "table.columns=[sym_0.4,clean]", "table.seeds=[3,1]"]
    cells = tables.cells(tables.read(choice), ["epochs=2"])
    assert [(c.seed, c.row, c.column) for c in cells] == [
        (seed, row, column) for seed in (3, 1) for row in ("ce", "agce") for column in ("clean", "sym_0.4")
    ]
    assert cells[0].overrides == ("dataset=digits", "loss=ce", "noise=clean", "seed=3", "threads=1", "epochs=2")
    assert len({c.run_id for c in cells}) == 8


def test_a_users_override_comes_last_and_where_does_not_matter() -> None:
    table = part(table_of("mnist_zhou2021"), "sce", "sym_0.4", 1)
    (plain,), (moved,), (other,) = (
        tables.cells(table, extra) for extra in ([], ["results=elsewhere", "threads=1", "device=cpu"], ["epochs=2"])
    )
    assert plain.run_id == moved.run_id != other.run_id
    assert compose(list(other.overrides)).epochs == 2
    assert moved.overrides[-3:] == ("results=elsewhere", "threads=1", "device=cpu")


def test_a_value_made_of_the_seed_elsewhere_is_composed_for_every_seed() -> None:
    table = part(table_of("digits"), "gce", "sym_0.4", 1, 2)
    cells = tables.cells(table, ["eval_every=${seed}", "seed_data=7"])  # 1 is neutral and not in the id
    assert [c.run_id for c in cells] == [identity.run_id(identity.effective(compose(list(c.overrides)))) for c in cells]
    assert len({c.run_id for c in cells}) == 2


def test_split_arguments() -> None:
    arguments = ["table=digits", "epochs=1", "table.rows=[ce]", "results=x", "table.seeds=[1]", "table.columns=[clean]"]
    assert tables.split_arguments(arguments) == (
        [arguments[0], *arguments[2:3], *arguments[4:]],
        ["epochs=1", "results=x"],
    )


MISTAKES = {
    "table": (["table=digit"], "table=digit: no such option; one of .*digits"),
    "no table": (["table.rows=[ce]"], "choose one of .*digits"),
    "none": (["table=none"], "choose one of .*digits"),
    "row": (
        ["table=digits", "table.rows=[ce,agec]"],
        "table.rows=agec: table=digits has no such row; one of ce, focal",
    ),
    "column": (
        ["table=digits", "table.columns=[sym_0.3]"],
        "table.columns=sym_0.3: .* no such column; one of clean, sym_0",
    ),
    "no column": (["table=digits", "table.columns=[]"], r"table.columns=\[\]: choose at least one"),
    "seed": (["table=digits", "table.seeds=[one]"], "table.seeds=.*whole numbers"),
    "negative seed": (["table=digits", "table.seeds=[-1]"], "table.seeds=.*at least 0"),
    "metric": (["table=digits", "table.metric=acc"], "table.metric=acc: must be one of test_acc_last"),
    "key": (["table=digits", "table.row=[ce]"], "table.row=.*no such option"),
    "override": (["table=digits", "epoch=1"], "epoch=1: no such option; did you mean epochs"),
    "override of some rows": (
        ["table=digits", "loss.q=1"],
        r"loss.q=1: no such option; loss=ce has none \(in row ce, column clean",
    ),
    "a row's loss": (
        ["table=digits", "loss=gce"],
        r"loss=gce: the rows of table=digits set loss; .*table\.rows=\[\.\.\.\]",
    ),
    "one row's loss": (["table=digits", "table.rows=[ce]", "+loss=gce"], "the rows of table=digits set loss"),
    "no loss": (["table=digits", "~loss"], "the rows of table=digits set loss"),
    "a row's value": (
        ["table=digits_methods", "method.kind=soft"],
        "the rows of table=digits_methods set method.kind",
    ),
    "a column's noise": (
        ["table=digits", "noise=pairflip"],
        r"the columns of table=digits set noise; .*table\.columns=",
    ),
    "a column's rate": (["table=digits", "rate=0.3"], "the columns of table=digits set rate"),
    "a column's rate by another name": (
        ["table=digits", "noise.rate=0.3"],
        "the columns of table=digits set noise.rate",
    ),
    "a column's labels": (["table=cifar10n", "noise.labels=worse"], "the columns of table=cifar10n set noise.labels"),
    "another data set": (["table=digits", "dataset=mnist"], "dataset=mnist: table=digits is a table of one data set"),
    "equal seeds": (
        ["table=digits", "table.rows=[ce]", "seed_noise=1", "seed_init=1", "seed_data=1"],
        "row ce, column clean, seed 1 and row ce, column clean, seed 2 are the same run",
    ),
    "the seed": (["table=digits", "seed=4"], r"seed=4: .* choose them with table.seeds"),
    "format": (["table=digits", "format=xml"], "format=xml: must be one of markdown, latex, csv, html, json, status"),
    "dashes": (["--format=json", "table=digits"], "--format=json: no such flag"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line(name: str, show: Callable[..., Ended]) -> None:
    arguments, expected = MISTAKES[name]
    ended = show(*arguments)
    assert (ended.code, ended.out) == (1, "")
    assert re.search(expected, ended.err)
    assert len(ended.err.strip().splitlines()) == 1, ended.err


def test_a_table_needs_a_multirun(train: Callable[..., Ended], tmp_path: Path) -> None:
    ended = train("table=digits", "table.rows=[ce]", f"results={tmp_path / 'runs'}")
    assert ended.code == 1
    assert "needs -m, python train.py -m table=" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


# --------------------------------------------------------------------------------------------------- without Hydra


def test_a_files_content_counts_at_once(tmp_path: Path) -> None:
    labels = tmp_path / "labels.json"
    table = part(table_of("digits"), "ce", "clean", 1)._replace(
        columns={"clean": ["noise=file", f"noise.path={labels}"]}
    )
    ids = set()
    for content in ("[1]", "[2]"):
        labels.write_text(content)
        ids |= {c.run_id for c in tables.cells(table)}
    assert len(ids) == 2


# ------------------------------------------------------------------------------------------------------- statistics

numbers = st.floats(0, 100, allow_nan=False)
deviations = st.floats(0.01, 10)


@settings(deadline=None)
@given(numbers, deviations, st.integers(2, 9), numbers, deviations, st.integers(2, 9))
def test_welch_is_scipys(m1: float, s1: float, n1: int, m2: float, s2: float, n2: int) -> None:
    """SciPy's test; ours imports less."""
    from scipy.stats import ttest_ind_from_stats

    expected = ttest_ind_from_stats(m1, s1, n1, m2, s2, n2, equal_var=False).pvalue
    assert comparison.welch(m1, s1, n1, m2, s2, n2) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_welch_without_any_deviation() -> None:
    assert comparison.welch(1, 0, 3, 1, 0, 3) == 1
    assert comparison.welch(1, 0, 3, 2, 0, 3) == 0


@settings(deadline=None)
@given(st.lists(numbers, min_size=2, max_size=8), numbers, deviations)
def test_a_result_is_numpys(values: list[float], mean: float, std: float) -> None:
    result = Result("ce", "clean", tuple(values), ("",) * len(values), Published(mean, std, 3))
    assert result.mean == pytest.approx(np.mean(values))
    assert result.std == pytest.approx(np.std(values, ddof=1), abs=1e-9)
    assert result.difference == pytest.approx(np.mean(values) - mean, abs=1e-9)
    scale = np.sqrt((np.var(values, ddof=1) + std**2) / 2)
    assert result.distance == pytest.approx((np.mean(values) - mean) / scale, abs=1e-6)
    assert result.marked == (result.p < 0.05)


def test_one_seed_has_no_deviation_and_no_mark() -> None:
    one = Result("ce", "clean", (90.0,), ("a",), Published(10.0, 0.1, 3))
    assert (one.mean, one.std, one.distance, one.p, one.marked) == (90.0, None, None, None, False)
    none = Result("ce", "clean", (), (), Published(10.0, 0.1, 3))
    assert (none.mean, none.difference, none.marked) == (None, None, False)


def test_best_and_second_best_as_printed() -> None:
    values = {"ce": 1.0, "gce": 3.001, "agce": 3.0, "mae": 2.0, "rce": None}
    results = [Result(r, "clean", (v,) if v else (), (), None) for r, v in values.items()]
    assert comparison.ranks([*results, Result("ce", "sym_0.2", (5.0,), (), None)]) == {
        ("gce", "clean"): 1,
        ("agce", "clean"): 1,
        ("mae", "clean"): 2,
    }


# --------------------------------------------------------------------------------------------------------- printing

CHOICE = ["table=cifar10_zhou2021", "table.rows=[ce,sce,nce_agce]", "table.columns=[clean,sym_0.4]"]
ACCURACY = {
    ("ce", "sym_0.4", 1): 0.5811,
    ("ce", "sym_0.4", 2): 0.5846,
    ("ce", "sym_0.4", 3): 0.5871,
    ("nce_agce", "sym_0.4", 1): 0.60,
    ("nce_agce", "sym_0.4", 2): 0.61,
    ("sce", "sym_0.4", 2): 0.75,
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[tuple[str, str, int], Cell]]:
    """A results folder with six records of a CIFAR-10 table, and the table's cells."""
    cells = {(c.row, c.column, c.seed): c for c in tables.cells(tables.read(CHOICE))}
    folder = tmp_path_factory.mktemp("runs")
    for place, accuracy in ACCURACY.items():
        fabricate(cells[place], folder, accuracy)
    return f"results={folder}", cells


def test_json_has_every_selected_cell(filled, show: Callable[..., Ended]) -> None:
    results, cells = filled
    ended = show(*CHOICE, results, "format=json")
    assert (ended.code, ended.err) == (0, "")
    content = {(entry["row"], entry["column"]): entry for entry in json.loads(ended.out)}
    assert list(content) == [(r, c) for r in ("ce", "sce", "nce_agce") for c in ("clean", "sym_0.4")]
    ce = content["ce", "sym_0.4"]
    assert ce["mean"] == pytest.approx(58.4267, abs=1e-4)
    assert ce["std"] == pytest.approx(statistics.stdev([58.11, 58.46, 58.71]), abs=1e-5)
    assert (ce["n"], ce["published_mean"], ce["published_std"]) == (3, 58.46, 0.21)
    assert ce["run_ids"] == [cells["ce", "sym_0.4", seed].run_id for seed in (1, 2, 3)]
    one = content["sce", "sym_0.4"]
    assert (one["mean"], one["std"], one["n"], one["published_mean"]) == (75.0, None, 1, None)
    empty = content["nce_agce", "clean"]
    assert empty == {
        **dict.fromkeys(("mean", "std", "difference", "distance", "p")),
        **{"row": "nce_agce", "column": "clean", "n": 0, "published_mean": 91.13, "run_ids": [], "machines": []},
        **{key: empty[key] for key in ("published_std", "published_runs", "published_certainty")},
    }


def test_csv_agrees_with_json(filled, show: Callable[..., Ended]) -> None:
    results, _ = filled
    lines = list(csv.DictReader(io.StringIO(show(*CHOICE, results, "format=csv").out)))
    for line, entry in zip(lines, json.loads(show(*CHOICE, results, "format=json").out), strict=True):
        assert (line["row"], line["column"], int(line["n"])) == (entry["row"], entry["column"], entry["n"])
        assert line["run_ids"].split() == entry["run_ids"]
        assert line["machines"] == "; ".join(entry["machines"])
        assert list(line) == list(entry)
        for name in set(entry) - {"row", "column", "run_ids", "machines", "published_certainty"}:
            assert (float(line[name]) if line[name] else None) == entry[name]
    ce = next(e for e in json.loads(show(*CHOICE, results, "format=json").out) if e["n"] == 3)
    assert ce["difference"] == pytest.approx(ce["mean"] - ce["published_mean"], abs=1e-5)
    assert ce["p"] == pytest.approx(comparison.welch(ce["mean"], ce["std"], 3, 58.46, 0.21, 3), abs=1e-5)


def test_markdown(filled, show: Callable[..., Ended]) -> None:
    results, _ = filled
    out = show(*CHOICE, results).out
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if line.startswith("| `")}
    assert list(rows) == ["`ce`", "`sce`", "`nce_agce`"]
    assert rows["`ce`"] == "| `ce` | missing<br>90.50 ± 0.35 | 58.43 ± 0.30 (3)<br>58.46 ± 0.21<br>−0.03 (−0.1) |"
    assert rows["`sce`"] == "| `sce` | missing | **75.00** (1) |"
    assert "<u>60.50</u> ± 0.71 (2) †<br>85.91" in rows["`nce_agce`"]
    for words in (
        "6 of 18 trainings",
        "5% of the cells",
        "wang2024's re-run of the same protocol",
        "0123456: 6",
        "Test (",
    ):
        assert words in out, words
    assert "python train.py -m table=cifar10\\_" not in out, "a command can be copied"
    assert f"python train.py -m {' '.join(CHOICE)}" in out


def test_latex_is_balanced_and_escaped(filled, show: Callable[..., Ended]) -> None:
    results, _ = filled
    out = show(*CHOICE, results, "format=latex").out
    body = [line for line in out.splitlines() if not line.startswith("%")]
    opened, closed = (re.findall(rf"\\{word}\{{(\w+)\}}", "\n".join(body)) for word in ("begin", "end"))
    assert (opened, closed) == (["table", "tabular"], ["tabular", "table"])
    assert r"\begin{tabular}{lcc}" in body
    assert [line for line in body if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    cells = [line for line in body if line.endswith(r"\\")]
    assert all(line.count(" & ") == 2 for line in cells)
    assert cells[-3] == r"nce\_agce & -- & \underline{60.50 $\pm$ 0.71} (2)$^{\dagger}$ \\"
    text = "\n".join(line for line in body if not line.startswith(r"\label"))
    assert not re.search(r"(?<!\\)[_%#]|[±−†]", text)
    assert "\n".join(body).count("{") == "\n".join(body).count("}")


class Outline(HTMLParser):
    """Checks that what is opened is closed, in order; counts."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag != "meta":
            self.open.append(tag)
        assert not any(name in ("src", "href") for name, _ in attrs), "loads nothing"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_a_whole_page(filled, show: Callable[..., Ended]) -> None:
    results, _ = filled
    out = show(*CHOICE, results, "format=html").out
    outline = Outline()
    outline.feed(out)
    assert (outline.open, outline.count["td"], outline.count["b"]) == ([], 6, 1)
    assert out.count('class="missing"') == 3
    assert "p &lt; 0.05" in out


def test_rows_of_several_machines_are_named(show: Callable[..., Ended], tmp_path: Path) -> None:
    """With what differs in the row, and how many of its records each has; rows alike are named together."""
    where = {
        **{("ce", "clean", seed): {"processor": "A", "precision": "float32"} for seed in (1, 2, 3)},
        ("sce", "clean", 1): {"processor": "A", "precision": "float32"},
        ("sce", "clean", 2): {"processor": "B", "precision": "float32"},
        ("sce", "sym_0.4", 1): {"processor": "A", "precision": "float32"},
        ("nce_agce", "clean", 1): {"processor": "A", "precision": "float32"},
        ("nce_agce", "sym_0.4", 1): {"processor": "A", "device": "GPU", "precision": "bfloat16"},
    }
    cells = {(c.row, c.column, c.seed): c for c in tables.cells(tables.read(CHOICE))}
    for place, facts in where.items():
        fabricate(cells[place], tmp_path, 0.5, **facts)
    title = "Rows whose records come from several processors or precisions: "
    expected = f"{title}sce (A: 2, B: 1); nce_agce (A float32: 1, GPU bfloat16: 1)."
    for form in ["markdown", "latex", "html"]:
        assert expected in show(*CHOICE, f"results={tmp_path}", f"format={form}").out.replace(r"nce\_agce", "nce_agce")
        assert title not in show(*CHOICE, f"results={tmp_path}", f"format={form}", "table.rows=[ce]").out
    content = json.loads(show(*CHOICE, f"results={tmp_path}", "format=json").out)
    (entry,) = (e for e in content if (e["row"], e["column"]) == ("sce", "clean"))
    assert entry["machines"] == ["A float32", "B float32"]


def test_a_broken_record_is_reported_and_missing(filled, show: Callable[..., Ended]) -> None:
    results, cells = filled
    path = Path(results.removeprefix("results=")) / f"{cells['sce', 'sym_0.4', 2].run_id}.json"
    whole = path.read_text()
    for broken in (whole[: len(whole) // 2], whole[:-2], "", whole.replace("0.75", '"x"')):
        path.write_text(broken)
        ended = show(*CHOICE, results, "format=json")
        assert ended.code == 0
        assert path.name in ended.err
        (entry,) = (e for e in json.loads(ended.out) if (e["row"], e["column"]) == ("sce", "sym_0.4"))
        assert (entry["n"], entry["run_ids"]) == (0, [])
    path.write_text(json.dumps(json.loads(whole), indent=2))
    assert '"n": 1' in show(*CHOICE, results, "format=json").out, "a record laid out otherwise is one"
    path.write_text(whole)


def test_status(filled, show: Callable[..., Ended]) -> None:
    """Running: a living owner has the claim. Failed: its owner is dead."""
    results, cells = filled
    folder = Path(results.removeprefix("results="))
    said = show(*CHOICE, results, "format=status").out
    assert said == (
        "cifar10_zhou2021: 6 of 18 done, 0 running, 0 failed, 12 missing; about 12 min left at 1 at a time\n"
    )
    dead = folder / f"{cells['ce', 'clean', 2].run_id}.claim"
    code = (
        f"import os; from pathlib import Path; from labelnoise.files import claims;"
        f"held = claims.hold(Path({str(dead)!r}), ''); held.__enter__(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ})
    with claims.hold(folder / f"{cells['ce', 'clean', 1].run_id}.claim", "test"):
        said = show(*CHOICE, results, "format=status").out
    assert "6 of 18 done, 1 running, 1 failed, 10 missing; " in said
    assert said.count("\n") == 1
    dead.unlink()


def test_another_metric_and_other_overrides(filled, show: Callable[..., Ended]) -> None:
    results, _ = filled
    best = json.loads(show(*CHOICE, results, "format=json", "table.metric=test_acc_best").out)
    assert {entry["mean"] for entry in best if entry["n"]} == {99.0}
    val = json.loads(show(*CHOICE, results, "format=json", "table.metric=test_acc_val").out)
    assert all(entry["n"] == 0 for entry in val)
    other = json.loads(show(*CHOICE, results, "format=json", "epochs=3").out)
    assert all(entry["n"] == 0 for entry in other)


def test_an_empty_folder_is_a_table_of_missing_cells(tmp_path: Path, show: Callable[..., Ended]) -> None:
    for form in FORMATS:
        ended = show("table=cifar100n", "table.rows=[ce]", f"results={tmp_path / 'none'}", f"format={form}")
        assert (ended.code, ended.err) == (0, ""), form
        assert ended.out.strip()
