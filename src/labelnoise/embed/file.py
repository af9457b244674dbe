"""A file of features that grows batch by batch: a stopped run goes on where it was, and ends with the same bytes."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labelnoise.data.dataset import Dataset
from labelnoise.files.atomic import write_whole

BATCH = 256  # images
Row = Callable[[Tensor], Tensor]


def write(
    out: Path, dataset: Dataset, facts: dict[str, Any], length: int, embed: Row, shown: Callable[[int, int], object]
) -> bool:
    """Write `out`, a .safetensors file for dataset=features, and remove what was kept of it meanwhile.

    Args:
        facts: what determines the features; kept features of others are not gone on with.
        length: D.
        embed: images (B, channels, H, W) -> (B, D).
        shown: called with the finished and all images, after each batch.
    Returns:
        whether it went on with features that an earlier process left.
    """
    parts = {"": dataset.train_images, "test_": dataset.test_images}
    if dataset.val_images is not None:
        parts["val_"] = dataset.val_images
    count = sum(map(len, parts.values()))
    kept, progress = (out.with_name(f"{out.name}.{ending}") for ending in ("rows", "progress"))
    done = _done(kept, progress, facts, count, length)
    resumed = done > 0
    if not resumed:  # before the rows are cleared, so that no later process trusts them
        progress.unlink(missing_ok=True)
    mode: Any = "r+" if resumed else "w+"
    rows = np.memmap(kept, dtype=np.float16, mode=mode, shape=(count, length))
    for start, images in _batches(parts):
        if start < done:
            continue
        end = start + len(images)
        found = embed(images).to(torch.float16)
        if not found.isfinite().all():
            raise ValueError("out: the network's features are not finite in float16")
        rows[start:end] = found.numpy()
        rows.flush()
        write_whole(progress, json.dumps({"facts": facts, "done": end}).encode(), sync=False)
        shown(end, count)
    _finish(out, dataset, facts, rows, list(parts.items()))
    for path in (kept, progress):
        path.unlink(missing_ok=True)
    return resumed


def content(dataset: Dataset) -> str:
    """First 16 hex digits of a hash of all images; of their files' names where they do not fit in memory."""
    found = hashlib.sha256()
    for images in (dataset.train_images, dataset.test_images, dataset.val_images):
        if isinstance(images, Tensor):
            for part in images.split(4096):
                found.update(part.contiguous().numpy().tobytes())
        elif images is not None:
            found.update("\n".join(dataset.paths or ()).encode())
    return found.hexdigest()[:16]


def _done(kept: Path, progress: Path, facts: dict[str, Any], count: int, length: int) -> int:
    """How many rows an earlier process finished; 0 if they are of other facts."""
    try:
        found = json.loads(progress.read_text())
        whole = kept.stat().st_size == 2 * count * length
        return int(found["done"]) if whole and found["facts"] == json.loads(json.dumps(facts)) else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _batches(parts: dict[str, Any]) -> Iterator[tuple[int, Tensor]]:
    """The parts' images in batches of BATCH at fixed places, with the place of the first in all of them."""
    before = 0
    for images in parts.values():
        for start in range(0, len(images), BATCH):
            yield before + start, images[torch.arange(start, min(start + BATCH, len(images)))]
        before += len(images)


def _finish(out: Path, dataset: Dataset, facts: dict[str, Any], rows: np.ndarray, parts: list[tuple[str, Any]]) -> None:
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {"labels": dataset.train_labels.clone(), "test_labels": dataset.test_labels.clone()}
    if dataset.true_labels is not None:
        tensors["true_labels"] = dataset.true_labels.clone()
    if dataset.val_labels is not None:
        tensors["val_labels"] = dataset.val_labels.clone()
    whole, place = torch.from_numpy(rows), 0
    for name, images in parts:
        tensors[f"{name}features"] = whole[place : place + len(images)].clone()
        place += len(images)
    about = {"dataset": dataset.name, "classes": list(dataset.classes), **facts}
    for field in ("mistaken_for", "superclass"):
        if (values := getattr(dataset, field)) is not None:
            about[field] = values.tolist()
    part = out.with_name(f"{out.name}.part")
    try:
        save_file(tensors, part, {"about": json.dumps(about, sort_keys=True)})  # several keys have no fixed order
        part.chmod(out.with_name(f"{out.name}.progress").stat().st_mode)  # safetensors lets nobody else read it
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
