"""One configuration to one record: config -> objects -> fit -> record. The only place where things are put together."""

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from labelnoise import records
from labelnoise.config import check, compose
from labelnoise.progress import duration, show

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from labelnoise.data import TrainSet
    from labelnoise.datasets.base import Dataset
    from labelnoise.learner import Learner
    from labelnoise.methods.base import Method
    from labelnoise.trainer import Labelled

__all__ = ["compose", "inject", "noise_facts", "run"]

Record = records.Record


def run(cfg: DictConfig, quiet: bool = False) -> Record:
    """Train one configuration and write its record, or return the record that it has already.

    Args:
        cfg: from `compose`.
        quiet: print nothing.
    Raises:
        ValueError: an option is wrong. OSError: data or results cannot be read or written.
        FloatingPointError: the loss is not a finite number any more.
    """
    check(cfg)
    say = (lambda *_: None) if quiet else print
    config = records.effective(cfg)
    identifier = records.run_id(config)
    model_path = Path(cfg.results) / f"{identifier}.safetensors"
    if (
        not cfg.force
        and (known := records.find(identifier, cfg.results))
        and (not cfg.save_model or model_path.is_file())
    ):
        say(f"run {identifier} is done already (force=true runs it again)")
        say(summary(known))
        return known

    started = time.monotonic()
    environment = records.environment()  # now: the code may be edited while it runs
    device, precision, threads = _prepare(cfg)
    loss = hydra.utils.instantiate(cfg.loss)
    _try_out(loss)
    records.check_writable(cfg.results)
    _tell_default_row(cfg, say)
    dataset, noisy_labels = inject(cfg)
    facts = noise_facts(dataset, noisy_labels, cfg.seed_noise)
    say(_noise_in_short(dataset, facts))
    method, true_labels, val, test = _assemble(cfg, dataset, noisy_labels, loss, device, precision)

    from labelnoise.trainer import fit

    steps = -(-len(true_labels) // cfg.batch_size)
    tracker = hydra.utils.instantiate(cfg.tracker)(identifier, config, cfg.results)
    training = time.monotonic()
    with show(cfg.epochs, steps, quiet) as progress:
        trained = fit(
            method,
            true_labels,
            test,
            val,
            dataset.num_classes,
            cfg.epochs,
            cfg.batch_size,
            cfg.eval_every,
            _Both(progress, tracker),
        )
    metrics = summarise(trained.history) | {"confusion": trained.confusion.tolist()}
    tracker.finish(metrics)
    record = {
        "run_id": identifier,
        "config": config,
        "noise": facts,
        "metrics": metrics,
        "history": {name: [_rounded(v) for v in column] for name, column in trained.history.items()},
        "environment": environment
        | {
            "device": _device_name(device),
            "precision": str(precision).removeprefix("torch."),
            "threads": threads,
            "seconds": round(time.monotonic() - started, 1),
            "seconds_training": round(time.monotonic() - training, 1),
            "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    if cfg.save_model:
        _save(method, record, dataset, model_path)
    path = records.write(record, cfg.results)
    say(summary(record))
    say(f"{path} written after {duration(record['environment']['seconds'])}")
    return record


class _Both:
    """Tells the display and the tracker of each epoch."""

    def __init__(self, progress: Any, tracker: Any) -> None:
        self._progress, self._tracker, self._epoch = progress, tracker, 0
        self.step = progress.step

    def epoch(self, row: dict[str, float | None]) -> None:
        self._epoch += 1
        self._progress.epoch(row)
        self._tracker.log(self._epoch, row)


# ------------------------------------------------------------------------------------------------------------ pieces


def inject(cfg: DictConfig) -> "tuple[Dataset, Tensor]":
    """The data set of a configuration and its noisy training labels (N,).

    Raises:
        ValueError, OSError: as the data set's and the noise's own function say.
    """
    dataset = hydra.utils.instantiate(cfg.dataset.load)()
    return dataset, hydra.utils.instantiate(cfg.noise)(dataset, cfg.seed_noise)


def noise_facts(dataset: "Dataset", noisy_labels: "Tensor", seed: int) -> dict[str, Any]:
    """What the noise came out as: realised rate, counts (rows: true class, columns: noisy), hash of the labels, seed.

    The hash is the first 16 hex digits of the sha256 of the labels as uint8, in the data set's order.
    """
    import hashlib

    import torch

    true_labels, K = dataset.train_labels, dataset.num_classes
    transition = torch.bincount(true_labels * K + noisy_labels, minlength=K * K).view(K, K)
    return {
        "realised_rate": round(float((true_labels != noisy_labels).double().mean()), 6),
        "transition": transition.tolist(),
        "label_hash": hashlib.sha256(noisy_labels.to(torch.uint8).numpy().tobytes()).hexdigest()[:16],
        "seed": seed,
    }


def _prepare(cfg: DictConfig) -> "tuple[torch.device, torch.dtype, int]":
    """Device, precision and threads, set before the first operation."""
    import torch

    from labelnoise.kernels import keep_pages

    keep_pages()

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = int(os.environ.get("OMP_NUM_THREADS") or cores) if cfg.threads == "auto" else cfg.threads
    torch.set_num_threads(threads)
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    device = torch.device(("cuda" if available else "cpu") if cfg.device == "auto" else cfg.device)
    if device.type == "cuda" and (device.index or 0) >= available:
        raise ValueError(
            f"device={cfg.device}: not there; this machine has {available} CUDA devices (device=cpu always works)"
        )
    if cfg.precision != "auto":
        return device, getattr(torch, cfg.precision), threads
    return device, torch.bfloat16 if _fast_bfloat16(device) else torch.float32, threads


def _fast_bfloat16(device: "torch.device") -> bool:
    """Whether bfloat16 is faster than float32 there: tensor cores, AMX, or AVX-512 with bfloat16."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return any(
        getattr(torch.cpu, name, lambda: False)() for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )


def _try_out(loss: Any) -> None:
    """Call the loss once, so that a hyper-parameter out of range is refused before any data is read."""
    import torch

    loss(torch.zeros(2, 10), torch.tensor([0, 1]))


def _tell_default_row(cfg: DictConfig, say: Any) -> None:
    """One line where a loss uses its card's default row because it has none for this data set."""
    raw = OmegaConf.to_container(cfg.loss, resolve=False)
    assert isinstance(raw, dict)
    used = [key for key, value in raw.items() if isinstance(value, str) and "${tuned_row}" in value]
    if cfg.tuned_row == "default" and used:
        values = ", ".join(f"{key}={cfg.loss[key]:g}" for key in used)
        say(f"loss: no values are published for {cfg.dataset.name}; its card's default row is used ({values})")


def _assemble(
    cfg: DictConfig,
    dataset: "Dataset",
    noisy_labels: "Tensor",
    loss: Any,
    device: "torch.device",
    precision: "torch.dtype",
) -> "tuple[Method, Tensor, Labelled | None, Labelled]":
    """The method on its training set, the true labels that go with it, the held-out part, the test set."""
    import torch

    from labelnoise.trainer import Labelled

    generator = torch.Generator(device).manual_seed(cfg.seed_data)
    torch.manual_seed(cfg.seed_data)  # what draws during training without a generator: dropout, negative learning
    train_part, val_part, trusted_part = split(dataset.train_labels, cfg.num_val, cfg.num_trusted, cfg.seed_data)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (dataset.mean, dataset.std))

    def labelled(images: "Tensor", labels: "Tensor") -> Labelled:
        return Labelled(images.to(device), labels.to(device), mean, std)

    trusted = _train_set(cfg, dataset, dataset.train_labels, trusted_part, generator) if cfg.num_trusted else None
    train = _train_set(cfg, dataset, noisy_labels, train_part, generator, trusted)
    method = hydra.utils.instantiate(cfg.method)(_learner_factory(cfg, dataset, device, precision), loss, train).to(
        device
    )
    return (
        method,
        dataset.train_labels[train_part].to(device),
        labelled(dataset.train_images[val_part], noisy_labels[val_part]) if cfg.num_val else None,
        labelled(dataset.test_images, dataset.test_labels),
    )


def split(true_labels: "Tensor", num_val: int, num_trusted: int, seed: int) -> "tuple[Tensor, Tensor, Tensor]":
    """Positions of the training, held-out and trusted images, each sorted; the trusted ones balanced over the classes.

    Raises:
        ValueError: nothing would be left to train on.
    """
    import numpy as np
    import torch

    count = len(true_labels)
    if num_val + num_trusted > count - 2:
        raise ValueError(f"num_val={num_val} num_trusted={num_trusted}: leave no training images of {count}")
    order = np.random.RandomState(seed).permutation(count)
    # Round-robin over the classes: the r-th image of each class comes before any (r+1)-th.
    labels = true_labels.numpy()[order]
    rank = np.empty(count, dtype=np.int64)
    for c in np.unique(labels):
        rank[labels == c] = np.arange((labels == c).sum())
    turn = order[np.argsort(rank, kind="stable")]
    trusted = turn[:num_trusted]
    rest = order[~np.isin(order, trusted)]
    parts = (rest[num_val:], rest[:num_val], trusted)
    train, val, trusted = (np.sort(part) for part in parts)
    return torch.from_numpy(train), torch.from_numpy(val), torch.from_numpy(trusted)


def _train_set(
    cfg: DictConfig,
    dataset: "Dataset",
    labels: "Tensor",
    part: "Tensor",
    generator: "torch.Generator",
    trusted: "TrainSet | None" = None,
) -> "TrainSet":
    from labelnoise.data import TrainSet

    whole = len(part) == len(labels)
    images = dataset.train_images if whole else dataset.train_images[part]
    return TrainSet(
        images.to(generator.device),
        labels[part].to(generator.device),
        dataset.num_classes,
        dataset.mean,
        dataset.std,
        hydra.utils.instantiate(cfg.dataset.augment),
        generator,
        trusted,
    )


def _learner_factory(cfg: DictConfig, dataset: "Dataset", device: "torch.device", precision: "torch.dtype") -> Any:
    """`make_learner()`: the n-th network's first weights depend on seed_init and n alone."""
    import torch

    from labelnoise.learner import Learner

    channels, size = dataset.train_images.shape[1], dataset.train_images.shape[-1]
    make_network, make_optimizer, schedule = map(hydra.utils.instantiate, (cfg.network, cfg.optimizer, cfg.schedule))
    made = 0

    def make_learner() -> Learner:
        nonlocal made
        with torch.random.fork_rng():
            torch.manual_seed(cfg.seed_init + 1_000_003 * made)
            network = make_network(dataset.num_classes, channels, size)
        made += 1
        network = network.to(device, memory_format=torch.channels_last)
        return Learner(network, make_optimizer, schedule, cfg.epochs, cfg.clip_norm, precision)

    return make_learner


def _device_name(device: "torch.device") -> str:
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _save(method: "Method", record: Record, dataset: "Dataset", path: Path) -> None:
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
    records.write_whole(path, save(weights, about))


# ----------------------------------------------------------------------------------------------------------- numbers


def summarise(history: dict[str, list[float | None]]) -> dict[str, Any]:
    """The metrics of a history, fractions. `oracle` lists those that were chosen by looking at the test set.

    test_acc_last: after the last epoch. test_acc_best: the best epoch's. test_acc_last10: mean of the last ten
    evaluations. test_acc_val: of the epoch with the best accuracy on the held-out noisy part, null without one.
    """
    test = history["test_acc"]
    evaluated = [value for value in test if value is not None]
    chosen = None
    if "val_acc" in history:
        val = [-1.0 if value is None else value for value in history["val_acc"]]
        chosen = test[val.index(max(val))]
    metrics = {
        "test_acc_last": evaluated[-1],
        "test_acc_best": max(evaluated),
        "test_acc_last10": sum(evaluated[-10:]) / len(evaluated[-10:]),
        "test_acc_val": chosen,
    }
    return {name: None if v is None else round(v, 6) for name, v in metrics.items()} | {"oracle": ["test_acc_best"]}


def summary(record: Record) -> str:
    """The accuracies in one line."""
    metrics = record["metrics"]
    held_out = (
        "" if metrics["test_acc_val"] is None else f", chosen on held-out noisy labels {metrics['test_acc_val']:.2%}"
    )
    return (
        f"test accuracy: last epoch {metrics['test_acc_last']:.2%}, mean of the last 10 {metrics['test_acc_last10']:.2%}"
        f"{held_out}, best {metrics['test_acc_best']:.2%} (an oracle: chosen on the test set)"
    )


def _noise_in_short(dataset: "Dataset", facts: dict[str, Any]) -> str:
    shares = [1 - row[c] / max(sum(row), 1) for c, row in enumerate(facts["transition"])]
    return (
        f"{dataset.name}: {facts['realised_rate']:.2%} of {len(dataset.train_labels):,} labels are wrong "
        f"(by class {min(shares):.1%} to {max(shares):.1%}), label hash {facts['label_hash']}"
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
