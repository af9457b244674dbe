"""Evaluate a loss: per-sample values and gradients in float64. Other functions are refused with one clear line."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor

from labelnoise.losses.base import needs_of
from labelnoise.losses.conditions import EXTREME, SAMPLES, name_of, refuse_shape

LossFunction = Callable[[Tensor, Tensor], Tensor]


def values(loss: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    """Per-sample values. Shapes: (B, C), (B,) -> (B,), float64."""
    with torch.no_grad():
        return loss(logits, labels).double()


def gradients(loss: LossFunction, logits: Tensor, labels: Tensor) -> Tensor:
    """The gradient of each sample's value in its own logits. Shapes: (B, C), (B,) -> (B, C), float64."""
    with torch.enable_grad():
        leaf = logits.detach().clone().requires_grad_(True)
        return torch.autograd.grad(loss(leaf, labels).double().sum(), leaf)[0]


def random_logits(count: int, num_classes: int, seed: int = 0, scale: float = 3.0) -> tuple[Tensor, Tensor]:
    """Normal logits (count, C) in float64 and uniform labels (count,), the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, num_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(num_classes, (count,), generator=generator)


def refuse(loss: LossFunction, num_classes: int) -> None:
    """Refuse anything but a deterministic, finite, differentiable, per-sample function of (logits, labels).

    Raises:
        ValueError: one line says which of these it is not.
    """
    name = name_of(loss)
    if not callable(loss):
        raise ValueError(f"{name}: not a function of (logits, labels)")
    if needed := needs_of(loss) - {"superclass"}:  # superclasses are bound beforehand, if the data set has them
        raise ValueError(f"{name}: not a function of (logits, labels) alone: it needs {', '.join(sorted(needed))}")
    logits, labels = random_logits(SAMPLES, num_classes)
    _refuse_signature(loss, name)
    try:
        found = loss(logits, labels)
    except Exception as error:
        message = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: cannot be computed from (logits, labels) alone: {message}") from None
    refuse_shape(name, found, logits)
    if not found.isfinite().all():
        raise ValueError(f"{name}: not finite at ordinary logits (normal, standard deviation 3)")
    _refuse_coupling(loss, name, logits, labels, found.detach())
    extreme = EXTREME * torch.nn.functional.one_hot(labels, num_classes).double()
    if not all(values(loss, z, labels).isfinite().all() for z in (extreme, -extreme)):
        raise ValueError(f"{name}: not finite at logits of {EXTREME:g}, where a probability is 0")
    try:
        slopes = gradients(loss, logits, labels)
    except RuntimeError:
        raise ValueError(f"{name}: has no gradient in the logits") from None
    if not slopes.isfinite().all():
        raise ValueError(f"{name}: its gradient is not finite at ordinary logits (normal, standard deviation 3)")
    if not slopes.any():
        raise ValueError(f"{name}: does not depend on the logits")
    if torch.equal(loss(logits, (labels + 1) % num_classes).detach(), found.detach()):
        raise ValueError(f"{name}: does not depend on the labels")


def _refuse_signature(loss: LossFunction, name: str) -> None:
    try:
        inspect.signature(loss).bind(torch.empty(0), torch.empty(0))
    except ValueError:  # a builtin without a signature
        return
    except TypeError as error:
        raise ValueError(f"{name}: not a function of (logits, labels) alone: {error}") from None


def _refuse_coupling(loss: LossFunction, name: str, logits: Tensor, labels: Tensor, found: Tensor) -> None:
    """Refuse a loss whose values differ between calls or depend on the other samples of the batch."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        again = loss(logits, labels)
        if not torch.allclose(again, found, rtol=1e-6, atol=1e-9):
            raise ValueError(f"{name}: not a function of (logits, labels): two calls differ, it draws at random")
        alone = torch.cat([loss(logits[i : i + 2], labels[i : i + 2]) for i in range(0, 8, 2)])
    if not torch.allclose(alone, found[:8], rtol=1e-5, atol=1e-8):
        raise ValueError(f"{name}: not per-sample: a value depends on the other samples of the batch")
