"""Small runs on digits whose true labels are permuted behind the noisy ones' back."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import hydra
import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from torch.utils._pytree import tree_leaves

from labelnoise.data.dataset import Dataset
from labelnoise.data.split import split
from labelnoise.experiment.assemble import Assembled, assemble, load_noisy, transition_matrix
from labelnoise.experiment.components import Components, make_loss, make_regulariser
from labelnoise.experiment.metrics import summarise
from labelnoise.training.device import prepare
from labelnoise.training.loop import fit
from labelnoise.training.state import TrainState
from support.configs import composed

HELD_OUT, TRUSTED, SEED = 60, 20, 1
COMMON = ["dataset=digits", "noise=sym", "rate=0.4", "network=cnn4", "epochs=2", "threads=1", "device=cpu"]
COMMON += ["batch_size=60", f"num_val={HELD_OUT}", f"num_trusted={TRUSTED}", f"seed={SEED}"]


class Outcome(NamedTuple):
    """What training leads to. Attributes: weights: the method's whole state, the optimizers' included."""

    weights: list[Any]
    val_acc: list[float | None]
    test_acc_val: float
    history: dict[str, list[float | None]]


@cache
def small() -> tuple[Dataset, Tensor]:
    """200 images of digits at 8x8 pixels, and their noisy labels."""
    cfg = composed(*COMMON)
    whole, _ = load_noisy(cfg)
    truth = whole.true_labels[:200]
    dataset = whole._replace(
        train_images=whole.train_images[:200, :, 2:26:3, 2:26:3],
        train_labels=truth,
        true_labels=truth,
        test_images=whole.test_images[:100, :, 2:26:3, 2:26:3],
        test_labels=whole.test_labels[:100],
    )
    return dataset, hydra.utils.instantiate(cfg.noise)(dataset, cfg.seed_noise)


def parts(truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Positions of the training, held-out and trusted images, in every run of this file."""
    return split(truth, HELD_OUT, TRUSTED, SEED)


@cache
def permuted(fix_matrix: bool) -> Dataset:
    """The data set with the truth permuted: among the images that nobody looks at to choose the trusted ones, and, if
    the transition matrix is to stay as it is, among images with the same noisy label."""
    dataset, labels = small()
    truth = dataset.true_labels.clone()
    order = np.random.RandomState(SEED).permutation(len(truth))
    looked_at = 1 + max(np.flatnonzero(np.isin(order, parts(truth)[2])))
    free = torch.from_numpy(np.sort(order[looked_at:]))
    generator = torch.Generator().manual_seed(0)
    for group in [free[labels[free] == c] for c in range(10)] if fix_matrix else [free]:
        truth[group] = truth[group[torch.randperm(len(group), generator=generator)]]

    assert float((truth != dataset.true_labels).double().mean()) > 0.3, "else the test shows nothing"
    assert all(map(torch.equal, parts(truth), parts(dataset.true_labels)))
    matrices = [transition_matrix(t, labels, 10) for t in (truth, dataset.true_labels)]
    assert torch.equal(*matrices) == fix_matrix
    return dataset._replace(train_labels=truth, true_labels=truth)


def outcome(cfg: DictConfig, dataset: Dataset, build: Callable[..., Assembled] = assemble) -> Outcome:
    """Train on the small data set's noisy labels. `build` stands for `assemble`."""
    runtime = prepare(cfg.device, cfg.precision, cfg.threads)
    made = build(cfg, dataset, small()[1].clone(), Components(make_loss(cfg), runtime, make_regulariser(cfg)))
    state = TrainState()
    fit(made.method, state, made.evaluation)
    chosen = summarise(state.history)["test_acc_val"]
    return Outcome(tree_leaves(made.method.state_dict()), state.history["val_acc"], chosen, state.history)


def same(one: Outcome, other: Outcome) -> bool:
    """Whether the weights, the chosen epoch and its test accuracy are bit for bit the same."""
    equal = [torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(one[0], other[0], strict=True)]
    return all(equal) and one[1:3] == other[1:3] and one.history["test_acc"] == other.history["test_acc"]


def holds(cfg: DictConfig, build: Callable[..., Assembled] = assemble) -> bool:
    """Whether permuting the truth changes nothing that was learned; the matrix is fixed if the method assumes it."""
    assumed = "transition" in hydra.utils.instantiate(cfg.method).func.assumes
    return same(outcome(cfg, small()[0], build), outcome(cfg, permuted(assumed), build))
