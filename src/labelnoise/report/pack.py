"""The report's data as compact JSON: a list of all runs, and what is shown of single ones in parts of their own."""

import base64
import gzip
import json
import shlex
from collections.abc import Iterator
from typing import Any

from labelnoise.config.naming import component_name, flat
from labelnoise.records.store import Record
from labelnoise.report.collect import Collection
from labelnoise.tables.comparison import Result
from labelnoise.tables.sheet import Sheet, theirs_in_full
from labelnoise.tables.table import Overrides

OF_A_RUN = ("seconds", "seconds_training", "finished")  # a run's own keys in `environment`; runs share the others
SEEDS = ("seed_noise", "seed_init", "seed_data")
LISTED = ("test_acc_last", "test_acc_best")  # of the metrics, in the list of runs
DRAWN = ("test_acc", "acc_wrong_given", "acc_wrong_true")  # of the history
TOGETHER = 250  # runs whose details are unpacked together


def packed(content: Any) -> str:
    """JSON, compressed with gzip, as base64: the page's DecompressionStream reads it."""
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 7, mtime=0)).decode()


def content(collection: Collection) -> dict[str, Any]:
    """What the page's script needs at once: the list of runs, and the tables.

    Returns:
        runs: a list in the order of `details`, each with the index of its environment in the list `environments`.
        together: how many of them have their details in one part. tables: their cells by row and column, with the
        indices of their runs.
    """
    environments: dict[str, int] = {}
    runs = []
    for record in collection.records.values():
        config, environment = record["config"], record["environment"]
        shared = json.dumps(flat({k: v for k, v in environment.items() if k not in OF_A_RUN}), sort_keys=True)
        runs.append(
            {
                "id": record["run_id"],
                "seeds": [config.get(name) for name in SEEDS],
                "environment": environments.setdefault(shared, len(environments)),
                "own": {"finished": environment.get("finished")},
                "names": names(record),
                "metrics": {name: record["metrics"][name] for name in LISTED},
            }
        )
    places = {run["id"]: index for index, run in enumerate(runs)}
    return {
        "runs": runs,
        "together": TOGETHER,
        "environments": [json.loads(text) for text in environments],
        "tables": [_table(sheet, places) for sheet in collection.sheets],
    }


def details(collection: Collection) -> Iterator[list[dict[str, Any]]]:
    """What is shown of a run that is opened, `TOGETHER` runs at a time; each replaces or adds keys of the run."""
    records = list(collection.records.values())
    for start in range(0, len(records), TOGETHER):
        yield [_details(record, collection.commands) for record in records[start : start + TOGETHER]]


def _details(record: Record, commands: dict[str, Overrides]) -> dict[str, Any]:
    config, metrics, environment = (record[part] for part in ("config", "metrics", "environment"))
    found = {
        "config": flat({k: v for k, v in config.items() if k not in SEEDS}),
        "noise": record["noise"],
        "own": {k: environment[k] for k in OF_A_RUN if k in environment},
        "metrics": {k: v for k, v in metrics.items() if v is None or isinstance(v, int | float)},
        "history": {k: [_whole(v) for v in values] for k in DRAWN if (values := record["history"].get(k))},
        "confusion": metrics.get("confusion"),
    }
    if command := commands.get(record["run_id"]):
        found["command"] = f"python train.py {shlex.join(command)}"
    return found


def _table(sheet: Sheet, places: dict[str, int]) -> dict[str, Any]:
    return {
        "name": sheet.table.name,
        "rows": list(sheet.table.rows),
        "columns": list(sheet.table.columns),
        "cells": [_cell(result, places) for result in sheet.results],
    }


def _cell(result: Result, places: dict[str, int]) -> dict[str, Any]:
    cell: dict[str, Any] = {"row": result.row, "column": result.column, "runs": [places[i] for i in result.run_ids]}
    for name in ("mean", "std", "difference", "distance", "p"):
        if (value := getattr(result, name)) is not None:
            cell[name] = round(value, 6)
    if result.published:
        cell["published"] = {"mean": result.published.mean, "text": theirs_in_full(result)}
    return cell


def names(record: Record) -> dict[str, str]:
    """The names of a run's components, from its configuration; for a sum, its parts' names joined."""
    config = record["config"]

    noise = config.get("noise")
    rate = noise.get("rate") if isinstance(noise, dict) else None
    return {
        "dataset": str(config["dataset"]["name"]),
        **{group: component_name(config.get(group)) for group in ("method", "loss", "network")},
        "noise": component_name(noise) + ("" if rate is None else f" {rate}"),
        "epochs": str(config.get("epochs")),
    }


def _whole(value: float | None) -> int | None:
    """An accuracy in units of 1e-4."""
    return None if value is None else round(value * 10_000)
