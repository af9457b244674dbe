"""The check of a method: a short training, the same again, stopped and resumed, and with other true labels."""

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, open_dict, read_write
from torch import Tensor

from labelnoise.data.dataset import Dataset
from labelnoise.data.streamed import StreamedImages
from labelnoise.experiment.assemble import Assembled, assemble
from labelnoise.experiment.components import Components
from labelnoise.files.run_files import RunFiles
from labelnoise.training import checkpoints
from labelnoise.training.listener import Listener
from labelnoise.training.loop import fit
from labelnoise.training.signals import Signals
from labelnoise.training.snapshot import leaves
from labelnoise.training.state import TrainState

EPOCHS, STEPS, BATCH = 4, 5, 32  # of the short training: its last step of an epoch is a partial one
TESTED = 100  # test images


class _Stopped(Exception):  # noqa: N818  # it is a state, not an error
    pass


class _StopAt(Listener):
    """Saves a checkpoint after this step of the run and stops."""

    def __init__(self, step: int, keep: checkpoints.Checkpointer) -> None:
        self._step, self._keep = step, keep

    def consistent(self, state: TrainState) -> None:
        if state.steps >= self._step:
            self._keep.save(state)
            raise _Stopped


def check_method(cfg: DictConfig, components: Components, dataset: Dataset, labels: Tensor) -> str:
    """Train a few steps; the same again, with stops in between, and with other true labels, must lead to the same.

    Args:
        labels: (N,), noisy.
    Raises:
        ValueError: it does not; names what differs first.
    """
    cfg = _short(cfg)
    dataset, labels = _part(cfg, dataset, labels)
    name = f"method: {cfg.method._target_}"
    whole = _train(cfg, components, dataset, labels)
    if where := _difference(whole, _train(cfg, components, dataset, labels)):
        raise ValueError(f"{name}: the same run gives another result ({where}); draw from self.train_set.generator")
    steps = int(whole["steps"])
    stops = sorted({2, steps // 2, steps - 2} & set(range(1, steps)))
    if where := _difference(whole, _train(cfg, components, dataset, labels, stops)):
        stopped = f"stopped after step {', '.join(map(str, stops))} of {steps} and resumed"
        raise ValueError(f"{name}: {stopped}, it gives another result ({where}); its state is not all in its buffers")
    found = f"{EPOCHS} epochs, {steps} steps: the same again, and when stopped after step {', '.join(map(str, stops))}"
    other = _other_truth(cfg, dataset, labels)
    if other is None:
        return f"{found}; true labels are used as configured"
    if where := _difference(whole, _train(cfg, components, other, labels), learned_only=True):
        raise ValueError(f"{name}: what it learns depends on true labels ({where}), and it does not declare it")
    return f"{found}; learns nothing from true labels"


def _short(cfg: DictConfig) -> DictConfig:
    cfg = cfg.copy()
    with read_write(cfg), open_dict(cfg):
        cfg.epochs, cfg.batch_size, cfg.eval_every = EPOCHS, min(cfg.batch_size, BATCH), 1
        cfg.num_val, cfg.num_trusted = min(cfg.num_val, 2 * BATCH), min(cfg.num_trusted, 2 * BATCH)
    return cfg


def _part(cfg: DictConfig, dataset: Dataset, labels: Tensor) -> tuple[Dataset, Tensor]:
    """A random part of the data set, of STEPS steps and what is held out, with its noisy labels."""
    cut = cfg.num_trusted if cfg.trusted_from == "train" else 0
    count = (STEPS - 1) * cfg.batch_size + cfg.batch_size // 2 + cfg.num_val + cut
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))[:count].sort().values
    images = dataset.train_images
    given: Any = images.part(order) if isinstance(images, StreamedImages) else images[order]
    part = dataset._replace(
        train_images=given,
        train_labels=dataset.train_labels[order],
        true_labels=None if dataset.true_labels is None else dataset.true_labels[order],
        test_images=dataset.test_images[:TESTED],
        test_labels=dataset.test_labels[:TESTED],
        paths=None,
    )
    return part, labels[order]


def _train(
    cfg: DictConfig, components: Components, dataset: Dataset, labels: Tensor, stops: Sequence[int] = ()
) -> dict[str, Any]:
    """What a training leads to: the method's state, the history and the number of steps, by path.

    Args:
        stops: steps after which it is saved, built anew and resumed from the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = RunFiles(Path(folder), "0" * 12)
        for number, step in enumerate([*stops, None]):
            random.seed(number)
            np.random.seed(number)  # the global generators are no part of a run
            made, state = _resumed(cfg, components, dataset, labels, files)
            listeners = []
            if step is not None:
                keep = checkpoints.Checkpointer(files, made.method, [], lambda: {"commit": None}, Signals(), 0)
                listeners.append(_StopAt(step, keep))
            try:
                fit(made.method, state, made.evaluation, listeners, graphs=False)
            except _Stopped:
                continue
        found = {**made.method.state_dict(), "history": state.history}
        found = {path.lstrip("/"): leaf for path, leaf in leaves(found)}
        return {path: leaf.clone() if isinstance(leaf, Tensor) else leaf for path, leaf in found.items()} | {
            "steps": state.steps
        }


def _resumed(
    cfg: DictConfig, components: Components, dataset: Dataset, labels: Tensor, files: RunFiles
) -> tuple[Assembled, TrainState]:
    """The method as a new process has it: new, or from the checkpoint."""
    made = assemble(cfg, dataset, labels.clone(), components)
    content = checkpoints.load(files)
    if content is None:
        return made, TrainState()
    torch.manual_seed(99)  # what was drawn before must not matter
    state = checkpoints.restore(files, content, made.method, None)
    if state is None:
        raise ValueError(f"method: {cfg.method._target_}: its checkpoint does not fit a method that is built anew")
    return made, state


def _difference(one: dict[str, Any], other: dict[str, Any], learned_only: bool = False) -> str:
    """Where two results differ first; empty if they are the same bit for bit.

    Args:
        learned_only: do not compare the history, which true labels are in.
    """
    for path in dict.fromkeys([*one, *other]):
        a, b = one.get(path), other.get(path)
        if learned_only and path.startswith("history"):
            continue
        same = torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b
        if not same:
            return path
    return ""


def _other_truth(cfg: DictConfig, dataset: Dataset, labels: Tensor) -> Dataset | None:
    """The data set with true labels exchanged between images of the same noisy label; None if that may matter.

    The transition matrix of the noise stays as it is.
    """
    truth = dataset.true_labels
    if truth is None or (cfg.num_trusted and cfg.trusted_from == "train"):
        return None
    generator, changed = torch.Generator().manual_seed(0), truth.clone()
    for label in labels.unique():
        same = (labels == label).nonzero().flatten()
        changed[same] = truth[same[torch.randperm(len(same), generator=generator)]]
    return dataset._replace(true_labels=changed)
