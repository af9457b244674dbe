"""Turn decisions.json, which the page saves, into a CSV of labels to train on."""

import csv
import io
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from labelnoise.files.atomic import write_whole
from labelnoise.files.reading import read_bounded
from labelnoise.files.schema import Closed, Text, reason

LARGEST = 2**28  # bytes


class Decision(Closed):
    """The decision on an image: accept the proposed label, or reject it and keep the given one."""

    path: Text
    given: Text
    proposed: Text
    decision: Literal["accept", "reject"]


class Decisions(Closed):
    """Attributes: audit, the page that they were made on; decisions."""

    audit: Text
    decisions: list[Decision]


def apply(file: Path, ranking: Path, out: Path) -> None:
    """Write a CSV of path and label: the given label, or the proposed one where it was accepted.

    Args:
        file: decisions.json. ranking: the audit.csv that the page belongs to.
    Raises:
        ValueError: a file is missing or invalid, or the decisions are on other images or labels.
    """
    try:
        decided = Decisions.model_validate_json(read_bounded(file, LARGEST)).decisions
    except ValidationError as error:
        raise ValueError(f"decisions={file}: {reason(error)}") from None
    except OSError as error:
        raise ValueError(f"decisions={file}: cannot be read ({error.strerror})") from None
    if not ranking.is_file():
        raise ValueError(f"decisions={file}: needs {ranking}, which the audit writes; out= names its folder")
    with ranking.open(newline="", encoding="utf-8") as text:
        rows = {row["path"]: row for row in csv.DictReader(text)}
    for one in decided:
        row = rows.get(one.path)
        if row is None or (row["given"], row["proposed"]) != (one.given, one.proposed):
            raise ValueError(f"decisions={file}: {one.path} is not in {ranking} with these labels; from another audit?")
    accepted = {one.path: one.proposed for one in decided if one.decision == "accept"}
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(["path", "label"])
    writer.writerows([path, accepted.get(path, rows[path]["given"])] for path in sorted(rows))
    write_whole(out, lines.getvalue().encode())
    print(f"{out} written: {len(accepted):,} of {len(rows):,} labels changed, {len(decided):,} decided")
