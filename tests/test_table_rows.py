"""A table's rows are any overrides; its file and the published numbers have schemas; texts of records are escaped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import made_up

from labelnoise.cli.table import FORMATS
from labelnoise.config.compose import compose
from labelnoise.config.groups import CONFIGS
from labelnoise.files.schema import reason
from labelnoise.tables import escaping, published, sheet
from labelnoise.tables import table as tables
from labelnoise.tables.comparison import Result
from labelnoise.tables.published import Published
from labelnoise.tables.schema import PublishedRow
from labelnoise.tables.table import Table

FILE = {
    "title": "Two networks",
    "common": ["dataset=digits", "epochs=1"],
    "rows": "all",
    "columns": "all",
    "seeds": [1, 2],
    "metric": "test_acc_last",
    "grid": {
        "rows": {"small": ["network=cnn4"], "large": ["network=cnn8", "loss=gce", "loss.q=0.5"]},
        "columns": {"sym_0.2": ["noise=sym", "rate=0.2"], "sym_0.4": ["noise=sym", "rate=0.4"]},
    },
}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Table]:
    """The table in a file with this content."""

    def command(content: Any, *choice: str) -> Table:
        monkeypatch.setattr(tables.merged, "values", lambda *_: [content])
        return tables.read(["table=digits", *choice])

    return command


def with_grid(**parts: Any) -> dict[str, Any]:
    return {**FILE, "grid": {**FILE["grid"], **parts}}


@pytest.mark.parametrize("name", ["digits", "cifar10n"])
def test_the_heads_of_committed_tables_say_loss(name: str) -> None:
    assert tables.read([f"table={name}"]).heading == "loss"


def test_a_row_is_any_overrides(read) -> None:
    table = read(FILE)
    assert table.heading == "network"
    found = {(c.row, c.column, c.seed): c for c in tables.cells(table)}
    assert len(found) == 8
    cfg = compose(list(found["large", "sym_0.4", 2].overrides))
    assert (cfg.network._target_.rpartition(".")[2], cfg.loss.q, cfg.noise.rate, cfg.seed_init) == ("cnn8", 0.5, 0.4, 2)
    mixed = read(with_grid(rows={"ce": ["loss=ce"], "small": ["network=cnn4", "loss=gce"]}))
    assert mixed.heading == "row"
    assert read(with_grid(rows={"plain": []})).heading == "row"


def test_rows_that_say_nothing_are_the_same_run(read) -> None:
    """As a file of an earlier version, whose rows were losses by their labels."""
    table = read(with_grid(rows={"ce": [], "gce": []}))
    with pytest.raises(ValueError, match=r"row ce, column sym_0.2, seed 1 and row gce, .* are the same run"):
        tables.cells(table)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not a table"),
        ([1], "is not a table"),
        ({**FILE, "title": 5}, "title"),
        ({**FILE, "more": 1}, "more"),
        ({**FILE, "common": "dataset=digits"}, "common"),
        ({**FILE, "notes": "x"}, "notes"),
        ({**FILE, "published": {"source": "x"}}, "published.table"),
        ({**FILE, "published": ["x"]}, "published"),
        ({**FILE, "names": {"smal": "Small"}}, "names.smal: there is no such row or column"),
        ({**FILE, "names": {"small": 4}}, "names.small"),
        ({**FILE, "seed_noise": -1}, "seed_noise"),
        ({**FILE, "seeds": "x"}, "table.seeds=x"),
        ({**FILE, "metric": "loss"}, "table.metric=loss: must be one of"),
        (with_grid(rows={}), "grid.rows"),
        (with_grid(rows={"ce": "loss=ce"}), "grid.rows"),
        (with_grid(rows={"a\nb": ["loss=ce"]}), "grid.rows"),
        (with_grid(rows={"ce": {"sym_0.2": ["loss=ce"]}}), "row ce must give overrides for every column"),
        (with_grid(columns={"clean": [1]}), "grid.columns"),
        ({key: FILE[key] for key in FILE if key != "grid"}, "grid"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(read, content: Any, said: str) -> None:
    with pytest.raises(ValueError, match=r"^table[.=]") as raised:
        read(content)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [("mean", "x"), ("mean", "nan"), ("mean", "101"), ("std", "-1"), ("runs", "0"), ("certainty", "sure")],
)
def test_a_published_line_that_is_none_is_named(tmp_path: Path, monkeypatch, key: str, value: str) -> None:
    lines = (CONFIGS / "table" / "published.csv").read_text().splitlines()[:2]
    whole = dict(zip(lines[0].split(","), lines[1].split(","), strict=True))
    assert PublishedRow.model_validate({**whole, "std": ""}).std is None
    (tmp_path / "table").mkdir()
    text = f"{lines[0]}\n{lines[1]}\n{','.join({**whole, key: value}.values())}\n"
    (tmp_path / "table" / "published.csv").write_text(text)
    monkeypatch.setattr(published, "CONFIGS", tmp_path)
    with pytest.raises(ValueError, match=rf"published\.csv, line 3, column {key}: "):
        published.published_rows()


# ---------------------------------------------------------------------------------------------------------- escaping

EVIL = "AMD\n\\input{/etc/passwd}\r%\u2028\x85$x$ <script>alert(1)</script> | [a](b) `c` *d* & # _ ~ ^ \x1b[2J"


def printed(form: str) -> str:
    """A table with evil text wherever text of a file or record goes."""
    table = tables._table("digits", FILE, CONFIGS / "table" / "digits.yaml")._replace(
        title=EVIL, notes=(EVIL,), rows={EVIL: ("network=cnn4",)}
    )
    evil = made_up.record(["dataset=digits"], processor=EVIL, commit=EVIL, precision=EVIL, versions={"torch": EVIL})
    results = [Result(EVIL, column, (50.0, 51.0), ("a", "b"), Published(1.0, 1.0, 3)) for column in table.columns]
    lines = sheet.beneath(table._replace(published=SOURCE), results, [evil], [f"python train.py {EVIL}"])
    legend = sheet.legend_of(table._replace(published=SOURCE), results)
    return FORMATS[form](sheet.Sheet(table, results, lines, legend))


SOURCE = tables.Source(source="s", table="t", dataset="d", label=EVIL)


def test_latex_runs_nothing() -> None:
    out = printed("latex")
    assert all(c.isprintable() or c == "\n" for c in out)
    body = [line for line in out.split("\n") if not line.startswith("%")]
    assert body[0] == r"\begin{table}"
    assert not any(r"\input" in line for line in body)
    assert r"\textbackslash{}input\{/etc/passwd\}" in "\n".join(body)
    assert "$x$" not in "\n".join(body)


def test_latex_has_names_a_caption_and_the_count_of_seeds_once(read) -> None:
    """The count is in the caption if all cells have the same; formulas stay as they are, in names and caption alone."""
    names = {"small": r"$\epsilon$-net & co", "large": "CNN-8 (100%)", "sym_0.4": "40% $x$"}
    table = read({**FILE, "names": names, "caption": r"Two $\mathcal{N}$ & a_b."})
    values = {"small": (50.0, 52.0), "large": (60.0, 61.0)}
    results = [Result(row, column, values[row], ("a", "b"), None) for row in table.rows for column in table.columns]
    lines = FORMATS["latex"](sheet.Sheet(table, results, [], ["‡ p < 1 against CNN-8 (100%)."])).splitlines()
    assert lines[4:] == [
        r"\caption{Two $\mathcal{N}$ \& a\_b. Test accuracy in percent after the last epoch, mean $\pm$ standard "
        r"deviation over 2 seeds. $^{\ddagger}$ p \textless{} 1 against CNN-8 (100\%).}",
        r"\label{tab:digits}",
        r"\begin{tabular}{lcc}",
        r"\toprule",
        r"Network & sym\_0.2 & 40\% $x$ \\",
        r"\midrule",
        r"$\epsilon$-net \& co & \underline{51.00 $\pm$ 1.41} & \underline{51.00 $\pm$ 1.41} \\",
        r"CNN-8 (100\%) & \textbf{60.50 $\pm$ 0.71} & \textbf{60.50 $\pm$ 0.71} \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    results[0] = results[0]._replace(values=(50.0,))
    other = FORMATS["latex"](sheet.Sheet(table._replace(metric="test_acc_best"), results, []))
    assert (
        "of the best epoch (an oracle: chosen on the test set), mean $\\pm$ standard deviation (number of seeds)."
        in other
    )
    assert r"\underline{50.00} (1) & \underline{51.00 $\pm$ 1.41} (2) \\" in other
    alone = [one._replace(values=one.values[:1]) for one in results]
    assert "after the last epoch, of one seed.}" in FORMATS["latex"](sheet.Sheet(table, alone, []))
    for form, small in (("markdown", r"| \$\\epsilon\$-net &amp; co |"), ("html", r"$\epsilon$-net &amp; co")):
        assert small in FORMATS[form](sheet.Sheet(table, results, [])), form


def test_markdown_shows_text_as_it_is() -> None:
    lines = printed("markdown").split("\n")
    assert all(c.isprintable() for line in lines for c in line)
    assert "<script>" not in "\n".join(line for line in lines if "Command: " not in line and "| `" not in line)
    for line in lines:
        if line.startswith("- ") and "Command" not in line:
            assert r"\[a\](b) \`c\` \*d\*" in line or "AMD" not in line
    (row,) = (line for line in lines if line.startswith("| `"))
    assert len([c for i, c in enumerate(row) if c == "|" and row[i - 1] != "\\"]) == 4, "a bar in a label ends no cell"


def test_html_has_no_script() -> None:
    out = printed("html")
    assert "<script>" not in out
    assert "&lt;script&gt;" in out


def test_csv_and_json_hold_the_text_in_its_place() -> None:
    assert {entry["row"] for entry in json.loads(printed("json"))} == {EVIL}
    assert len(printed("csv").splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "cell"), [("=1+1", "'=1+1"), ("@x", "'@x"), ("-0.5", "-0.5"), ("ce", "ce"), ("+1", "+1")]
)
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    assert escaping.csv_cell(text) == cell


def test_the_reason_is_one_line() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as raised:
        PublishedRow.model_validate({"a\nb" * 1000: 1})
    assert "\n" not in reason(raised.value)


def test_every_table_file_is_a_table() -> None:
    for path in sorted((CONFIGS / "table").glob("*.yaml")):
        content = yaml.safe_load(path.read_text())
        if path.stem != "none":
            given = content["grid"]["rows"].values()
            columns = [column for row in given for column in (row.values() if isinstance(row, dict) else [row])]
            (first,) = {overrides[0].partition("=")[0] for overrides in columns}
            assert tables.read([f"table={path.stem}"]).heading == first in ("loss", "method"), path
