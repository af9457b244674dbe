"""Refuses labels of groups of classes (`losses.class_tree`) wherever they would be taken for classes."""

from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

if TYPE_CHECKING:
    from torch import Tensor


def is_imprecise(cfg: DictConfig) -> bool:
    """Whether the noise of a configuration gives labels of groups of classes."""
    return getattr(hydra.utils.get_object(cfg.noise["_target_"]), "imprecise", False)


def refuse_imprecise(cfg: DictConfig) -> None:
    """Refuse a training with such a noise unless its method learns from it; reads no data.

    Raises:
        ValueError: the method does not; or an option compares such labels with predicted classes.
    """
    if not is_imprecise(cfg):
        return
    _refuse_method(hydra.utils.get_object(cfg.method["_target_"]))
    if cfg.num_val:
        raise ValueError(f"num_val={cfg.num_val}: must be 0 with noise=imprecise, held-out labels may be no classes")
    if cfg.record_predictions:
        raise ValueError("record_predictions=true: must be false with noise=imprecise, given labels may be no classes")


def refuse_nodes(labels: "Tensor", num_classes: int, method: type) -> None:
    """The same for labels that are there already.

    Args:
        labels: (N,), of the training images.
    Raises:
        ValueError: one is no class, and the method does not learn from it.
    """
    if len(labels) and int(labels.max()) >= num_classes:
        _refuse_method(method)


def _refuse_method(method: type) -> None:
    if not getattr(method, "imprecise", False):
        raise ValueError(
            f"noise=imprecise: some labels are of groups of classes, which {method.__name__} does not learn from; "
            "use method=chillax"
        )
