"""What training asks of a loss: a finite value for each image, with a gradient, that depends on that image alone."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from labelnoise.losses.base import needs_of

__all__: list[str] = []  # no losses here

SAMPLES = 32
EXTREME = 1e4  # logits at which every loss must be finite


def name_of(loss: Callable[..., Any]) -> str:
    """A loss's name: that of its function, also inside a `functools.partial` or a wrapping module."""
    function = getattr(loss, "function", loss)  # labelnoise.losses.module.Loss
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__name__", type(function).__name__)


def refuse_loss(loss: Callable[..., Any], num_classes: int, superclass: Tensor | None = None) -> None:
    """Call a loss twice as a training step does, in float32, and refuse it unless it can be trained with.

    Leaves the random generators as they were.

    Args:
        num_classes: C, of the run's data set.
        superclass: (C,), of the run's data set, or None.
    Raises:
        ValueError: not (B,), not finite, without a gradient; or a value depends on other images of the batch, and the
            loss does not declare it (`needs("batch")`).
    """
    name, needs = name_of(loss), needs_of(loss)
    outputs = num_classes + ("extra_output" in needs)
    first, second = _batch(outputs, num_classes, 0), _batch(outputs, num_classes, 1)
    leaves = [first[key] for key in ("logits", "features", "other_logits") if key == "logits" or key in needs]
    for leaf in leaves:
        leaf.requires_grad_()
    values = _called(name, loss, (first["logits"], first["labels"]), first, superclass)
    if not ("batch" in needs and isinstance(values, Tensor) and values.shape == ()):
        refuse_shape(name, values, first["logits"])
    if not values.isfinite().all():
        raise ValueError(f"{name}: not finite at ordinary logits (normal, standard deviation 3)")
    if "batch" not in needs:
        half = SAMPLES // 2  # the other half of the batch changes
        mixed = {key: torch.cat([first[key].detach()[:half], second[key][half:]]) for key in first}
        with torch.no_grad():
            again = _called(name, loss, (mixed["logits"], mixed["labels"]), mixed, superclass)
        if not torch.allclose(again[:half], values.detach()[:half], rtol=1e-4, atol=1e-6):
            raise ValueError(f"{name}: not per-sample: a value depends on the other samples of the batch")
    try:
        weights = torch.linspace(0.5, 1.5, values.numel()).view_as(values)  # a sum may be constant where no value is
        slopes = torch.autograd.grad((weights * values).sum(), leaves, allow_unused=True)
    except RuntimeError:
        raise ValueError(f"{name}: has no gradient in the logits") from None
    slopes = tuple(slope for slope in slopes if slope is not None)
    if not all(slope.isfinite().all() for slope in slopes):
        raise ValueError(f"{name}: its gradient is not finite at ordinary logits (normal, standard deviation 3)")
    if not any(slope.any() for slope in slopes):
        raise ValueError(f"{name}: does not depend on the logits")


def refuse_extremes(loss: Callable[..., Any], num_classes: int, superclass: Tensor | None = None) -> None:
    """Refuse a loss that is not finite, or has a gradient that is not, at extreme logits; or that takes no bfloat16.

    Args, Raises: as `refuse_loss`, which it has passed.
    """
    name, needs = name_of(loss), needs_of(loss)
    batch = _batch(num_classes + ("extra_output" in needs), num_classes, 0)
    sure = EXTREME * torch.nn.functional.one_hot(batch["labels"], batch["logits"].shape[1]).float()
    for what, logits in {
        f"logits of {EXTREME:g}, where a probability is 1": sure,
        f"logits of -{EXTREME:g}, where a probability is 0": -sure,
        "equal logits": torch.zeros_like(sure),
        "logits in bfloat16": batch["logits"].bfloat16(),
    }.items():
        leaf = logits.clone().requires_grad_()
        values = _called(name, loss, (leaf, batch["labels"]), {**batch, "other_logits": leaf}, superclass)
        (slope,) = torch.autograd.grad(values.sum(), [leaf], allow_unused=True)
        if not values.isfinite().all():
            raise ValueError(f"{name}: not finite at {what}")
        if slope is not None and not slope.isfinite().all():
            raise ValueError(f"{name}: its gradient is not finite at {what}")


def refuse_shape(name: str, values: Any, logits: Tensor) -> None:
    """Refuse a loss's values that are not one for each row of its logits (B, C).

    Raises:
        ValueError: gives both shapes.
    """
    count, classes = logits.shape
    if not isinstance(values, Tensor):
        raise ValueError(f"{name}: gave {type(values).__name__}, must give a tensor of per-sample values")
    if values.shape != (count,):
        raise ValueError(
            f"{name}: not per-sample: logits ({count}, {classes}) gave shape {tuple(values.shape)}, "
            f"must be ({count},) (reduction='none' if it has one)"
        )


def refuse_regulariser(regulariser: Callable[..., Any], num_classes: int) -> None:
    """Call a regulariser once, and refuse it unless it is finite, 0-d or new features, and has a gradient.

    Args:
        num_classes: C, of the run's data set.
    Raises:
        ValueError: it is not.
    """
    name, needs = f"regulariser: {name_of(regulariser)}", needs_of(regulariser)
    given = {**_batch(num_classes, num_classes, 0), "weights": [torch.ones(2, 2, requires_grad=True)]}
    for key in ("logits", "features"):
        given[key].requires_grad_()
    value = _called(name, regulariser, (), given, None)
    shape = tuple(given["features"].shape) if "new_features" in needs else ()
    if not isinstance(value, Tensor) or value.shape != shape:
        gave = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"{name}: gave {gave}, must give a tensor of shape {shape}")
    if not value.isfinite().all():
        raise ValueError(f"{name}: not finite at ordinary outputs (normal)")
    if not value.requires_grad:
        raise ValueError(f"{name}: has no gradient in its inputs ({', '.join(sorted(needs)) or 'none'})")


def _batch(outputs: int, num_classes: int, seed: int) -> dict[str, Any]:
    """The inputs of a step with random outputs, the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)

    def normal(width: int, scale: float) -> Tensor:
        return scale * torch.randn(SAMPLES, width, generator=generator)

    return {
        "logits": normal(outputs, 3.0),
        "labels": torch.randint(num_classes, (SAMPLES,), generator=generator),
        "features": normal(64, 1.0),
        "other_logits": normal(outputs, 3.0),
    }


def _called(
    name: str,
    function: Callable[..., Any],
    positional: tuple[Tensor, ...],
    batch: dict[str, Any],
    classes: Tensor | None,
) -> Any:
    """The function's result on a batch, with the same random numbers at every call.

    Args:
        positional: the inputs that are not passed by name.
        classes: the superclass of each class, or None.
    Raises:
        ValueError: any error in it, in one line.
    """
    needs = needs_of(function)
    facts = {"superclass": classes, "step": torch.zeros((), dtype=torch.long)}
    known = {**batch, **facts, "generator": torch.Generator().manual_seed(0)}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return function(*positional, **{key: known[key] for key in needs & known.keys()})
    except Exception as error:
        shapes = f"logits {tuple(batch['logits'].shape)} and labels {tuple(batch['labels'].shape)}"
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: cannot be computed from {shapes}: {reason}") from None
