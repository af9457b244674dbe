"""Builds a run's objects from its configuration. Components are instantiated by Hydra and combined only here."""

import inspect
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from omegaconf import DictConfig, OmegaConf

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    import torch
    from torch import Tensor

    from labelnoise.data.dataset import Dataset
    from labelnoise.data.train_set import TrainSet
    from labelnoise.training.device import Place
    from labelnoise.training.learner import MakeNetwork, MakeOptimizer, Schedule
    from labelnoise.training.loop import Yardstick
    from labelnoise.training.method import Method


def inject(cfg: DictConfig) -> "tuple[Dataset, Tensor]":
    """The data set of a configuration and its noisy training labels (N,).

    Raises:
        ValueError, OSError: raised by the functions that load the data set and make the noise.
    """
    dataset = _load(OmegaConf.to_yaml(cfg.dataset.load, resolve=True))
    if dataset.name != cfg.dataset.name:
        raise ValueError(f"dataset.name={cfg.dataset.name}: is given by the data set, {dataset.name}")
    return dataset, hydra.utils.instantiate(cfg.noise)(dataset, cfg.seed_noise)


@lru_cache(maxsize=1)
def _load(component: str) -> "Dataset":
    """The data set that a component (as YAML) loads. Cached for the next job that uses it."""
    return hydra.utils.instantiate(OmegaConf.create(component))()


class Assembled(NamedTuple):
    """Attributes: the method to train, and what it is evaluated with."""

    method: "Method"
    yardstick: "Yardstick"


def assemble(
    cfg: DictConfig,
    dataset: "Dataset",
    labels: "Tensor",
    loss: Any,
    place: "Place",
    compiled: bool = False,
    regulariser: Any = None,
) -> Assembled:
    """Build the method on its training set, and the labels and images that it is evaluated with.

    Args:
        labels: (N,), noisy, from `inject`.
        loss: from `make_loss`.
        compiled: whether to run networks through torch.compile.
        regulariser: from `make_regulariser`. One that needs only the weights goes to every learner, others to the
            method.
    Raises:
        ValueError: the method does not provide what the loss or the regulariser needs, or lacks what it needs itself.
    """
    import torch

    from labelnoise.data.split import split
    from labelnoise.losses.base import needs_of
    from labelnoise.training.clock import Clock
    from labelnoise.training.evaluate import Labelled
    from labelnoise.training.loop import Yardstick
    from labelnoise.training.method import Setup, Unassuming

    device = place.device
    generator = torch.Generator(device).manual_seed(cfg.seed_data)
    torch.manual_seed(cfg.seed_data)  # for random numbers drawn without a generator: dropout, negative learning
    truth = dataset.true_labels
    if truth is None and cfg.num_trusted:
        raise ValueError(f"num_trusted={cfg.num_trusted}: dataset={dataset.name} has no true labels to trust")
    stratify_by = truth if truth is not None and cfg.num_trusted else labels
    parts = split(stratify_by, cfg.num_val, cfg.num_trusted, cfg.seed_data)
    train_part, val_part, trusted_part = parts
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (dataset.mean, dataset.std))

    def labelled(images: "Tensor", given: "Tensor") -> Labelled:
        return Labelled(images.to(device), given.to(device), mean, std)

    trusted = None
    if truth is not None and cfg.num_trusted:
        trusted = _train_set(cfg, dataset, truth, trusted_part, generator)
    train = _train_set(cfg, dataset, labels, train_part, generator, trusted)
    make_method = hydra.utils.instantiate(cfg.method)
    of_weights = regulariser is not None and needs_of(regulariser) == {"weights"}
    of_outputs = None if regulariser is None or of_weights else _direct(regulariser)
    facts = {
        "generator": generator,
        "superclass": None if dataset.superclass is None else dataset.superclass.to(device),
    }
    assumed = None
    if truth is not None and "transition" in make_method.func.assumes:
        assumed = transition_matrix(truth, labels, dataset.num_classes).to(device)
    setup = (Setup if "transition" in make_method.func.assumes else Unassuming)(
        _learner_factory(cfg, dataset, place, compiled, _direct(regulariser) if of_weights else None),
        _bound("loss", _direct(loss), make_method.func, facts),
        train,
        Clock(cfg.epochs, cfg.batch_size),
        regulariser=None if of_outputs is None else _bound("regulariser", of_outputs, make_method.func, facts),
        transition=assumed,
    )
    val = None
    if cfg.num_val:
        val = labelled(dataset.train_images[val_part], labels[val_part])
    elif dataset.val_images is not None and dataset.val_labels is not None:
        val = labelled(dataset.val_images, dataset.val_labels)
    yardstick = Yardstick(
        None if truth is None else truth[train_part].to(device),
        labelled(dataset.test_images, dataset.test_labels),
        val,
        cfg.eval_every,
    )
    return Assembled(make_method(setup).to(device), yardstick)


