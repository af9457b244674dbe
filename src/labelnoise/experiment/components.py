"""Parts of a run that are made from the configuration alone, and so are refused before any data is read."""

from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from omegaconf import DictConfig

if TYPE_CHECKING:
    from labelnoise.experiment.trackers import Tracker
    from labelnoise.training.device import Runtime


class Components(NamedTuple):
    """Attributes: loss; runtime, where it is computed; regulariser, or None; compiled, whether networks are run through
    torch.compile."""

    loss: Any
    runtime: "Runtime"
    regulariser: Any = None
    compiled: bool = False


def make_components(cfg: DictConfig) -> Components:
    """Raises: ValueError: the device is not there, or a hyper-parameter is out of range."""
    from labelnoise.training.device import compiler_works, prepare

    runtime = prepare(cfg.device, cfg.precision, cfg.threads, cfg.deterministic)
    loss, regulariser = make_loss(cfg), make_regulariser(cfg)
    check_optimizer(cfg)
    return Components(loss, runtime, regulariser, cfg.compile and compiler_works(runtime.device))


def make_loss(cfg: DictConfig) -> Any:
    """The loss. It is called once, so that a hyper-parameter out of range is refused before any data is read.

    What it gives is checked later, on the run's own classes (`losses.conditions`).

    Raises:
        ValueError: a hyper-parameter is out of range.
    """
    from labelnoise.losses.base import try_out

    loss = hydra.utils.instantiate(cfg.loss)
    try:
        try_out(loss)
    except ValueError as error:
        raise ValueError(f"loss.{error}") from None
    except OverflowError:
        raise ValueError("loss: a parameter is too large, its value overflows") from None
    except Exception:  # a loss of one's own may be for other classes than those that `try_out` has
        pass
    return loss


def make_regulariser(cfg: DictConfig) -> Any:
    """The regulariser, or None. It is called once, as the loss is. Raises: as `make_loss`."""
    from labelnoise.losses.base import try_out_regulariser

    if cfg.regulariser is None:
        return None
    regulariser = hydra.utils.instantiate(cfg.regulariser)
    try:
        try_out_regulariser(regulariser)
    except ValueError as error:
        raise ValueError(f"regulariser.{error}") from None
    return regulariser


def check_optimizer(cfg: DictConfig) -> None:
    """Make the optimizer once for a dummy parameter, so that a value out of range is refused before any data is read.

    Raises:
        ValueError: the optimizer's message, after the name of the option.
    """
    import torch

    try:
        hydra.utils.instantiate(cfg.optimizer)([torch.nn.Parameter(torch.zeros(1))])
    except ValueError as error:
        raise ValueError(f"optimizer: {error}") from None


def make_tracker(cfg: DictConfig, run_id: str, config: dict[str, Any]) -> "Tracker":
    """The tracker of a run. `config` is the effective configuration, or that of a record."""
    return hydra.utils.instantiate(cfg.tracker)(run_id, config, cfg.results)
