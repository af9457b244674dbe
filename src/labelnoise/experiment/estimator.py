"""What an estimator's parameters stand for: loss, method, network and optimizer from the configuration files."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import hydra
import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.experiment.assemble import bound
from labelnoise.experiment.components import make_loss, make_regulariser
from labelnoise.experiment.own_setup import make_setup
from labelnoise.losses.base import needs_of
from labelnoise.training.method import Method
from labelnoise.training.schedules import cosine

MakeMethod = Callable[[Callable[[Tensor], Tensor], Tensor, int, int, int, int], Method]


def configured(estimator: Any, columns: int) -> MakeMethod:
    """Check an estimator's parameters before anything is trained.

    Returns:
        `(index -> samples, labels, num_classes, epochs, batch_size, seed) -> method`.
    Raises:
        ValueError: one is wrong; names it, its value and what is allowed.
    """
    for name, least in (("epochs", 1), ("batch_size", 2)):
        value = getattr(estimator, name)
        if value != "auto" and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise ValueError(f"{name}={value!r}: must be a whole number, at least {least}")
    rate = estimator.learning_rate
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < float("inf"):
        raise ValueError(f"learning_rate={rate!r}: must be a number above 0")
    named = isinstance(estimator.network, str)
    if named and estimator.network not in ("linear", "mlp"):
        raise ValueError(f"network={estimator.network!r}: must be linear, mlp, or a function that makes one")
    network = [f"network={estimator.network}"] if named else []
    cfg = _composed((f"loss={estimator.loss}", f"method={estimator.method}", *network, *estimator.options))
    if cfg.num_trusted:
        raise ValueError(f"method={estimator.method}: needs samples with true labels, which fit(X, y) does not have")
    if cfg.dataset.strong is not None:
        raise ValueError(f"method={estimator.method}: needs strong views of images, which samples do not have")
    make_network = hydra.utils.instantiate(cfg.network) if named else estimator.network
    return partial(_made, cfg, lambda outputs: make_network(outputs, columns, 1), float(rate))


@lru_cache(maxsize=32)  # a search fits the same parameters again and again
def _composed(overrides: tuple[str, ...]) -> DictConfig:
    """The configuration whose data set stands for one of which nothing is known; not to be changed."""
    cfg = compose(["dataset=digits", *overrides])
    check(cfg)
    return cfg


def _made(
    cfg: DictConfig,
    network: Callable[[int], nn.Module],
    rate: float,
    taken: Callable[[Tensor], Tensor],
    labels: Tensor,
    num_classes: int,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Method:
    loss, regulariser, method = make_loss(cfg), make_regulariser(cfg), hydra.utils.instantiate(cfg.method)
    optimizer = partial(torch.optim.Adam, lr=rate)
    given = {"epochs": epochs, "batch_size": batch_size, "schedule": cosine, "clip_norm": cfg.clip_norm, "seed": seed}
    of_weights = regulariser is not None and needs_of(regulariser) == {"weights"}
    setup = make_setup(
        taken, labels, num_classes, network, optimizer, penalty=regulariser if of_weights else None, **given
    )
    if "step" in needs_of(loss):
        setup.clock.steps = torch.zeros((), dtype=torch.long)
    facts = {"generator": setup.train.generator, "superclass": None, "step": setup.clock.steps}
    kind: Any = method.func
    setup = setup._replace(loss=bound("loss", loss, kind, facts))
    if regulariser is not None and not of_weights:
        setup = setup._replace(regulariser=bound("regulariser", regulariser, kind, facts))
    return method(setup)