def transition_matrix(truth: "Tensor", labels: "Tensor", num_classes: int) -> "Tensor":
    """The fraction of each true class (rows) that has each label. Shapes: (N,), (N,) -> (C, C), rows sum to 1."""
    import torch

    counts = torch.bincount(truth * num_classes + labels, minlength=num_classes**2).view(num_classes, num_classes)
    return counts / counts.sum(dim=1, keepdim=True).clamp_min(1)


def _bound(what: str, loss: Any, method: "type[Method]", facts: dict[str, Any]) -> Any:
    """The loss or regulariser, with the facts about the run that it needs bound to it.

    Args:
        what: "loss" or "regulariser", for the message.
        loss: the loss or the regulariser.
    Raises:
        ValueError: it needs something that the method does not provide.
    """
    from labelnoise.losses.base import needs_of

    needs = needs_of(loss)
    if missing := sorted(needs - method.provides - facts.keys()):
        raise ValueError(f"{what}: needs {', '.join(missing)}, which {method.__name__} does not give; use method=erm")
    given = {name: value for name, value in facts.items() if name in needs}
    return partial(loss, **given) if given else loss


def _direct(made: Any) -> Any:
    """Replace Hydra's partial of a function of this project, and such partials in its arguments, by functools.partial.

    Hydra's partial checks its arguments again at every call, which takes longer than most losses. The arguments of our
    functions were checked when the partial was made. Partials of other functions are left as Hydra made them.
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
    from labelnoise.data.streamed import StreamedImages, StreamedTrainSet
    from labelnoise.data.train_set import TrainSet

    whole = len(part) == len(labels)
    images: Any = dataset.train_images
    streamed = isinstance(images, StreamedImages)
    if not whole:
        images = images.part(part) if streamed else images[part]
    return (StreamedTrainSet if streamed else TrainSet)(
        images if streamed else images.to(generator.device),
        labels[part].to(generator.device),
        dataset.num_classes,
        dataset.mean,
        dataset.std,
        _direct(hydra.utils.instantiate(cfg.dataset.augment)),
        generator,
        trusted,
    )


def _learner_factory(cfg: DictConfig, dataset: "Dataset", place: "Place", compiled: bool, penalty: Any = None) -> Any:
    """The `MakeLearner` of a configuration; `penalty` is a regulariser of the weights, or None."""
    import torch

    from labelnoise.training.learner import Learner

    channels, size = dataset.train_images.shape[1], dataset.train_images.shape[-1]
    ours = (hydra.utils.instantiate(part) for part in (cfg.network, cfg.optimizer, cfg.schedule))
    our_network, our_optimizer, our_schedule = ours
    made = 0

    def make_learner(
        *,
        network: "MakeNetwork | None" = None,
        optimizer: "MakeOptimizer | None" = None,
        schedule: "Schedule | None" = None,
        extra_outputs: int = 0,
    ) -> Learner:
        nonlocal made
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(cfg.seed_init + 1_000_003 * made)  # the CPU's: weights are made there
        try:
            built: Any = (network or our_network)(dataset.num_classes + extra_outputs, channels, size)
        finally:
            torch.set_rng_state(state)
        made += 1
        built = built.to(place.device, memory_format=torch.channels_last)
        return Learner(
            built,
            optimizer or our_optimizer,
            schedule or our_schedule,
            cfg.epochs,
            cfg.clip_norm,
            place.precision,
            compiled,
            penalty,
        )

    return make_learner
