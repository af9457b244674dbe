"""Builds a run's objects from its configuration. Components are instantiated by Hydra and combined only here."""

from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from omegaconf import DictConfig, OmegaConf

from labelnoise.arguments.direct import direct
from labelnoise.experiment import warm_start
from labelnoise.experiment.components import Components
from labelnoise.experiment.imprecise import is_imprecise, refuse_nodes
from labelnoise.experiment.inputs import normalised_as_trained, of_source
from labelnoise.experiment.parts import divide, tail_of

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from torch import Tensor, nn

    from labelnoise.data.dataset import Dataset
    from labelnoise.training.device import Runtime
    from labelnoise.training.learner import MakeNetwork, MakeOptimizer, Schedule
    from labelnoise.training.loop import EvaluationData
    from labelnoise.training.method import Method


def load_noisy(cfg: DictConfig, imprecise: bool = False) -> "tuple[Dataset, Tensor]":
    """The data set of a configuration, or its long tail, and its noisy training labels (N,).

    Both are checked, a user's own too. The tail is cut first, and a noise is made for the images that it keeps, as in
    RoLT and TABASCO. Labels that exist for the whole data set (the noise has `of_whole`) are taken at its positions.

    Args:
        imprecise: whether the caller knows that a label may be that of a group of classes (noise=imprecise).
    Raises:
        ValueError, OSError: raised by the functions that load the data set and make the noise, or on what they made.
    """
    from labelnoise.noise.apply import apply

    if not imprecise and is_imprecise(cfg):
        raise ValueError("noise=imprecise: some labels are of groups of classes; only train and noise read them")
    whole = _whole(cfg)
    if whole.name != cfg.dataset.name:
        raise ValueError(f"dataset.name={cfg.dataset.name}: is given by the data set, {whole.name}")
    dataset = tail_of(cfg, normalised_as_trained(cfg, whole))
    noise, name = hydra.utils.instantiate(cfg.noise), f"noise: {cfg.noise._target_}"
    if dataset.kept is not None and getattr(noise.func, "of_whole", False):
        return dataset, apply(noise, of_source(whole), cfg.seed_noise, name)[dataset.kept]
    return dataset, apply(noise, of_source(dataset), cfg.seed_noise, name)


def for_file(cfg: DictConfig, dataset: "Dataset", labels: "Tensor") -> "Tensor":
    """The labels as noise=file reads them: one for each image of the whole data set.

    Images that a long tail leaves out have their given labels. Shapes: (N,) -> (N of the whole,).
    """
    if dataset.kept is None:
        return labels
    return _whole(cfg).train_labels.index_put((dataset.kept,), labels)


def _whole(cfg: DictConfig) -> "Dataset":
    return load(OmegaConf.to_yaml(cfg.dataset.load, resolve=True))


@lru_cache(maxsize=1)
def load(component: str) -> "Dataset":
    """The data set that a component (as YAML) loads. Cached for the next job that uses it."""
    from labelnoise.data.fields import refuse_fields

    node = OmegaConf.create(component)
    dataset: Dataset = hydra.utils.instantiate(node)()
    refuse_fields(dataset, f"dataset.load: {node._target_}")
    return dataset


class Assembled(NamedTuple):
    """Attributes: the method to train, and what it is evaluated with."""

    method: "Method"
    evaluation: "EvaluationData"


def assemble(
    cfg: DictConfig, dataset: "Dataset", labels: "Tensor", components: Components, shared: Path | None = None
) -> Assembled:
    """Build the method on its training set, and the labels and images that it is evaluated with.

    Args:
        labels: (N,), noisy, from `load_noisy`.
        components: a regulariser that needs only the weights goes to every learner, another to the method.
        shared: see `Setup.shared`.
    Raises:
        ValueError: the method does not provide what the loss or the regulariser needs, or lacks what it needs itself.
    """
    import torch

    from labelnoise.experiment.unassuming import Unassuming
    from labelnoise.losses.base import needs_of
    from labelnoise.losses.conditions import refuse_loss, refuse_regulariser
    from labelnoise.training.clock import Clock
    from labelnoise.training.loose_state import refuse_loose_state
    from labelnoise.training.method import Setup

    loss, runtime, regulariser, compiled = components
    device = runtime.device
    generator = torch.Generator(device).manual_seed(cfg.seed_data)
    torch.manual_seed(cfg.seed_data)  # for random numbers drawn without a generator: dropout, negative learning
    augment, strong = (direct(hydra.utils.instantiate(cfg.dataset.get(kind))) for kind in ("augment", "strong"))
    train, evaluation = divide(cfg, dataset, labels, generator, augment, strong)
    truth = dataset.true_labels
    superclass = None if dataset.superclass is None else dataset.superclass.to(device)
    make_method = hydra.utils.instantiate(cfg.method)
    refuse_nodes(labels, dataset.num_classes, make_method.func)
    of_weights = regulariser is not None and needs_of(regulariser) == {"weights"}
    of_outputs = None if regulariser is None or of_weights else direct(regulariser)
    clock = Clock(cfg.epochs, cfg.batch_size)
    if "step" in needs_of(loss) | (frozenset() if regulariser is None else needs_of(regulariser)):
        clock.steps = torch.zeros((), dtype=torch.long, device=device)
    facts = {"generator": generator, "superclass": superclass, "step": clock.steps}
    assumed = None
    if truth is not None and "transition" in make_method.func.assumes:
        assumed = transition_matrix(truth, labels, dataset.num_classes).to(device)
    features = bool({"features", "new_features"} & (needs_of(loss) | needs_of(regulariser)))
    setup = (Setup if "transition" in make_method.func.assumes else Unassuming)(
        _learner_factory(cfg, dataset, runtime, compiled, direct(regulariser) if of_weights else None, features),
        bound("loss", direct(loss), make_method.func, facts),
        train,
        clock,
        regulariser=None if of_outputs is None else bound("regulariser", of_outputs, make_method.func, facts),
        transition=assumed,
        superclass=superclass,
        load_network=partial(_load_network, cfg, dataset, runtime),
        shared=shared,
    )
    refuse_loss(loss, dataset.num_classes, dataset.superclass)
    if regulariser is not None:
        refuse_regulariser(regulariser, dataset.num_classes)
    method = make_method(setup).to(device)
    refuse_loose_state(method)
    return Assembled(method, evaluation)


