"""The number of classes of a configuration's data set; for the published ones it is known before any data is read."""

from omegaconf import DictConfig

CLASSES = {
    "mnist": 10,
    "fashion_mnist": 10,
    "cifar10": 10,
    "cifar100": 100,
    "digits": 10,
    "webvision_mini": 50,
    "clothing1m": 14,
}


def num_classes(cfg: DictConfig) -> int:
    """C. A data set of your own is loaded to find it.

    Raises:
        ValueError, OSError: raised by the data set's own function.
    """
    if cfg.dataset.name in CLASSES:
        return CLASSES[cfg.dataset.name]
    from labelnoise.experiment.assemble import load_noisy

    return load_noisy(cfg)[0].num_classes
