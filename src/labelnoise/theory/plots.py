"""The figure: loss and weight curves side by side, and where AGCE and AUL are tolerant, over a and q.

matplotlib comes with the extra `plots`. It is imported only when a figure is drawn; everything else works without it.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from labelnoise.theory import additive, closed_forms
from labelnoise.theory.evaluation import LossFunction
from labelnoise.theory.gradients import sample_weights
from labelnoise.theory.noise_ratios import noise_ratio

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOISES = (("pairflip", 0.45), ("asym", 0.4), ("sym", 0.8), ("asym", 0.1))  # boundaries drawn in the maps, at K = 10
STYLES = ("-", "--", "-.", ":")  # so that overlapping curves can be told apart
RELEASED = {"AGCE": ((0.6, 0.6), (4.0, 0.2), (6.0, 1.5)), "AUL": ((5.5, 3.0), (3.0, 0.1), (6.3, 1.5))}


def figure(losses: Mapping[str, LossFunction], num_classes: int = 10) -> "Figure":
    """Four panels: loss curves, sample weights, the tolerance maps of AGCE and of AUL.

    Args:
        losses: by their names in the legend; the other classes share 1 - p_y equally.
        num_classes: C of the curves.
    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("a plot needs matplotlib: pip install 'labelnoise[plots]'") from None
    drawn = Figure(figsize=(11, 8.5), layout="constrained")
    axes = drawn.subplots(2, 2)
    _curves(axes[0, 0], axes[0, 1], losses, num_classes)
    a, q = torch.logspace(-2, 1, 200, dtype=torch.float64), torch.linspace(0.02, 2, 200, dtype=torch.float64)
    _map(axes[1, 0], "AGCE", a, q, closed_forms.agce)
    axes[1, 0].set_xscale("log")
    a, q = torch.linspace(1.02, 10, 200, dtype=torch.float64), torch.linspace(0.05, 5, 200, dtype=torch.float64)
    _map(axes[1, 1], "AUL", a, q, closed_forms.aul)
    return drawn


def _curves(left: Any, right: Any, losses: Mapping[str, LossFunction], num_classes: int) -> None:
    p = torch.linspace(0.002, 0.998, 250, dtype=torch.float64)
    one = torch.tensor([40.0], dtype=torch.float64)  # log-odds of p_y = 1
    for index, (name, loss) in enumerate(losses.items()):
        style = STYLES[index % len(STYLES)]
        above = additive.value(loss, p.logit(), num_classes) - additive.value(loss, one, num_classes)
        weight = sample_weights(loss, num_classes, p)
        left.plot(p, above / above[0], style, label=name)
        right.plot(p, weight / weight.max(), style, label=name)
    left.set(xlabel="p_y", ylabel="loss, from 1 at p_y = 0.002 to 0", title="Loss")
    right.set(
        xlabel="p_y", ylabel="|dL/dz_y| / (1 - p_y), largest = 1", title="Sample weight relative to cross-entropy's"
    )
    left.legend(fontsize=8)


def _map(axis: Any, name: str, a: Tensor, q: Tensor, ratio: Callable[[float, float], float]) -> None:
    critical = [[1 / max(ratio(x, y), 1e-6) for x in a.tolist()] for y in q.tolist()]
    boundaries = [noise_ratio(noise, rate, 10) for noise, rate in NOISES]
    levels = [0.999, 1.0001, *boundaries, 1e7]
    # from dark (completely asymmetric) to white (tolerant of hardly anything)
    shades = [str(0.35 + 0.65 * i / (len(levels) - 2)) for i in range(len(levels) - 1)]
    axis.contourf(a, q, critical, levels=levels, colors=shades)
    lines = axis.contour(a, q, critical, levels=boundaries, colors="black", linewidths=0.8)
    labels = dict(zip(lines.levels, (f"{noise} {rate}" for noise, rate in NOISES), strict=True))
    axis.clabel(lines, fmt=labels, fontsize=7)
    axis.plot(*zip(*RELEASED[name], strict=True), "w*", markersize=11, markeredgecolor="black", label="released values")
    axis.set(xlabel="a", ylabel="q", title=f"{name}: tolerant on the darker side of a noise's line (K = 10)")
    axis.legend(fontsize=7, loc="upper right")