def transition_matrix(truth: "Tensor", labels: "Tensor", num_classes: int) -> "Tensor":
    """The fraction of each true class (rows) that has each label. Shapes: (N,), (N,) -> (C, C), rows sum to 1."""
    counts = (truth * num_classes + labels).bincount(minlength=num_classes**2).view(num_classes, num_classes)
    return counts / counts.sum(dim=1, keepdim=True).clamp_min(1)


def _load_network(cfg: DictConfig, dataset: "Dataset", runtime: "Runtime", path: str, option: str) -> "nn.Module":
    """See `Setup.load_network`."""
    from labelnoise.experiment import saved_network
    from labelnoise.training.frozen import Frozen

    saved = warm_start.read_for(cfg, dataset, path, option)
    network = saved_network.build(saved, path, option).to(runtime.device)
    scales = ((saved.about.mean, saved.about.std), (dataset.mean, dataset.std))
    return Frozen(network, dataset.num_classes, runtime.precision, *scales).to(runtime.device)


def bound(what: str, loss: Any, method: "type[Method]", facts: dict[str, Any]) -> Any:
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


def _learner_factory(
    cfg: DictConfig, dataset: "Dataset", runtime: "Runtime", compiled: bool, penalty: Any, features: bool
) -> Any:
    """The `MakeLearner` of a configuration.

    Args:
        penalty: a regulariser of the weights, or None.
        features: whether the loss or the regulariser needs the networks' features.
    """
    import torch

    from labelnoise.losses.conditions import name_of
    from labelnoise.networks.base import sides
    from labelnoise.networks.conditions import refuse_network
    from labelnoise.training.learner import Learner

    channels, size = sides(dataset.train_images.shape[1:])
    ours = (hydra.utils.instantiate(part) for part in (cfg.network, cfg.optimizer, cfg.schedule))
    our_network, our_optimizer, our_schedule = ours
    numbers, begun = count(), count()
    saved = warm_start.initial_weights(cfg, dataset)

    def make_learner(
        *,
        network: "MakeNetwork | None" = None,
        optimizer: "MakeOptimizer | None" = None,
        schedule: "Schedule | None" = None,
        extra_outputs: int = 0,
        during: range | None = None,
    ) -> Learner:
        of_run, outputs = next(numbers), dataset.num_classes + extra_outputs
        needed = features and network is None
        name = f"network: {cfg.network._target_ if network is None else name_of(network)}"
        own_head = network is None and next(begun) > 0  # two networks that begin the same may stay the same

        def initial(start: int) -> Any:
            """The network as it begins: its weights depend on its number in the run and on how often it has begun; with
            `init=`, only the weights that the file does not set."""
            state = torch.get_rng_state()
            seed = cfg.seed_init + 1_000_003 * of_run + 1_000_000_007 * start
            torch.default_generator.manual_seed(seed)  # the CPU's: weights are made there
            try:
                made = (network or our_network)(outputs, channels, size)
                if not start:
                    refuse_network(made, name, tuple(dataset.train_images.shape[1:]), outputs, needed)
            finally:
                torch.set_rng_state(state)
            if saved is not None and network is None:
                warm_start.begin_with(made, saved, own_head, cfg.init)
            return made

        return Learner(
            initial(0).to(runtime.device, memory_format=torch.channels_last),
            optimizer or our_optimizer,
            schedule or our_schedule,
            range(cfg.epochs) if during is None else during,
            cfg.clip_norm,
            runtime.precision,
            compiled,
            penalty,
            initial,
        )

    return make_learner
