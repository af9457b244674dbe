"""Tables of papers: rows x columns x seeds, each cell with the command that runs it and the id of its record.

A table is one file, `configs/table/<name>.yaml`: `python train.py -m table=<name>` runs what is missing of it and
`python scripts/table.py table=<name>` prints it. A cell is `common + row + column + seed + whatever the user adds`.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from labelnoise.experiment import identity
from labelnoise.experiment.compose import compose
from labelnoise.experiment.groups import choices
from labelnoise.tables.identities import Identities, Overrides

# Stand for a cell's seed and its noise's seed in the template of a row and column. Below 2^32, and no seed of anyone's.
SEED, SEED_NOISE = 4_111_222_333, 4_111_222_334
METRICS = ("test_acc_last", "test_acc_best", "test_acc_last10", "test_acc_val")  # of a record, see metrics.py


class Table(NamedTuple):
    """A table as chosen: its rows, columns and seeds are those that the user wants."""

    name: str
    title: str
    metric: str  # a key of a record's metrics
    common: Overrides
    rows: dict[str, Overrides | dict[str, Overrides]]  # loss=<label> and these; by column where a paper tuned by rate
    columns: dict[str, Overrides]
    seeds: tuple[int, ...]
    seed_noise: int | None  # seed 1 draws its noise with this one, seed 2 with the next; None: with the seed itself
    published: dict[str, Any]  # source, table and dataset in published.csv, and a label; empty: nothing is published
    notes: tuple[str, ...]


class Cell(NamedTuple):
    """One training of a table; `python train.py <overrides>` runs it alone."""

    row: str
    column: str
    seed: int
    overrides: Overrides
    run_id: str


def split_arguments(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Those that choose the table and its part (`table=`, `table.rows=` ...), and the rest, meant for every cell."""
    chosen = [o for o in overrides if o.startswith(("table=", "table."))]
    return chosen, [o for o in overrides if o not in chosen]


# ----------------------------------------------------------------------------------------------------------- reading


def read(choice: list[str]) -> Table:
    """The table that the first half of `split_arguments` chooses.

    Raises:
        ValueError: no such table, row, column or seed; one line says what there is.
    """
    names = [option for option in choices("table", choice) if option != "none"]
    name = next((o.removeprefix("table=") for o in reversed(choice) if o.startswith("table=")), "none")
    if name == "none":
        raise ValueError(f"table=...: choose one of {', '.join(names)}")
    content: Any = OmegaConf.to_container(compose(choice).table, resolve=True)
    if content.get("metric") not in METRICS:
        raise ValueError(f"table.metric={content.get('metric')}: must be one of {', '.join(METRICS)}")
    try:
        rows = {label: _row(label, given) for label, given in content["grid"]["rows"].items()}
        columns = {label: tuple(given) for label, given in content["grid"]["columns"].items()}
        return Table(
            name=name,
            title=content["title"],
            metric=content["metric"],
            common=tuple(content["common"]),
            rows={label: rows[label] for label in _selected(name, "rows", content["rows"], rows)},
            columns={label: columns[label] for label in _selected(name, "columns", content["columns"], columns)},
            seeds=_seeds(content["seeds"]),
            seed_noise=content.get("seed_noise"),
            published=content.get("published") or {},
            notes=tuple(content.get("notes") or ()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"table={name}: configs/table/{name}.yaml is not a table ({error})") from None


def _row(label: str, given: Any) -> Overrides | dict[str, Overrides]:
    """The overrides of a row, loss=<label> first unless it names its loss itself."""

    def whole(overrides: list[str]) -> Overrides:
        named = any(o.startswith("loss=") for o in overrides)
        return tuple(overrides) if named else (f"loss={label}", *overrides)

    if isinstance(given, dict):
        return {column: whole(overrides) for column, overrides in given.items()}
    return whole(given)


def _selected(name: str, what: str, asked: Any, known: Iterable[str]) -> list[str]:
    """The labels asked for, in the table's order."""
    if asked == "all":
        return list(known)
    labels = [str(label) for label in (asked if isinstance(asked, list) else [asked])]
    for label in labels:
        if label not in known:
            raise ValueError(f"table.{what}={label}: table={name} has no such {what[:-1]}; one of {', '.join(known)}")
    if not labels:
        raise ValueError(f"table.{what}=[]: choose at least one of {', '.join(known)}")
    return [label for label in known if label in labels]


def _seeds(asked: Any) -> tuple[int, ...]:
    seeds = asked if isinstance(asked, list) else [asked]
    if not seeds or not all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s < SEED for s in seeds):
        raise ValueError(f"table.seeds={asked}: must be a list of whole numbers, at least 0, such as [1,2,3]")
    return tuple(dict.fromkeys(seeds))


# ------------------------------------------------------------------------------------------------------------- cells


def cells(table: Table, extra: Sequence[str] = ()) -> list[Cell]:
    """Every cell of the table with the id of its record: all of the first seed, then all of the next.

    Composes once for a row and column, and not at all where a cache of the user's has the outcome.

    Args:
        extra: further overrides of the user's, applied to every cell after all others.
    Raises:
        ValueError: an override is wrong; names the first cell where it is.
    """
    for override in extra:
        if override.lstrip("+~").partition("=")[0] == "seed":
            raise ValueError(f"{override}: a table has seeds of its own; choose them with table.seeds=[...]")
    identities = Identities()
    ids = {
        (row, column, seed): identifier
        for row in table.rows
        for column in table.columns
        for seed, identifier in zip(table.seeds, _ids(table, row, column, tuple(extra), identities), strict=True)
    }
    identities.keep()
    return [
        Cell(row, column, seed, overrides_of(table, row, column, seed, extra), ids[row, column, seed])
        for seed in table.seeds
        for row in table.rows
        for column in table.columns
    ]


def overrides_of(table: Table, row: str, column: str, seed: int, extra: Sequence[str] = ()) -> Overrides:
    """What `train.py` takes to run this cell alone: with one CPU thread, as whatever launcher runs it, unless told."""
    given = table.rows[row]
    own = given.get(column, (f"loss={row}",)) if isinstance(given, dict) else given
    before = (*table.common, *own, *table.columns[column])
    seeds = [f"seed={seed}"]
    if table.seed_noise is not None and not any(o.startswith("seed_noise=") for o in before):
        seeds.append(f"seed_noise={SEED_NOISE if seed == SEED else table.seed_noise + seed - 1}")
    return (*before, *seeds, "threads=1", *extra)


def _ids(table: Table, row: str, column: str, extra: Overrides, identities: Identities) -> list[str]:
    """The id of every seed's record."""
    try:
        text = identities.of(overrides_of(table, row, column, SEED, extra))
        if not _only_seeds(text):  # something else is made of the seed too
            everyone = (overrides_of(table, row, column, seed, extra) for seed in table.seeds)
            return [identity.hashed(identities.of(overrides)) for overrides in everyone]
    except ValueError as error:
        raise ValueError(f"{error} (in row {row}, column {column} of table={table.name})") from None
    first = table.seed_noise or 0
    return [
        identity.hashed(text.replace(str(SEED_NOISE), str(first + seed - 1)).replace(str(SEED), str(seed)))
        for seed in table.seeds
    ]


def _only_seeds(text: str) -> bool:
    """Whether the stand-ins are the values of the three seeds and occur nowhere else."""
    config = json.loads(text)
    direct = sum(config[key] in (SEED, SEED_NOISE) for key in ("seed_noise", "seed_init", "seed_data"))
    return text.count(str(SEED)) + text.count(str(SEED_NOISE)) == direct
