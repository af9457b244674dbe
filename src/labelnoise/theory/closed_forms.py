"""The asymmetry ratios with a closed form, by loss function.

Source: Zhou, Liu, Jiang, Gao, Ji 2021, arXiv:2106.03110, section 3.3, for AGCE, AUL and AEL. The others follow from
r = l'(1) / l'(0) for convex and r = 1 for concave or linear l (docs/theory.md). The tests compare all with the search.
"""

from collections.abc import Callable
from functools import partial
from math import exp
from typing import Any

from labelnoise.losses import absolute, asymmetric, cross_entropy, focal_loss, generalized, reverse
from labelnoise.theory.evaluation import LossFunction


def agce(a: float, q: float) -> float:
    """r of AGCE: (a / (a + 1))^(1 - q) for q <= 1 (convex), 1 above (concave)."""
    return (a / (a + 1)) ** (1 - q) if q < 1 else 1.0


def aul(a: float, q: float) -> float:
    """r of AUL: ((a - 1) / a)^(q - 1) for q >= 1 (convex), 1 below (concave)."""
    return ((a - 1) / a) ** (q - 1) if q > 1 else 1.0


def ael(a: float) -> float:
    """r of AEL: exp(-1 / a)."""
    return exp(-1 / a)


FORMS: dict[Any, tuple[Callable[..., float], str]] = {
    asymmetric.agce: (agce, "(a / (a + 1))^(1 - q), 1 if q >= 1"),
    asymmetric.aul: (aul, "((a - 1) / a)^(q - 1), 1 if q <= 1"),
    asymmetric.ael: (ael, "exp(-1 / a)"),
    absolute.mae: (lambda **_: 1.0, "linear in p_y"),
    reverse.rce: (lambda **_: 1.0, "linear in p_y"),
    reverse.sce: (lambda alpha, **_: 0.0 if alpha else 1.0, "l'(0) is infinite if alpha > 0"),
    cross_entropy.ce: (lambda: 0.0, "l'(0) is infinite"),
    generalized.gce: (lambda q: 1.0 if q == 1 else 0.0, "l'(0) is infinite if q < 1"),
    focal_loss.focal: (lambda **_: 0.0, "l'(0) is infinite"),
}


def asymmetry_ratio(loss: LossFunction) -> tuple[float, str] | None:
    """r and its formula if the loss is one of these functions with its parameters bound by name; otherwise None."""
    bound = loss if isinstance(loss, partial) else partial(loss)
    if bound.args or bound.func not in FORMS:
        return None
    form, formula = FORMS[bound.func]
    return form(**bound.keywords), formula
