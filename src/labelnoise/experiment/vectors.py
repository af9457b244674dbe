"""Refuses what needs images where the data set has vectors, before their values are read."""

from omegaconf import DictConfig

from labelnoise.config.identity import short_name

LOADER = "labelnoise.features.load.features"


def refuse_views(cfg: DictConfig) -> None:
    """Refuse views of vectors: those of an augmentation, or of a method that asks for strong ones.

    Raises:
        ValueError: names the method or the option; or the file of features is wrong.
    """
    augment, strong = cfg.dataset.augment, cfg.dataset.strong
    if (augment is None and strong is None) or cfg.dataset.load.get("_target_") != LOADER:
        return
    from labelnoise.features.content import are_vectors

    if not are_vectors(str(cfg.dataset.load.path)):
        return
    if augment is not None:
        raise ValueError("dataset.augment: must be null, because vectors are not augmented")
    method = short_name(cfg.method._target_)
    raise ValueError(f"dataset=features: {method} needs strong views of images, which vectors do not have")
