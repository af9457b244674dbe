"""The records of a table's cells."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from labelnoise.records import store
from labelnoise.records.own_code import changed
from labelnoise.tables.table import Cell


class Found(NamedTuple):
    """What was found.

    Attributes:
        records: run id -> record.
        changed: run id -> the user's own source files that have changed since its record was made: it is not done.
    """

    records: dict[str, store.Record]
    changed: dict[str, str]

    def told(self) -> str:
        """A line on the changed cells; empty if there are none."""
        if not self.changed:
            return ""
        files = ", ".join(sorted({file for files in self.changed.values() for file in files.split(", ")}))
        count = f"{len(self.changed)} cell{'s' * (len(self.changed) > 1)}"
        return (
            f"{count} changed, not done: made before {files} changed; "
            "force=true trains again, accept_changed=true counts as done"
        )


def find(cells: Sequence[Cell], results: str | Path, accept_changed: bool) -> Found:
    """The cells' records in `results`, else among the committed ones.

    Args:
        accept_changed: count records made before source files of the user's own changed.
    Raises:
        ValueError: accept_changed is neither true nor false.
    """
    if not isinstance(accept_changed, bool):  # from the command line
        raise ValueError(f"accept_changed={accept_changed}: must be true or false")
    records, differ = {}, {}
    for cell in cells:
        if record := store.find(cell.run_id, results):
            if not accept_changed and (files := changed(record)):
                differ[cell.run_id] = files
            else:
                records[cell.run_id] = record
    return Found(records, differ)
