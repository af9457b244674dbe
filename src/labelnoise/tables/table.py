"""Tables of papers: rows x columns x seeds, each cell with the command that runs it and the id of its record.

A table is one file, `configs/table/<name>.yaml`: `python train.py -m table=<name>` runs its missing cells and
`labelnoise table table=<name>` prints it. A cell is `common + row + column + seed + the user's overrides`.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from labelnoise.config import identity, merged
from labelnoise.config.groups import CONFIGS, SEARCHPATH, choices, config_dirs
from labelnoise.files.schema import reason
from labelnoise.tables.schema import Metric, Source, TableFile

Overrides = tuple[str, ...]

# Placeholders for a cell's seed and its noise seed: a row and column is composed once for all seeds.
PLACEHOLDERS = SEED, SEED_NOISE = 4_111_222_333, 4_111_222_334
SEEDS = ("seed_noise", "seed_init", "seed_data")  # the keys that hold them in an effective configuration
METRICS = get_args(Metric)


class Table(NamedTuple):
    """A table with the rows, columns and seeds that the user selected."""

    name: str
    title: str
    metric: str  # a key of a record's metrics
    common: list[str]
    rows: dict[str, list[str] | dict[str, list[str]]]  # by column where the paper tuned each column
    columns: dict[str, list[str]]
    seeds: tuple[int, ...]
    seed_noise: int | None  # noise seed of seed 1; seed 2 uses the next one; None: the noise seed is the seed
    published: Source | str | None  # rows of a published.csv, or a file; None: of one beside the table's file, if any
    notes: list[str]
    path: Path  # of its file
    file: TableFile  # with every row and column, selected or not

    def row(self, label: str, column: str) -> list[str]:
        """The overrides of a row in this column."""
        given = self.rows[label]
        return given[column] if isinstance(given, dict) else given

    def named(self, label: str) -> str:
        """What a row or a column is called where the table is printed."""
        return self.file.names.get(label, label)

    @property
    def heading(self) -> str:
        """The option that every row sets first (loss, method), else "row"."""
        first = {_option(overrides[0]) if overrides else "" for overrides in self._each_rows_overrides()}
        return (first.pop() or "row") if len(first) == 1 else "row"

    def _each_rows_overrides(self) -> Iterator[list[str]]:
        return (self.row(label, column) for label in self.rows for column in self.columns)


class Cell(NamedTuple):
    """One training of a table; `python train.py <overrides>` runs it alone."""

    row: str
    column: str
    seed: int
    overrides: Overrides
    run_id: str


def split_arguments(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Overrides that select the table and its part (`table=`, `table.rows=` ...), and the rest, for every cell.

    The override that names a folder of the user's own options is in both.
    """
    of_table = ("table=", "table.")
    chosen = [o for o in overrides if o.startswith((*of_table, SEARCHPATH))]
    return chosen, [o for o in overrides if not o.startswith(of_table)]


# ----------------------------------------------------------------------------------------------------------- reading


def read(choice: list[str]) -> Table:
    """The table that the first list of `split_arguments` selects.

    Raises:
        ValueError: no such table, row, column or seed; one line lists the choices.
    """
    names = [option for option in choices("table", choice) if option != "none"]
    name = next((o.removeprefix("table=") for o in reversed(choice) if o.startswith("table=")), "none")
    if name == "none":
        raise ValueError(f"table=...: choose one of {', '.join(names)}")
    (content,) = merged.values(choice, "table")
    files = [folder / "table" / f"{name}.yaml" for folder in (CONFIGS, *config_dirs(choice))]  # in Hydra's order
    return _table(name, content, next(file for file in files if file.is_file()))


def _table(name: str, content: Any, path: Path) -> Table:
    if not isinstance(content, dict):
        raise ValueError(f"table={name}: {path} is not a table")
    if content.get("metric") not in METRICS:
        raise ValueError(f"table.metric={content.get('metric')}: must be one of {', '.join(METRICS)}")
    seeds = _seeds(content.get("seeds"))
    try:
        file = TableFile.model_validate(content)
    except ValidationError as error:
        raise ValueError(f"table={name}: {path} is not a table ({reason(error)})") from None
    rows, columns = file.grid.rows, file.grid.columns
    return Table(
        name=name,
        title=file.title,
        metric=file.metric,
        common=file.common,
        rows={label: rows[label] for label in _selected(name, "rows", file.rows, rows)},
        columns={label: columns[label] for label in _selected(name, "columns", file.columns, columns)},
        seeds=seeds,
        seed_noise=file.seed_noise,
        published=file.published or file.published_file,
        notes=file.notes,
        path=path,
        file=file,
    )


