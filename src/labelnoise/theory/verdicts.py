"""Whether a loss tolerates a noise: evidence for one number of classes, verdict on one row of label probabilities."""

from dataclasses import dataclass, replace
from math import inf, isinf

import torch
from torch import Tensor

from labelnoise.theory import additive, closed_forms, symmetry
from labelnoise.theory.critical import Minimum, Search, search
from labelnoise.theory.evaluation import LossFunction
from labelnoise.theory.noise_ratios import row_ratio
from labelnoise.theory.search import logits_of, refined, risks

EXACT = 1e-9  # relative tolerance: the ratio of a decimal rate is not exact
COMPLETE = 1.002  # a critical ratio from a search counts as 1 below this


@dataclass(frozen=True)
class Verdict:
    """The verdict on one noise, or on one class of a transition matrix.

    Attributes:
        noise: its configuration's name. rate: its rate. num_classes: K.
        ratio: w_m / w_n.
        tolerant: whether theory covers the loss under this noise.
        margin: ratio over the critical ratio, 1 at the boundary; None where there is no critical ratio.
        true_class: the probability of the true class in the minimiser of the noisy risk; None where it is not unique.
    """

    noise: str
    rate: float | None
    num_classes: int
    ratio: float
    tolerant: bool
    margin: float | None
    true_class: float | None


@dataclass(frozen=True)
class Evidence:
    """What was found about a loss for one number of classes.

    Attributes:
        num_classes: C.
        spread: of the sum over labels, 0 if symmetric.
        profile, ratios, formula: of an additive loss.
        search: None if the ratios decide, or if the loss is not a function of the probabilities.
        minimum: what minimises the loss without noise.
    """

    num_classes: int
    spread: float
    profile: additive.Profile | None
    ratios: additive.Ratios | None
    formula: str | None
    search: Search | None
    minimum: Minimum

    @property
    def symmetric(self) -> bool:
        """Whether the sum over labels is constant."""
        return self.spread <= symmetry.TOLERANCE

    @property
    def difference(self) -> float | None:
        """The critical w_m - w_n, if the difference decides."""
        return self.search.difference if self.search else None

    @property
    def paired(self) -> float:
        """The critical w_m / w_n if no third class has weight; inf: never."""
        return self._snapped(self.search.paired) if self.search else self._by_ratios()

    @property
    def even(self) -> float:
        """The critical w_m / w_n if all other classes have the same weight; inf: never."""
        return self._snapped(self.search.even) if self.search else self._by_ratios()

    @property
    def critical(self) -> float:
        """The critical w_m / w_n whatever weight the other classes have; inf: never."""
        return max(self.paired, self.even)

    @property
    def ratio(self) -> float | None:
        """The critical ratio, if a ratio decides and the minimiser is unique; None also if never tolerant."""
        single = self.minimum == "vertex" and self.difference is None
        return self.critical if single and not isinf(self.critical) else None

    @property
    def completely_asymmetric(self) -> bool:
        """Tolerant under all clean-label-dominant noise."""
        return self.ratio == 1

    def _by_ratios(self) -> float:
        return 1 / self.ratios.asymmetry if self.ratios and self.ratios.asymmetry else inf

    def _snapped(self, ratio: float) -> float:
        return 1.0 if ratio < COMPLETE else ratio


def gather(loss: LossFunction, num_classes: int) -> Evidence:
    """The evidence on a loss for this many classes: its slopes if it is additive, a search if they do not decide."""
    spread = symmetry.spread_over_labels(loss, num_classes)
    if not symmetry.is_function_of_probabilities(loss, num_classes):
        return Evidence(num_classes, spread, None, None, None, None, "not on the simplex")
    profile = additive.profile(loss, num_classes) if additive.is_additive(loss, num_classes) else None
    ratios, formula = additive.ratios(loss, num_classes, profile) if profile else None, None
    if ratios and (closed := closed_forms.asymmetry_ratio(loss)):
        ratios, formula = additive.Ratios(closed[0], closed[0]), closed[1]
    if ratios and ratios.asymmetry >= 0.999 * ratios.upper:
        return Evidence(num_classes, spread, profile, ratios, formula, None, "vertex")
    searched = search(loss, num_classes)
    return Evidence(num_classes, spread, profile, ratios, formula, searched, searched.minimum)


