"""The report's data as compact JSON: values shared by runs are stored once, accuracies as integers of 1e-4."""

import base64
import gzip
import json
import shlex
from typing import Any

from labelnoise.config.naming import component_name, flat
from labelnoise.records.store import Record
from labelnoise.report.collect import Collection
from labelnoise.tables.comparison import Result
from labelnoise.tables.sheet import Sheet, theirs_in_full

OF_A_RUN = ("seconds", "seconds_training", "finished")  # a run's own keys in `environment`; runs share the others
SEEDS = ("seed_noise", "seed_init", "seed_data")


def packed(content: Any) -> str:
    """JSON, compressed with gzip, as base64: the page's DecompressionStream reads it."""
    text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def content(collection: Collection) -> dict[str, Any]:
    """All that the page's script needs.

    Returns:
        runs: a list, each with the indices of its configuration, noise and environment in the lists `configs`,
        `noises` and `environments`. tables: their cells by row and column, with the indices of their runs.
    """
    shared: dict[str, dict[str, int]] = {"configs": {}, "noises": {}, "environments": {}}

    def place(kind: str, value: Any) -> int:
        return shared[kind].setdefault(json.dumps(value, sort_keys=True), len(shared[kind]))

    runs = []
    for identifier, record in collection.records.items():
        config, environment = record["config"], record["environment"]
        run = {
            "id": identifier,
            "config": place("configs", flat({k: v for k, v in config.items() if k not in SEEDS})),
            "seeds": [config.get(name) for name in SEEDS],
            "noise": place("noises", record["noise"]),
            "environment": place("environments", flat({k: v for k, v in environment.items() if k not in OF_A_RUN})),
            "own": {k: environment[k] for k in OF_A_RUN if k in environment},
            "names": names(record),
            "metrics": {k: v for k, v in record["metrics"].items() if v is None or isinstance(v, int | float)},
            "history": {k: [_whole(v) for v in values] for k, values in record["history"].items() if values},
            "confusion": record["metrics"].get("confusion"),
        }
        if identifier in collection.commands:
            run["command"] = f"python train.py {shlex.join(collection.commands[identifier])}"
        runs.append(run)
    places = {run["id"]: index for index, run in enumerate(runs)}
    lists = {kind: [json.loads(text) for text in values] for kind, values in shared.items()}
    return {"runs": runs, **lists, "tables": [_table(sheet, places) for sheet in collection.sheets]}


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
    return None if value is None else round(value * 10_000)