def _selected(name: str, what: str, requested: Any, known: Iterable[str]) -> list[str]:
    """The requested labels, in the table's order."""
    if requested == "all":
        return list(known)
    labels = [str(label) for label in (requested if isinstance(requested, list) else [requested])]
    for label in labels:
        if label not in known:
            raise ValueError(f"table.{what}={label}: table={name} has no such {what[:-1]}; one of {', '.join(known)}")
    if not labels:
        raise ValueError(f"table.{what}=[]: choose at least one of {', '.join(known)}")
    return [label for label in known if label in labels]


def _seeds(requested: Any) -> tuple[int, ...]:
    seeds = requested if isinstance(requested, list) else [requested]
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < SEED for s in seeds):
        raise ValueError(f"table.seeds={requested}: must be a list of whole numbers, at least 0, such as [1,2,3]")
    return tuple(dict.fromkeys(seeds))


# ------------------------------------------------------------------------------------------------------------- cells


def cells(table: Table, extra: Sequence[str] = ()) -> list[Cell]:
    """Every cell of the table with the id of its record: all of the first seed, then all of the next.

    Args:
        extra: the user's overrides, applied to every cell after all others.
    Raises:
        ValueError: an override is wrong, or sets an option that the cells set; names the first such cell.
    """
    refuse_what_the_cells_set(table, extra)
    places = list(product(table.rows, table.columns))
    ids = {place: _ids(table, *place, tuple(extra)) for place in places}
    found = [
        Cell(row, column, seed, overrides_of(table, row, column, seed, extra), ids[row, column][i])
        for i, seed in enumerate(table.seeds)
        for row, column in places
    ]
    _refuse_equal_cells(table, found)
    return found


def refuse_what_the_cells_set(table: Table, extra: Sequence[str]) -> None:
    """Refuse overrides of options that rows, columns or seeds set: cells with different labels would be the same.

    Raises:
        ValueError: names the override and how to choose among the cells.
    """
    rows = {_option(o) for overrides in table._each_rows_overrides() for o in overrides}
    columns = {_option(o) for overrides in table.columns.values() for o in overrides}
    noise = {option.partition(".")[0] for option in columns} | ({"noise"} if "rate" in columns else set())
    for override in extra:
        option = _option(override)
        if option == "seed":
            raise ValueError(f"{override}: a table has seeds of its own; choose them with table.seeds=[...]")
        part = "rows" if option in rows else "columns" if option.partition(".")[0] in noise else None
        if part:
            choose = f"choose them with table.{part}=[...]"
            raise ValueError(f"{override}: the {part} of table={table.name} set {option}; {choose}")
        if option == "dataset" and any(_option(o) == "dataset" for o in table.common):
            raise ValueError(f"{override}: table={table.name} is a table of one data set; choose another table")


def _option(override: str) -> str:
    """The option that an override sets: loss of loss=gce, +loss@x=gce and ~loss."""
    return override.lstrip("+~").partition("=")[0].partition("@")[0]


def _refuse_equal_cells(table: Table, found: list[Cell]) -> None:
    seen: dict[str, Cell] = {}
    for cell in found:
        other = seen.setdefault(cell.run_id, cell)
        if other is not cell:
            one, two = (f"row {c.row}, column {c.column}, seed {c.seed}" for c in (other, cell))
            raise ValueError(f"table={table.name}: {one} and {two} are the same run {cell.run_id}")


def overrides_of(table: Table, row: str, column: str, seed: int, extra: Sequence[str] = ()) -> Overrides:
    """The overrides with which `train.py` runs this cell alone: with one CPU thread by default, as launchers do."""
    before = (*table.common, *table.row(row, column), *table.columns[column])
    seeds = [f"seed={seed}"]
    if table.seed_noise is not None and not any(_option(o) == "seed_noise" for o in before):
        seeds.append(f"seed_noise={SEED_NOISE if seed == SEED else table.seed_noise + seed - 1}")
    return (*before, *seeds, "threads=1", *extra)


def _ids(table: Table, row: str, column: str, extra: Overrides) -> list[str]:
    """The id of every seed's record."""
    try:
        config = merged.effective(overrides_of(table, row, column, SEED, extra))
        text = identity.identity(config)
        if sum(map(text.count, map(str, PLACEHOLDERS))) > sum(config[key] in PLACEHOLDERS for key in SEEDS):
            by_seed = (overrides_of(table, row, column, seed, extra) for seed in table.seeds)
            return [identity.run_id(merged.effective(overrides)) for overrides in by_seed]
    except ValueError as error:
        raise ValueError(f"{error} (in row {row}, column {column} of table={table.name})") from None
    first = table.seed_noise or 0
    texts = (text.replace(str(SEED), str(n)).replace(str(SEED_NOISE), str(first + n - 1)) for n in table.seeds)
    return [identity.hashed(one) for one in texts]
