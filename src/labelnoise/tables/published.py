"""A table's published numbers: from configs/table/published.csv, or from a file of the user's own."""

import csv
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from labelnoise.config.groups import CONFIGS, config_dirs
from labelnoise.files.reading import read_bounded
from labelnoise.files.schema import reason
from labelnoise.files.text import plain
from labelnoise.tables.schema import Certainty, Grid, PublishedRow, Source
from labelnoise.tables.table import Table

LARGEST = 2**24  # bytes of a file
NAMED = 5  # lines that are not read, of those that are named
NAME = "published.csv"  # of the project's file, and of one beside a table of the user's own
NEEDED = ("row", "mean")  # and column or noise

Lines = dict[int, PublishedRow]  # by the number of the line in its file


class Published(NamedTuple):
    """A published accuracy in percent: mean and standard deviation over `runs` runs, and how sure it is."""

    mean: float
    std: float | None
    runs: int | None
    certainty: Certainty = "read"
    source: str = ""  # of a file of the user's own; of the project's, the table says it


def published_of(table: Table) -> dict[tuple[str, str], Published]:
    """A table's published numbers by row and column, selected or not; rows in `without` are left out.

    Raises:
        ValueError: a file is missing or wrong, or has a row and column twice; names file and line.
    """
    path, lines = _chosen(table)
    found: dict[tuple[str, str], Published] = {}
    numbers: dict[tuple[str, str], int] = {}
    for number, line in lines.items():
        row, column = line.row, column_of(table.file.grid, line)
        if row not in table.file.grid.rows or column is None:
            continue
        if first := numbers.get((row, column)):
            raise ValueError(f"{path}, line {number}: row {row}, column {column} is on line {first} already")
        numbers[row, column] = number
        source = line.source if path != _ours() else ""
        found[row, column] = Published(line.mean, line.std, line.runs, line.certainty, source)
    return found


def source_of(table: Table, numbers: Sequence[Published]) -> str:
    """Where these published numbers of the table come from, in words."""
    if isinstance(table.published, Source):
        return table.published.label
    path = _chosen(table)[0]
    sources = ", ".join(dict.fromkeys(number.source for number in numbers if number.source))
    return f"{sources} ({path.name})" if sources else path.name


def unread(table: Table, overrides: Sequence[str]) -> list[str]:
    """One line for each file of the user's own published numbers that is not read, in whole or in part.

    Args:
        overrides: may add folders of options.
    """
    path, lines = _chosen(table)
    told = []
    wrong = [
        f"line {number} ({what})"
        for number, line in lines.items()
        if (what := f"no row {line.row}" if line.row not in table.file.grid.rows else _no_column(table.file.grid, line))
    ]
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        which = f"{', '.join(wrong[:NAMED])}{more}"
        told.append(f"{path}: not read, because table={table.name} has no such place: {which}")
    if isinstance(table.published, Source) and not lines:
        where = ", ".join(f"{key}={getattr(table.published, key)}" for key in ("source", "table", "dataset"))
        told.append(f"{table.path}: published: no line of {NAME} has {where}")
    for folder in config_dirs(overrides)[:-1]:
        for other in (folder / NAME, folder / "table" / NAME):
            if other.is_file() and other != path:
                beside = other.parent == table.path.parent
                why = "names others under published" if beside else f"is in another folder, {table.path.parent}"
                told.append(f"{other}: not read, because table={table.name} {why}")
    return [plain(line, 1000) for line in told]


def published_rows() -> list[PublishedRow]:
    """Every line of configs/table/published.csv. Raises: as `read_lines`."""
    return list(read_lines(_ours()).values())


