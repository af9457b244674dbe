"""`check`: everything that theory says about one loss, in one report."""

from math import isinf

import torch
from torch import Tensor

from labelnoise.theory import gradients
from labelnoise.theory.calibration import Calibration, by_shape, calibration
from labelnoise.theory.evaluation import LossFunction, name_of, refuse
from labelnoise.theory.noise_ratios import GRID, GRID_CLASSES, check_transition, nominal_row, row_ratio
from labelnoise.theory.notes import notes
from labelnoise.theory.report import Report
from labelnoise.theory.verdicts import Evidence, Verdict, gather, judge, sharpened

HARDEST = 10  # classes of a transition matrix with a search of their own; its results also judge the other classes


def check(loss: LossFunction, num_classes: int, transition: Tensor | None = None) -> Report:
    """What noise-tolerance theory guarantees for a loss.

    Args:
        loss: any function `(logits (B, C), labels (B,)) -> (B,)`, finite, differentiable, the same on every call.
        num_classes: C, at least 2.
        transition: (C, C), rows the true class, entries P(noisy label | true class); its worst class is judged too.
    Raises:
        ValueError: not such a loss, fewer than 2 classes, or not a transition matrix.
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"num_classes={num_classes}: must be a whole number, at least 2")
    T = None if transition is None else check_transition(transition, num_classes)
    refuse(loss, num_classes)
    found = gather(loss, num_classes)
    by_classes = {num_classes: found}
    for K in GRID_CLASSES:
        if K not in by_classes and _takes(loss, K):
            by_classes[K] = gather(loss, K)
    usable = [K for K in GRID_CLASSES if K in by_classes]
    ratios, profile = found.ratios, found.profile
    p = torch.tensor(gradients.PROBABILITIES)
    return Report(
        loss=name_of(loss),
        num_classes=num_classes,
        symmetric=found.symmetric,
        spread=found.spread,
        additive=profile is not None,
        shape=profile.shape if profile else None,
        asymmetry_ratio=ratios.asymmetry if ratios else None,
        upper_ratio=ratios.upper if ratios else None,
        formula=found.formula,
        critical_ratio=found.ratio,
        critical_difference=found.difference,
        completely_asymmetric=found.completely_asymmetric,
        minimum=found.minimum,
        tolerant=tuple(verdict for K in usable for verdict in _grid(loss, by_classes[K])),
        transition=None if T is None else _worst(loss, found, T),
        calibration=_calibration(loss, found),
        excess_risk_factor=_excess_risk_factor(found),
        gradient_at_initialisation={K: gradients.at_initialisation(loss, K) for K in sorted({num_classes, *usable})},
        sample_weights=tuple(zip(p.tolist(), gradients.sample_weights(loss, num_classes, p).tolist(), strict=True)),
        notes=notes(loss, found, [K for K in GRID_CLASSES if K not in usable]),
    )


def tolerance(loss: LossFunction, num_classes: int) -> list[Verdict]:
    """The verdicts on a loss for every noise of the grid: a small part of what `check` computes.

    Raises:
        ValueError: as `check`.
    """
    refuse(loss, num_classes)
    return _grid(loss, gather(loss, num_classes))


def _grid(loss: LossFunction, found: Evidence) -> list[Verdict]:
    rows = [nominal_row(noise, rate, found.num_classes) for noise, rate in GRID]
    found = sharpened(loss, found, rows)
    return [judge(loss, found, row, noise, rate) for row, (noise, rate) in zip(rows, GRID, strict=True)]


def _excess_risk_factor(found: Evidence) -> float | None:
    """K / (l(0) - l(1)), derived in docs/theory.md for completely asymmetric additive losses."""
    if not found.completely_asymmetric or not found.profile or isinf(found.profile.drop):
        return None
    return found.num_classes / found.profile.drop


def _takes(loss: LossFunction, num_classes: int) -> bool:
    """Whether the loss can be computed for this number of classes."""
    try:
        refuse(loss, num_classes)
    except ValueError:
        return False
    return True


def _calibration(loss: LossFunction, found: Evidence) -> Calibration | None:
    if found.profile and found.profile.shape in ("linear", "convex", "concave"):
        return by_shape(found.profile)
    return calibration(loss) if found.minimum in ("vertex", "not the vertex") and _takes(loss, 3) else None


def _worst(loss: LossFunction, found: Evidence, T: Tensor) -> Verdict:
    """The verdict on the class that is not tolerated, if any, otherwise on the one nearest to the boundary."""
    rows = {tuple(torch.cat([row[i : i + 1], row[:i], row[i + 1 :]]).tolist()): i for i, row in enumerate(T)}
    hardest = sorted(rows.values(), key=lambda i: row_ratio(T[i], i))[:HARDEST]
    found = sharpened(loss, found, [T[i] for i in hardest])
    judged = [judge(loss, found, T[i], f"class {i}", None, i) for i in sorted(rows.values())]
    return min(judged, key=lambda v: (v.tolerant, v.ratio))
