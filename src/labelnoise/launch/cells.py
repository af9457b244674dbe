"""The jobs of a multirun: a table's cells without a record, or every combination of the given values."""

from collections.abc import Mapping, Sequence

from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.config.explain import several_values
from labelnoise.launch.jobs import Outcome, make_jobs, over_seeds, summary
from labelnoise.records import store
from labelnoise.records.own_code import changed
from labelnoise.tables import found
from labelnoise.tables import table as tables


def chooses_table(arguments: Sequence[str]) -> bool:
    """Whether the arguments choose a table, even a misspelt one."""
    chosen = any(argument.lstrip("+~").startswith(("table=", "table.")) for argument in arguments)
    return chosen and "table=none" not in arguments


def missing(
    arguments: Sequence[str], several: Sequence[str], results: str, again: bool, accept_changed: bool
) -> list[tables.Cell]:
    """The cells of a table that have no record. Prints how many have one.

    Args:
        several: the arguments that give several values between commas.
        again: return every cell, with a record or without (force=true; save_model=true, as its network may be missing).
        accept_changed: cells whose record was made before source files of the user's own changed are done.
    Raises:
        ValueError: the table or an override is wrong, an argument gives several values, or there are such cells.
    """
    if several and several[0].startswith("table."):
        raise ValueError(several_values(several[0]))
    if several:
        raise ValueError(f"{several[0]}: several values do not go with table=, whose cells are the runs")
    choice, extra = tables.split_arguments(list(arguments))
    table = tables.read(choice)
    if extra:  # an override that is wrong is wrong in the first cell: say so before the ids of all are worked out
        tables.refuse_what_the_cells_set(table, extra)
        (row, given), (column, noise) = next(iter(table.rows.items())), next(iter(table.columns.items()))
        part = table._replace(rows={row: given}, columns={column: noise}, seeds=table.seeds[:1])
        check(compose(list(tables.cells(part, extra)[0].overrides)))
    cells = tables.cells(table, extra)
    done = found.find(() if again else cells, results, accept_changed)
    if done.changed:
        raise ValueError(f"table={table.name}: {done.told()}")
    left = [cell for cell in cells if cell.run_id not in done.records]
    print(f"{table.name}: {len(cells)} cells, {len(cells) - len(left)} done already", flush=True)
    return left


def each_value_once(jobs: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Jobs that together contain every override. Checking them finds a misspelt override before any job runs."""
    seen: set[str] = set()
    chosen = []
    for job in jobs:
        if not seen.issuperset(job):
            seen.update(job)
            chosen.append(job)
    return chosen


def report_from_records(
    identifiers: Sequence[str | None],
    jobs: Sequence[Sequence[str]],
    results: str,
    reasons: Mapping[int, str],
    means: bool,
    accept_changed: bool,
) -> bool:
    """Print the summary of jobs that another launcher ran. Done, failed or missing is read from the records.

    Args:
        identifiers: of each job's record; None if an option is wrong.
        reasons: number of a job that is known to have failed -> why.
        means: print the means over the seeds too.
        accept_changed: as that of `missing`.
    Returns:
        whether all jobs are done.
    """
    outcomes = []
    for job, identifier in zip(make_jobs(jobs, 0), identifiers, strict=True):
        record = None if identifier is None else store.find(identifier, results)
        if record and not accept_changed and changed(record):
            record = None
        status = "done" if record else "failed" if job.number in reasons else "missing"
        accuracy = record["metrics"]["test_acc_last"] if record else None
        outcomes.append(Outcome(job, status, reasons.get(job.number, ""), accuracy))
    print(summary(outcomes), flush=True)
    for outcome in outcomes:
        if outcome.status == "missing":
            print(f"missing: {outcome.job.name}", flush=True)
    if means and (lines := over_seeds(outcomes)):
        print(lines, flush=True)
    return all(outcome.status == "done" for outcome in outcomes)
