"""Training for an audit: each given label is judged by a method, or by networks that did not train on its image."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import hydra
from omegaconf import DictConfig, OmegaConf, open_dict

from labelnoise.config.identity import effective, run_id
from labelnoise.experiment.run import train
from labelnoise.files.atomic import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from labelnoise.data.dataset import Dataset


class Judged(NamedTuple):
    """The findings on the N training images of a data set.

    Attributes:
        dataset: as it was read.
        labels: (N,), given, noise included.
        clean: (N,), larger for labels that are more probably right.
        probs: (N, C), class probabilities, float32 on the CPU; the mean over the epochs if the method keeps it.
        proposed: (N,), the proposed class of each image.
        loss: (N,), -log of the given label's probability; the mean over the epochs if the method keeps it.
        margin: (N,), the given label's probability minus the largest other one; the mean likewise.
        last: (N, C), the probabilities after the last epoch, without augmentation.
    """

    dataset: "Dataset"
    labels: "Tensor"
    clean: "Tensor"
    probs: "Tensor"
    proposed: "Tensor"
    loss: "Tensor"
    margin: "Tensor"
    last: "Tensor"


def judge(cfg: DictConfig) -> Judged:
    """Train on all images and let the method judge the labels.

    Raises:
        ValueError: the method does not judge labels; else as `train`.
    """
    from labelnoise.losses.base import margin
    from labelnoise.methods.audited_erm import AuditedERM

    _refuse_silent(cfg)
    trained = train(cfg)
    method, dataset = trained.method, trained.dataset
    judgement = method.judgement()
    assert judgement is not None
    labels = method.train_set.labels.cpu()
    last = method.score(lambda _, images, __: method.predict(images).softmax(dim=1)).cpu()
    probs, loss, margins = last, _loss(last, labels), margin(last, labels)
    if isinstance(method, AuditedERM):
        probs, loss = method.mean_probabilities().cpu(), method.mean_loss().cpu()
        margins = method.mean_margin().cpu()
    proposed = probs.argmax(dim=1) if judgement.proposed is None else judgement.proposed.cpu()
    return Judged(dataset, labels, judgement.clean.float().cpu(), probs, proposed, loss, margins, last)


def _refuse_silent(cfg: DictConfig) -> None:
    """Refuse a method that never judges labels, before it trains."""
    from labelnoise.training.method import Method

    made = hydra.utils.get_object(cfg.method["_target_"])
    if getattr(made, "judgement", None) is Method.judgement:
        raise ValueError(f"method={made.__name__.lower()}: does not judge labels; use method=audited_erm")


def judge_out_of_fold(cfg: DictConfig, folds: int, folder: Path) -> Judged:
    """Train once per fold without that fold, and judge it by the network's last epoch.

    An image's `clean` is the probability of its given label. An audit that was stopped goes on with the next fold.

    Args:
        folder: the given labels are written there for the training runs, and below `folds` what each fold gave.
    """
    import torch

    from labelnoise.data.held_out import fold_of
    from labelnoise.experiment.assemble import load_noisy
    from labelnoise.losses.base import margin

    dataset, labels = load_noisy(cfg)
    path = _write_array(folder / "labels.npy", labels)
    member = fold_of(labels, folds, cfg.seed_data)
    probs = torch.empty(len(labels), dataset.num_classes)
    if dataset.notices:
        print("\n".join(dataset.notices))
    for fold in range(folds):
        print(f"fold {fold + 1} of {folds}")
        held = member == fold
        shape = int(held.sum()), dataset.num_classes
        probs[held] = _of_fold(_without_fold(cfg, str(path), fold, folds), shape, folder / "folds")
    loss = _loss(probs, labels)
    return Judged(dataset, labels, (-loss).exp(), probs, probs.argmax(dim=1), loss, margin(probs, labels), probs)


def _of_fold(cfg: DictConfig, shape: tuple[int, int], folder: Path) -> "Tensor":
    """The probabilities of the held-out fold: of an earlier, stopped audit, else of a network trained now."""
    path = folder / f"{run_id(effective(cfg))}.npy"
    if not cfg.force and (found := _read_array(path, shape)) is not None:
        print(f"{path} is done already (force=true trains it again)")
        return found
    trained = train(cfg)
    found = trained.probabilities(trained.dataset.test_images)  # the test part is the held-out fold
    _write_array(path, found)
    return found


def _write_array(path: Path, values: "Tensor") -> Path:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, values.numpy())
    return write_whole(path, buffer.getvalue())


def _read_array(path: Path, shape: tuple[int, int]) -> "Tensor | None":
    """Float32 probabilities of this shape, or None if the file does not have them."""
    import numpy as np
    import torch

    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    usable = isinstance(values, np.ndarray) and values.dtype == np.float32 and values.shape == shape
    return torch.from_numpy(values) if usable and np.isfinite(values).all() else None


def _loss(probs: "Tensor", labels: "Tensor") -> "Tensor":
    """-log of the label's probability. Shapes: (N, C), (N,) -> (N,)."""
    from labelnoise.losses.base import of_label

    return -of_label(probs, labels).clamp_min(1e-38).log()


def _without_fold(cfg: DictConfig, path: str, fold: int, folds: int) -> DictConfig:
    """The configuration with one fold held out and the labels from the file."""
    whole: Any = OmegaConf.to_container(cfg.dataset.load, resolve=True)
    if (imbalance := cfg.dataset.imbalance) is not None:  # the folds are those of the tail
        tail = {"_target_": "labelnoise.data.long_tail.tailed", "_partial_": True}
        whole = {**tail, "whole": whole, "imbalance": imbalance, "seed": cfg.seed_noise}
    part = cfg.copy()
    with open_dict(part):
        part.dataset.load = {
            "_target_": "labelnoise.data.held_out.held_out",
            "_partial_": True,
            "whole": whole,
            "path": path,
            "fold": fold,
            "folds": folds,
            "seed": cfg.seed_data,
        }
        part.dataset.imbalance = None
        part.noise = {"_target_": "labelnoise.noise.given.given", "_partial_": True}
        part.pop("rate", None)  # of the noise that the labels in the file have already
    return part
