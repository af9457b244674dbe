"""From a configuration to objects: the only place where components are put together and Hydra makes them."""

import inspect
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    import torch
    from torch import Tensor

    from labelnoise.data.dataset import Dataset
    from labelnoise.data.train_set import TrainSet
    from labelnoise.training.device import Place
    from labelnoise.training.loop import Labelled
    from labelnoise.training.method import Method


def inject(cfg: DictConfig) -> "tuple[Dataset, Tensor]":
    """The data set of a configuration and its noisy training labels (N,).

    Raises:
        ValueError, OSError: as the data set's and the noise's own function say.
    """
    dataset = _load(OmegaConf.to_yaml(cfg.dataset.load, resolve=True))
    if dataset.name != cfg.dataset.name:
        raise ValueError(f"dataset.name={cfg.dataset.name}: is given by the data set, {dataset.name}")
    return dataset, hydra.utils.instantiate(cfg.noise)(dataset, cfg.seed_noise)


@lru_cache(maxsize=1)
def _load(component: str) -> "Dataset":
    """The data set that a component (as YAML) loads; the next job on the same one need not read it again."""
    return hydra.utils.instantiate(OmegaConf.create(component))()


def make_loss(cfg: DictConfig, say: Any) -> Any:
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


def check_optimizer(cfg: DictConfig) -> None:
    """Make the optimizer once for nothing, so that a value out of range is refused before any data is read.

    Raises:
        ValueError: as the optimizer says, whose own message does not tell that it is its.
    """
    import torch

    try:
        hydra.utils.instantiate(cfg.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    except ValueError as error:
        raise ValueError(f"optimizer: {error}") from None


def assemble(
    cfg: DictConfig,
    dataset: "Dataset",
    noisy_labels: "Tensor",
    loss: Any,
    place: "Place",
    compiled: bool = False,
) -> "tuple[Method, Tensor, Labelled | None, Labelled]":
    """The method on its training set, the true labels that go with it, the held-out part, the test set."""
    import torch

    from labelnoise.data.split import split
    from labelnoise.training.loop import Labelled

    device = place.device
    generator = torch.Generator(device).manual_seed(cfg.seed_data)
    torch.manual_seed(cfg.seed_data)  # what draws during training without a generator: dropout, negative learning
    train_part, val_part, trusted_part = split(dataset.train_labels, cfg.num_val, cfg.num_trusted, cfg.seed_data)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (dataset.mean, dataset.std))

    def labelled(images: "Tensor", labels: "Tensor") -> Labelled:
        return Labelled(images.to(device), labels.to(device), mean, std)

    trusted = _train_set(cfg, dataset, dataset.train_labels, trusted_part, generator) if cfg.num_trusted else None
    train = _train_set(cfg, dataset, noisy_labels, train_part, generator, trusted)
    method = hydra.utils.instantiate(cfg.method)(
        _learner_factory(cfg, dataset, place, compiled), _direct(loss), train
    ).to(device)
    return (
        method,
        dataset.train_labels[train_part].to(device),
        labelled(dataset.train_images[val_part], noisy_labels[val_part]) if cfg.num_val else None,
        labelled(dataset.test_images, dataset.test_labels),
    )


def _direct(made: Any) -> Any:
    """A partial of one of this project's functions, and those among its arguments, as Python's own partial.

    Hydra examines its partials again at every call, which takes longer than most losses. Ours were examined when they
    were made; whatever is not this project's stays as Hydra made it.
    """
    ours = (
        isinstance(made, partial) and inspect.isfunction(made.func) and made.func.__module__.startswith("labelnoise.")
    )
    if not ours:
        return made
    return partial(made.func, *map(_direct, made.args), **{name: _direct(v) for name, v in made.keywords.items()})


def _train_set(
    cfg: DictConfig,
    dataset: "Dataset",
    labels: "Tensor",
    part: "Tensor",
    generator: "torch.Generator",
    trusted: "TrainSet | None" = None,
) -> "TrainSet":
    from labelnoise.data.train_set import TrainSet

    whole = len(part) == len(labels)
    images = dataset.train_images if whole else dataset.train_images[part]
    return TrainSet(
        images.to(generator.device),
        labels[part].to(generator.device),
        dataset.num_classes,
        dataset.mean,
        dataset.std,
        _direct(hydra.utils.instantiate(cfg.dataset.augment)),
        generator,
        trusted,
    )


def _learner_factory(cfg: DictConfig, dataset: "Dataset", place: "Place", compiled: bool) -> Any:
    """`make_learner()`: the n-th network's first weights depend on seed_init and n alone."""
    import torch

    from labelnoise.training.learner import Learner

    channels, size = dataset.train_images.shape[1], dataset.train_images.shape[-1]
    make_network, make_optimizer, schedule = map(hydra.utils.instantiate, (cfg.network, cfg.optimizer, cfg.schedule))
    made = 0

    def make_learner() -> Learner:
        nonlocal made
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(cfg.seed_init + 1_000_003 * made)  # the CPU's alone: weights are made there
        try:
            network = make_network(dataset.num_classes, channels, size)
        finally:
            torch.set_rng_state(state)
        made += 1
        network = network.to(place.device, memory_format=torch.channels_last)
        return Learner(network, make_optimizer, schedule, cfg.epochs, cfg.clip_norm, place.precision, compiled)

    return make_learner
