"""One configuration to one record: config -> objects -> fit -> record. The only place where things are put together."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from labelnoise import records
from labelnoise.config import check, compose
from labelnoise.progress import Quiet, duration, show

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    import torch
    from torch import Tensor

    from labelnoise.data import TrainSet
    from labelnoise.datasets.base import Dataset
    from labelnoise.device import Place
    from labelnoise.methods.base import Method
    from labelnoise.trackers import Tracker
    from labelnoise.trainer import Labelled

__all__ = ["assemble", "compose", "inject", "run"]


def run(cfg: DictConfig, quiet: bool = False) -> records.Record:
    """Train one configuration and write its record, or return the record that it has already.

    Args:
        cfg: from `compose`.
        quiet: print nothing.
    Raises:
        ValueError: an option is wrong.
        OSError: data or results cannot be read or written.
        FloatingPointError: the loss is not a finite number any more.
    """
    check(cfg)
    config = records.effective(cfg)
    identifier = records.run_id(config)
    known = None if cfg.force else records.find(identifier, cfg.results)
    if known and (not cfg.save_model or _model_path(cfg, identifier).is_file()):
        if not quiet:
            from labelnoise.metrics import in_short

            print(f"run {identifier} is done already (force=true runs it again)\n{in_short(known['metrics'])}")
        return known
    return _train(cfg, config, identifier, quiet)


def inject(cfg: DictConfig) -> "tuple[Dataset, Tensor]":
    """The data set of a configuration and its noisy training labels (N,).

    Raises:
        ValueError, OSError: as the data set's and the noise's own function say.
    """
    dataset = hydra.utils.instantiate(cfg.dataset.load)()
    if dataset.name != cfg.dataset.name:
        raise ValueError(f"dataset.name={cfg.dataset.name}: is given by the data set, {dataset.name}")
    return dataset, hydra.utils.instantiate(cfg.noise)(dataset, cfg.seed_noise)


def _train(cfg: DictConfig, config: dict[str, Any], identifier: str, quiet: bool) -> records.Record:
    from labelnoise.device import prepare
    from labelnoise.metrics import in_short, noise_facts, noise_in_short, summarise
    from labelnoise.trainer import fit

    started = time.monotonic()
    environment = records.environment()  # now: the checkout may move on while it trains
    say = (lambda *_: None) if quiet else print
    place = prepare(cfg.device, cfg.precision, cfg.threads)
    loss = _loss(cfg, say)
    records.check_writable(cfg.results)
    dataset, noisy_labels = inject(cfg)
    facts = noise_facts(dataset.train_labels, noisy_labels, dataset.num_classes, cfg.seed_noise)
    say(noise_in_short(dataset.name, facts))
    method, true_labels, val, test = assemble(cfg, dataset, noisy_labels, loss, place)
    steps = -(-len(true_labels) // cfg.batch_size)
    training = time.monotonic()
    with show(cfg.epochs, steps, quiet) as progress:
        told = _Tracked(progress, hydra.utils.instantiate(cfg.tracker)(identifier, config, cfg.results))
        with told:
            trained = fit(
                method, true_labels, test, val, dataset.num_classes, cfg.epochs, cfg.batch_size, cfg.eval_every, told
            )
            told.metrics = summarise(trained.history)
    metrics = {**told.metrics, "confusion": trained.confusion.tolist()}
    record = {
        "run_id": identifier,
        "config": config,
        "noise": facts,
        "metrics": metrics,
        "history": {name: _rounded(column) for name, column in trained.history.items()},
        "environment": {
            **environment,
            **place.facts(),
            "seconds": round(time.monotonic() - started, 1),
            "seconds_training": round(time.monotonic() - training, 1),
            "finished": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    if cfg.save_model:
        _save(method, record, dataset, _model_path(cfg, identifier))
    try:
        path = records.write(record, cfg.results)
    except OSError:
        _model_path(cfg, identifier).unlink(missing_ok=True)  # a network without its record would look finished
        raise
    say(f"{in_short(metrics)}\n{path} written after {duration(time.monotonic() - started)}")
    return record


class _Tracked(Quiet):
    """Tells the display and the tracker of each epoch; the tracker is finished whatever happens."""

    def __init__(self, progress: Quiet, tracker: "Tracker") -> None:
        self._progress, self._tracker, self._epoch = progress, tracker, 0
        self.metrics: dict[str, Any] = {}
        self.step = progress.step  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self._tracker.finish(self.metrics)

    def epoch(self, row: dict[str, float | None]) -> None:
        self._epoch += 1
        self._progress.epoch(row)
        self._tracker.log(self._epoch, row)


def _loss(cfg: DictConfig, say: Any) -> Any:
    """The loss, tried out once so that a hyper-parameter out of range is refused before any data is read."""
    import torch

    raw = OmegaConf.to_container(cfg.loss, resolve=False)
    assert isinstance(raw, dict)
    loss = hydra.utils.instantiate(cfg.loss)
    try:
        loss(torch.zeros(2, 10), torch.tensor([0, 1]))
    except ValueError as error:
        raise ValueError(f"loss.{error}") from None
    except OverflowError:
        raise ValueError("loss: a parameter is too large, its value overflows") from None
    used = [key for key, value in raw.items() if isinstance(value, str) and "${tuned_row}" in value]
    if cfg.tuned_row == "default" and used:
        values = ", ".join(f"{key!s}={cfg.loss[key]:g}" for key in used)
        say(f"loss: no values are published for {cfg.dataset.name}; its card's default row is used ({values})")
    return loss


def assemble(
    cfg: DictConfig,
    dataset: "Dataset",
    noisy_labels: "Tensor",
    loss: Any,
    place: "Place",
) -> "tuple[Method, Tensor, Labelled | None, Labelled]":
    """The method on its training set, the true labels that go with it, the held-out part, the test set."""
    import torch

    from labelnoise.datasets.split import split
    from labelnoise.trainer import Labelled

    device = place.device
    generator = torch.Generator(device).manual_seed(cfg.seed_data)
    torch.manual_seed(cfg.seed_data)  # what draws during training without a generator: dropout, negative learning
    train_part, val_part, trusted_part = split(dataset.train_labels, cfg.num_val, cfg.num_trusted, cfg.seed_data)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (dataset.mean, dataset.std))

    def labelled(images: "Tensor", labels: "Tensor") -> Labelled:
        return Labelled(images.to(device), labels.to(device), mean, std)

    trusted = _train_set(cfg, dataset, dataset.train_labels, trusted_part, generator) if cfg.num_trusted else None
    train = _train_set(cfg, dataset, noisy_labels, train_part, generator, trusted)
    method = hydra.utils.instantiate(cfg.method)(_learner_factory(cfg, dataset, place), loss, train).to(device)
    return (
        method,
        dataset.train_labels[train_part].to(device),
        labelled(dataset.train_images[val_part], noisy_labels[val_part]) if cfg.num_val else None,
        labelled(dataset.test_images, dataset.test_labels),
    )


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


def _learner_factory(cfg: DictConfig, dataset: "Dataset", place: "Place") -> Any:
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
        network = network.to(place.device, memory_format=torch.channels_last)
        try:
            return Learner(network, make_optimizer, schedule, cfg.epochs, cfg.clip_norm, place.precision)
        except ValueError as error:  # torch's own message does not say whose option it is
            raise ValueError(f"optimizer: {error}") from None

    return make_learner


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
    records.write_whole(path, save(weights, about))


def _model_path(cfg: DictConfig, identifier: str) -> Path:
    return Path(cfg.results) / f"{identifier}.safetensors"


def _rounded(column: list[float | None]) -> list[float | None]:
    return [None if value is None else round(value, 4) for value in column]
