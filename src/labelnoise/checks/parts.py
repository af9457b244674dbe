"""Checks of a data set, a noise, a loss and a network, each by itself. A check returns what it found, in one line.

Each raises a ValueError that names the part and what is wrong with it.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import hydra
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from labelnoise.arguments.ranges import allows, annotations
from labelnoise.data.dataset import Dataset
from labelnoise.experiment.assemble import load
from labelnoise.experiment.notices import missed_rate
from labelnoise.losses.base import needs_of
from labelnoise.losses.conditions import refuse_extremes, refuse_loss
from labelnoise.networks.conditions import refuse_network
from labelnoise.noise.apply import apply

ALONE = 3  # images whose logits are compared with those of each alone


def check_dataset(cfg: DictConfig) -> tuple[Dataset, str]:
    """Loaded twice it is the same, and its fields are what they say. Returns it too."""
    name = f"dataset.load: {cfg.dataset.load._target_}"
    component = OmegaConf.to_yaml(cfg.dataset.load, resolve=True)
    load.cache_clear()
    _stir(1)
    dataset = load(component)
    load.cache_clear()
    _stir(2)
    again = load(component)
    for field in Dataset._fields:
        one, other = getattr(dataset, field), getattr(again, field)
        same = torch.equal(one, other) if isinstance(one, Tensor) else field == "train_images" or one == other
        if not same:
            raise ValueError(f"{name}: {field} differs when it is loaded again; take random numbers from a fixed seed")
    parts = f"{len(dataset.train_labels):,} training and {len(dataset.test_labels):,} test images"
    shape = "x".join(map(str, dataset.train_images.shape[1:]))
    return dataset, f"{parts} of {shape}, {dataset.num_classes} classes; the same when loaded again"


def check_noise(cfg: DictConfig, dataset: Dataset) -> tuple[Tensor, str]:
    """The same seed gives the same labels, another seed others, and rate=0 none. Returns the labels (N,) too."""
    name = f"noise: {cfg.noise._target_}"

    def drawn(seed: int, **changes: Any) -> Tensor:
        return apply(hydra.utils.instantiate(cfg.noise, **changes), dataset, seed, name)

    _stir(1)
    labels = drawn(cfg.seed_noise)
    _stir(2)
    if not torch.equal(drawn(cfg.seed_noise), labels):
        raise ValueError(f"{name}: the same seed gave other labels; draw from numpy.random.RandomState(seed) alone")
    if dataset.true_labels is None:
        return labels, "labels as given; how many are wrong is unknown"
    precise = labels < dataset.num_classes
    mistaken = (labels != dataset.true_labels) & precise
    wrong = float(mistaken.double().mean())
    found = f"{wrong:.2%} of the labels are wrong"
    if not bool(precise.all()):
        found += f" and {float((~precise).double().mean()):.2%} are of a group of classes"
    if cfg.noise.get("rate") is None:
        return labels, f"{found}; the same again"
    if off := missed_rate(cfg.noise, dataset, int(mistaken.sum())):
        raise ValueError(f"{name}: {off}")
    if torch.equal(drawn(cfg.seed_noise + 1), labels) and wrong:
        raise ValueError(f"{name}: another seed gave the same labels")
    allowed = annotations(hydra.utils.get_object(cfg.noise._target_)).get("rate")
    if allows(allowed, 0.0) and not torch.equal(drawn(cfg.seed_noise, rate=0.0), dataset.true_labels):
        raise ValueError(f"{name}: rate=0 changed labels")
    return (
        labels,
        f"{found}, rate={cfg.noise.rate:g} was asked; the same again, others with another seed",
    )


def check_loss(loss: Callable[..., Any], dataset: Dataset) -> str:
    """One finite value for each image, with a finite gradient, also at extreme logits."""
    refuse_loss(loss, dataset.num_classes, dataset.superclass)
    refuse_extremes(loss, dataset.num_classes, dataset.superclass)
    own = "of the whole batch" if "batch" in needs_of(loss) else "for each image by itself"
    return f"a value {own}, finite with a finite gradient up to logits of 1e4, in float32 and bfloat16"


def check_network(cfg: DictConfig, dataset: Dataset) -> str:
    """Logits of the right shape, weights by the seed alone, and no image that affects another in evaluation."""
    name, shape = f"network: {cfg.network._target_}", tuple(dataset.train_images.shape[1:])
    make = partial(hydra.utils.instantiate(cfg.network), dataset.num_classes, shape[0], shape[-1])

    def made(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return make()

    network: Any = made(1)
    parts = callable(getattr(network, "features", None)) and callable(getattr(network, "head", None))
    refuse_network(network, name, shape, dataset.num_classes, parts)
    _stir(2, torch_too=False)
    if not _equal(network, made(1)):
        raise ValueError(f"{name}: the same seed gave other weights; draw from torch's default generator alone")
    if _equal(network, made(2)):
        raise ValueError(f"{name}: another seed gave the same weights")
    images = torch.rand(ALONE, *shape, generator=torch.Generator().manual_seed(0))
    network.eval()
    with torch.no_grad():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    if not torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(together.abs().max())):
        raise ValueError(f"{name}: in evaluation the logits of an image depend on the other images of the batch")
    network.train()
    network(images).logsumexp(dim=1).sum().backward()
    without = [key for key, weight in network.named_parameters() if weight.requires_grad and weight.grad is None]
    count = sum(weight.numel() for weight in network.parameters())
    found = f"{count:,} weights, {'with' if parts else 'without'} features and head; the same again for the same seed"
    return f"{found}; no gradient reaches {', '.join(without)}" if without else found


def _equal(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def _stir(seed: int, torch_too: bool = True) -> None:
    """Set the global generators, so that what draws from them differs from before."""
    random.seed(seed)
    np.random.seed(seed)  # the global one is meant
    if torch_too:
        torch.manual_seed(seed)
