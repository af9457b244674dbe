"""The results of a training: its record and, if they are asked for, its network and its predictions."""

import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.experiment.trained import Trained
from labelnoise.files.atomic import write_whole
from labelnoise.files.run_files import RunFiles
from labelnoise.records import store

if TYPE_CHECKING:
    from labelnoise.data.dataset import Dataset
    from labelnoise.training.method import Method
    from labelnoise.training.predictions import Predictions
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


def write(files: RunFiles, trained: Trained, save_model: bool, predictions: "Predictions | None") -> store.Record:
    """Write the network, if it is to be saved, and the predictions, if there are any, then the record.

    If that fails, network and predictions are removed again.
    """
    if save_model:
        _save(trained.method, trained.record, trained.dataset, files.network)
    else:  # a network that an earlier training saved does not belong to this record
        files.network.unlink(missing_ok=True)
    try:
        if predictions is None:
            files.predictions.unlink(missing_ok=True)
        else:
            _write_predictions(trained, predictions, files.predictions)
        store.write(trained.record, files.results)
    except OSError:
        files.network.unlink(missing_ok=True)
        files.predictions.unlink(missing_ok=True)
        raise
    return trained.record


def _write_predictions(trained: Trained, predictions: "Predictions", path: Path) -> None:
    """Write the arrays that docs/library.md lists; M images that the method trained on, E recorded epochs.

    index (M,), given (M,), true (M,) if it is known, epoch (E,), given_probability (E, M), predicted (E, M),
    probabilities (M, C).
    """
    import numpy as np
    import torch

    index, truth = trained.train_index, trained.dataset.true_labels
    arrays = {
        "index": trained.dataset.original(index),
        "given": trained.noisy_labels[index],
        **({} if truth is None else {"true": truth[index]}),
        "epoch": torch.tensor(predictions.epochs),
        "given_probability": torch.stack(predictions.given),
        "predicted": torch.stack(predictions.predicted),
        "probabilities": predictions.last,
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: array.numpy() for name, array in arrays.items()})  # type: ignore[arg-type]
    write_whole(path, buffer.getvalue())


def _save(method: "Method", record: store.Record, dataset: "Dataset", path: Path) -> None:
    """Save the network that predicts as safetensors, with the metadata needed to rebuild it.

    How many outputs it has beyond one for each class is found with one image, because a loss, a method or a network may
    add them.
    """
    import torch
    from safetensors.torch import save

    from labelnoise.networks.readout import Readout

    shape, whole = list(dataset.train_images.shape[1:]), method.network
    readout = whole.facts() if isinstance(whole, Readout) else None
    network: torch.nn.Module = whole.network if isinstance(whole, Readout) else whole
    device = next(network.parameters()).device
    with torch.no_grad():
        outputs = network.eval()(torch.zeros(1, *shape, device=device)).shape[1]
    weights = {name: value.contiguous().cpu() for name, value in network.state_dict().items()}
    about = {
        "run_id": record["run_id"],
        "network": json.dumps(record["config"]["network"]),
        "shape": json.dumps(shape),
        "classes": json.dumps(dataset.classes),
        "extra_outputs": json.dumps(outputs - len(dataset.classes)),
        "mean": json.dumps(dataset.mean),
        "std": json.dumps(dataset.std),
        **({} if readout is None else {"readout": json.dumps(readout)}),
    }
    write_whole(path, save(weights, about))