def read_lines(path: Path) -> Lines:
    """The lines of a file of published numbers, by their numbers.

    Raises:
        ValueError: it cannot be read, or a line is wrong; names file, line and column.
    """
    try:
        text = read_bounded(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return _lines(path, text)


@lru_cache(maxsize=8)  # the package's own file serves eleven tables
def _lines(path: Path, text: str) -> Lines:
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    lines: Lines = {}
    try:
        _check_columns(path, reader.fieldnames or [])
        for values in reader:
            lines[reader.line_num] = _line(f"{path}, line {reader.line_num}", values)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: is not CSV ({error})") from None
    if lines and all(line.mean <= 1 for line in lines.values()):
        number, line = next(iter(lines.items()))
        raise ValueError(f"{path}, line {number}, column mean: {line.mean}: accuracies are in percent, as 58.46")
    return lines


def _check_columns(path: Path, names: Sequence[str]) -> None:
    known = list(PublishedRow.model_fields)
    for name in names:
        if name not in known:
            raise ValueError(f"{path}, line 1: no column is called {plain(name)!r}; one of {', '.join(known)}")
    missing = [name for name in NEEDED if name not in names]
    if missing or not {"column", "noise"} & set(names):
        raise ValueError(f"{path}, line 1: needs the columns row, mean, and column (a label) or noise and rate")


def _line(where: str, values: dict[str, str]) -> PublishedRow:
    if None in values:
        raise ValueError(f"{where}: has more values than line 1 has columns")
    try:
        line = PublishedRow.model_validate({name: value and value.strip() for name, value in values.items()})
    except ValidationError as error:
        raise ValueError(f"{where}, column {reason(error)}") from None
    if (line.column is None) == (line.noise is None):
        raise ValueError(f"{where}: needs a value in column or in noise, and not in both")
    return line


def column_of(grid: Grid, line: PublishedRow) -> str | None:
    """The table's column that a line belongs to; None if there is none, or if several have its noise and rate."""
    noise = line.noise or ""
    plain_label = noise.removeprefix("human:") if noise == "clean" or noise.startswith("human:") else None
    label = line.column or plain_label or f"{noise}_{line.rate}"
    if label in grid.columns or line.column:
        return label if label in grid.columns else None
    same = [one for one, overrides in grid.columns.items() if _noise_of(overrides) == (noise, _number(line.rate))]
    return same[0] if len(same) == 1 else None


def _noise_of(overrides: Sequence[str]) -> tuple[str | None, float | None]:
    """The noise and the rate that a column's overrides set."""
    given = dict(override.partition("=")[::2] for override in overrides)
    return given.get("noise"), _number(given.get("rate", given.get("noise.rate", "")))


def _number(text: str) -> float | None:
    try:
        return float(text or 0)
    except ValueError:
        return None


def _no_column(grid: Grid, line: PublishedRow) -> str:
    if column_of(grid, line) is not None:
        return ""
    return (
        f"no column {line.column}" if line.column else f"no column for noise {line.noise}, rate {line.rate or 'none'}"
    )


def _ours() -> Path:
    return CONFIGS / "table" / NAME


def _chosen(table: Table) -> tuple[Path, Lines]:
    """The file with the table's numbers, and its lines that belong to the table."""
    own, where = _own_file(table), table.published
    if not isinstance(where, Source):
        return own or _ours(), read_lines(own) if own else {}
    for path in [own, _ours()] if own else [_ours()]:
        lines = {
            number: line
            for number, line in read_lines(path).items()
            if (line.source, line.table, line.dataset) == (where.source, where.table, where.dataset)
            and line.row not in where.without
        }
        if lines:
            return path, lines
    return _ours(), {}


def _own_file(table: Table) -> Path | None:
    """The user's own file: the one that the table names, else the one beside the table's file."""
    if isinstance(table.published, str):
        for folder in (table.path.parent, Path()):
            if table.published and (path := folder / table.published).exists():
                return path
        raise ValueError(
            f"{table.path}: published: {table.published}: no such file in {table.path.parent} or the working directory"
        )
    beside = table.path.with_name(NAME)
    return beside if beside != _ours() and beside.is_file() else None
