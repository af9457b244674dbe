"""What a data set is to a network and to a noise: vectors have no views; normalisation; whose images vectors are."""

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from labelnoise.config.identity import short_name

if TYPE_CHECKING:
    from labelnoise.data.dataset import Dataset

LOADER = "labelnoise.features.load.features"


def refuse_views(cfg: DictConfig) -> None:
    """Refuse views of vectors, before any are read: those of an augmentation, or of a method that asks for strong ones.

    Raises:
        ValueError: names the method or the option; or the file of features is not there or wrong.
    """
    if cfg.dataset.load.get("_target_") != LOADER:
        return
    if not Path(cfg.dataset.load.path).is_file():
        raise ValueError(f"features={cfg.dataset.load.path}: no such file")
    augment, strong = cfg.dataset.get("augment"), cfg.dataset.get("strong")
    if augment is None and strong is None:
        return
    from labelnoise.features.content import are_vectors

    if not are_vectors(str(cfg.dataset.load.path)):
        return
    if augment is not None:
        raise ValueError("dataset.augment: must be null, because vectors are not augmented")
    method = short_name(cfg.method._target_)
    raise ValueError(f"dataset=features: {method} needs strong views of images, which vectors do not have")


def normalised_as_trained(cfg: DictConfig, dataset: "Dataset") -> "Dataset":
    """With the mean and deviation of a pretrained network's training, if the configuration's network is one."""
    if not (cfg.network.get("pretrained") or cfg.network.get("weights")):
        return dataset
    from labelnoise.networks.pretrained import normalisation

    channels = len(dataset.mean)
    mean, std = ((values * channels)[:channels] for values in normalisation(cfg.network.model))
    return dataset._replace(mean=mean, std=std)


def of_source(dataset: "Dataset") -> "Dataset":
    """The data set under the name of the one whose images its vectors stand for, for a noise made for that one."""
    return dataset if dataset.source is None else dataset._replace(name=dataset.source)
