"""The results of a training: its record and, with save_model=true, its network."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.files.atomic import write_whole
from labelnoise.files.run_files import RunFiles
from labelnoise.records import store

if TYPE_CHECKING:
    from labelnoise.data.dataset import Dataset
    from labelnoise.training.method import Method
    from labelnoise.training.state import TrainState


def make_record(
    identifier: str,
    config: dict[str, Any],
    noise: dict[str, Any],
    metrics: dict[str, Any],
    state: "TrainState",
    environment: dict[str, Any],
) -> store.Record:
    """The record of a finished training."""
    return {
        "run_id": identifier,
        "config": config,
        "noise": noise,
        "metrics": {**metrics, "confusion": state.confusion.tolist()},
        "history": {
            name: [None if value is None else round(value, 4) for value in column]
            for name, column in state.history.items()
        },
        "environment": environment,
    }


def times(started: float, training: float, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """The durations and the date for a record's environment, and facts about earlier processes on this run, if any.

    Args:
        started, training: `time.monotonic()` at the start of the process, and of its training.
        earlier: facts about each earlier process; their durations are added.
    """
    before, now = sum(process["seconds"] for process in earlier), time.monotonic()
    return {
        "seconds": round(now - started + before, 1),
        "seconds_training": round(now - training + before, 1),
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **({"resumed": len(earlier), "earlier_pieces": earlier} if earlier else {}),
    }


def write(
    files: RunFiles, record: store.Record, method: "Method", dataset: "Dataset", save_model: bool
) -> store.Record:
    """Write the network, if it is to be saved, then the record. If that fails, the network is removed again."""
    if save_model:
        _save(method, record, dataset, files.network)
    else:  # a network that an earlier training saved does not belong to this record
        files.network.unlink(missing_ok=True)
    try:
        store.write(record, files.results)
    except OSError:
        files.network.unlink(missing_ok=True)
        raise
    return record


def _save(method: "Method", record: store.Record, dataset: "Dataset", path: Path) -> None:
    """Save the network that predicts as safetensors, with the metadata needed to rebuild it.

    How many outputs it has beyond one for each class is found with one image, because a loss, a method or a network may
    add them.
    """
    import torch
    from safetensors.torch import save

    shape = list(dataset.train_images.shape[1:])
    device = next(method.network.parameters()).device
    with torch.no_grad():
        outputs = method.network.eval()(torch.zeros(1, *shape, device=device)).shape[1]
    weights = {name: value.contiguous().cpu() for name, value in method.network.state_dict().items()}
    about = {
        "run_id": record["run_id"],
        "network": json.dumps(record["config"]["network"]),
        "shape": json.dumps(shape),
        "classes": json.dumps(dataset.classes),
        "extra_outputs": json.dumps(outputs - len(dataset.classes)),
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
    }
    write_whole(path, save(weights, about))
