"""Divides a data set's images: those that the method trains on, those with trusted labels, and those that evaluate."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    import torch
    from torch import Tensor

    from labelnoise.data.dataset import Dataset
    from labelnoise.data.train_set import Augment, TrainSet
    from labelnoise.training.loop import EvaluationData


def tail_of(cfg: DictConfig, whole: "Dataset") -> "Dataset":
    """The long tail of a data set (`dataset.imbalance`), or the data set without one.

    Trusted images are chosen first, and the tail is cut from the rest, as in TABASCO: cut from the tail, they would be
    all that its last classes have.

    Raises:
        ValueError: the last class would have no image.
    """
    from labelnoise.data.long_tail import long_tail
    from labelnoise.data.split import split

    truth, trusted = whole.true_labels, None
    if cfg.trusted_from == "train" and cfg.num_trusted and truth is not None:
        trusted = split(truth, 0, cfg.num_trusted, cfg.seed_data)[2]
    return long_tail(whole, cfg.dataset.imbalance, cfg.seed_noise, trusted)


def positions(cfg: DictConfig, dataset: "Dataset", labels: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """Where the training, held-out and trusted images are in the data set's training part, each sorted.

    Those that a long tail's data set has apart are not among the trusted ones.

    Args:
        labels: (N,), noisy, of the training images.
    Raises:
        ValueError: no training images would be left.
    """
    from labelnoise.data.split import split

    cut = _cut(cfg, dataset)
    stratify_by = dataset.true_labels if dataset.true_labels is not None and cut else labels
    return split(stratify_by, cfg.num_val, cut, cfg.seed_data)


def divide(
    cfg: DictConfig,
    dataset: "Dataset",
    labels: "Tensor",
    generator: "torch.Generator",
    augment: "Augment | None",
    strong: "Augment | None",
) -> "tuple[TrainSet, EvaluationData]":
    """The training set, with its trusted set, and what the method is evaluated with, on the generator's device.

    Args:
        labels: (N,), noisy, of the training images.
        generator, augment, strong: of the training set.
    Raises:
        ValueError: no training images would be left, or there are no such trusted images.
    """
    import torch

    from labelnoise.data.streamed import StreamedImages, StreamedTrainSet
    from labelnoise.data.train_set import TrainSet, per_channel
    from labelnoise.training.evaluate import Labelled
    from labelnoise.training.loop import EvaluationData

    device, truth = generator.device, dataset.true_labels
    mean, std = (per_channel(v, dataset.test_images).to(device) for v in (dataset.mean, dataset.std))
    cut = _cut(cfg, dataset)
    if truth is None and cut:
        instead = "; trusted_from=val takes its validation part's" if dataset.val_is_clean else ""
        raise ValueError(f"num_trusted={cut}: dataset={dataset.name} has no true labels to trust{instead}")

    def train_set(images: Any, given: "Tensor", part: "Tensor", trusted: "TrainSet | None" = None) -> "TrainSet":
        streamed = isinstance(images, StreamedImages)
        if len(part) != len(given):
            images = images.part(part) if streamed else images[part]
        kind, images = (StreamedTrainSet, images) if streamed else (TrainSet, images.to(device))
        facts = (dataset.num_classes, dataset.mean, dataset.std)
        return kind(images, given[part].to(device), *facts, augment, generator, trusted, strong)

    train_part, val_part, trusted_part = positions(cfg, dataset, labels)
    val_images, val_labels = dataset.val_images, dataset.val_labels
    trusted = None
    if truth is not None and cut:
        trusted = train_set(dataset.train_images, truth, trusted_part)
    elif dataset.trusted_labels is not None:
        trusted = train_set(dataset.trusted_images, dataset.trusted_labels, torch.arange(len(dataset.trusted_labels)))
    elif cfg.trusted_from == "val":
        if val_images is None or val_labels is None or not dataset.val_is_clean:
            raise ValueError(f"trusted_from=val: dataset={dataset.name} has no validation part with clean labels")
        chosen, rest = _chosen(val_labels, cfg.num_trusted, cfg.seed_data)
        trusted = train_set(val_images, val_labels, chosen)
        val_images, val_labels = val_images[rest], val_labels[rest]

    def labelled(images: "Tensor", given: "Tensor") -> Labelled:
        return Labelled(images.to(device), given.to(device), mean, std)

    val = None
    if cfg.num_val:
        val = labelled(dataset.train_images[val_part], labels[val_part])
    elif val_images is not None and val_labels is not None and len(val_labels):
        val = labelled(val_images, val_labels)
    evaluation = EvaluationData(
        None if truth is None else truth[train_part].to(device),
        labelled(dataset.test_images, dataset.test_labels),
        val,
        cfg.eval_every,
    )
    return train_set(dataset.train_images, labels, train_part, trusted), evaluation


def _cut(cfg: DictConfig, dataset: "Dataset") -> int:
    """How many trusted images are cut from the training part."""
    return cfg.num_trusted if cfg.trusted_from == "train" and dataset.trusted_labels is None else 0


def validating(cfg: DictConfig, dataset: "Dataset") -> "Tensor | None":
    """Positions of the images of the data set's own validation part that are not trusted; None if it has none."""
    import torch

    if dataset.val_labels is None:
        return None
    if cfg.trusted_from == "val":
        return _chosen(dataset.val_labels, cfg.num_trusted, cfg.seed_data)[1]
    return torch.arange(len(dataset.val_labels))


def _chosen(labels: "Tensor", count: int, seed: int) -> "tuple[Tensor, Tensor]":
    """Positions of the trusted images of a validation part, and of those that go on validating."""
    import torch

    from labelnoise.data.split import split

    everything = torch.arange(len(labels))
    if not count:
        return everything, everything[:0]
    if count > len(labels) - 2:
        raise ValueError(f"num_trusted={count}: the validation part has {len(labels)} images; 0 trusts all of them")
    rest, _, chosen = split(labels, 0, count, seed)
    return chosen, rest
