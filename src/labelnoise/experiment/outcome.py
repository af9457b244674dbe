"""What a training leaves behind: its record, and its network where it is to be kept."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from labelnoise.experiment import records
from labelnoise.files.atomic import write_whole

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
) -> records.Record:
    """The record of a training that has come to its end."""
    return {
        "run_id": identifier,
        "config": config,
        "noise": noise,
        "metrics": {**metrics, "confusion": state.confusion.tolist()},
        "history": {name: _rounded(column) for name, column in state.history.items()},
        "environment": environment,
    }


def times(started: float, training: float, earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """Seconds since both, those of earlier processes on this run included; now; and those processes, if any."""
    before, now = sum(piece["seconds"] for piece in earlier), time.monotonic()
    return {
        "seconds": round(now - started + before, 1),
        "seconds_training": round(now - training + before, 1),
        "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **({"earlier_pieces": earlier} if earlier else {}),
    }


def write(cfg: DictConfig, record: records.Record, method: "Method", dataset: "Dataset") -> records.Record:
    """Write the network if it is to be kept, then the record, and never a network without its record."""
    model = model_path(cfg, record["run_id"])
    if cfg.save_model:
        _save(method, record, dataset, model)
    else:  # a network of an earlier run is not this record's
        model.unlink(missing_ok=True)
    try:
        records.write(record, cfg.results)
    except OSError:
        model.unlink(missing_ok=True)
        raise
    return record


def model_path(cfg: DictConfig, identifier: str) -> Path:
    """Where a run's network is saved."""
    return Path(cfg.results) / f"{identifier}.safetensors"


def _save(method: "Method", record: records.Record, dataset: "Dataset", path: Path) -> None:
    """The network that predicts, as safetensors, with what it takes to build it again."""
    from safetensors.torch import save

    weights = {name: value.contiguous().cpu() for name, value in method.network.state_dict().items()}
    about = {
        "run_id": record["run_id"],
        "network": json.dumps(record["config"]["network"]),
        "shape": json.dumps(list(dataset.train_images.shape[1:])),
        "classes": json.dumps(dataset.classes),
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
    }
    write_whole(path, save(weights, about))


def _rounded(column: list[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in column]