def sharpened(loss: LossFunction, found: Evidence, rows: list[Tensor]) -> Evidence:
    """The evidence, with the minimisers for these rows (C,) of label probabilities added to its pool, if it has one."""
    if found.search is None or found.minimum != "vertex" or not rows:
        return found
    ws = [row.sort(descending=True).values for row in rows]
    pool = refined(loss, found.search.pool, ws, found.num_classes, steps=80, count=6)
    return replace(found, search=replace(found.search, pool=pool))


def judge(
    loss: LossFunction, found: Evidence, row: Tensor, noise: str, rate: float | None, true_class: int = 0
) -> Verdict:
    """The verdict for images whose label is i with probability row[i]. Shapes: row (C,).

    A symmetric loss tolerates symmetric noise below (K - 1) / K, whatever its minimiser (Ghosh et al. 2017, theorem 1).
    """
    ratio = row_ratio(row, true_class)
    others = torch.cat([row[:true_class], row[true_class + 1 :]])
    even = bool((others.max() - others.min() <= 1e-9).item()) and len(others) > 1
    two_classes = bool((others > 0).sum() <= 1)
    if ratio <= 1 + EXACT:
        return Verdict(noise, rate, found.num_classes, ratio, False, None, None)
    if found.minimum != "vertex":
        covered = isinf(ratio) or (found.symmetric and even)
        return Verdict(noise, rate, found.num_classes, ratio, covered, None, None)
    critical = found.even if even else found.paired if two_classes else found.critical
    tolerant = ratio >= critical * (1 - EXACT)
    if not tolerant and found.search and not even and not two_classes:
        tolerant = found.search.tolerates(row)
    margin = None if isinf(critical) or isinf(ratio) else ratio / critical
    at_true = 1.0 if tolerant else _true_class(loss, found, row, ratio, len(others) if even else 1, even or two_classes)
    return Verdict(noise, rate, found.num_classes, ratio, tolerant, margin, at_true)


def _true_class(
    loss: LossFunction, found: Evidence, row: Tensor, ratio: float, tied: int, one_level: bool
) -> float | None:
    """The minimiser's probability of the true class, where it is not 1."""
    if found.search:
        w = row.sort(descending=True).values
        pool = found.search.pool
        best = risks(pool, w).argmin()[None]
        return float(logits_of(pool.levels[best], pool.others[best], found.num_classes).softmax(dim=1)[0, 0])
    return convex_minimiser(loss, found.num_classes, ratio, tied) if one_level else None


def convex_minimiser(loss: LossFunction, num_classes: int, ratio: float, tied: int) -> float:
    """p_t that minimises ratio * l(p_t) + sum of l(p_i) over `tied` others, for a convex l: where the slopes balance.

    The others share 1 - p_t equally; v, the share of one, is searched from 1e-14 upwards on a log scale.
    """
    v = torch.linspace(-32.0, 0.0, 600, dtype=torch.float64).exp() / (tied + 1)
    at_true = torch.log1p(-tied * v) - (tied * v).log()
    at_others = v.log() - torch.log1p(-v)
    balance = ratio * additive.steepness(loss, at_true, num_classes) - additive.steepness(loss, at_others, num_classes)
    index = int((balance >= 0).int().argmax())
    if index == 0:
        return 1.0
    below, above = float(balance[index - 1]), float(balance[index])
    share = below / (below - above)
    return 1 - tied * float(v[index - 1] * (v[index] / v[index - 1]) ** share)
