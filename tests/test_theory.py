"""What theory says of a loss, against formulas and minimisations of our own in float64 numpy."""

import inspect
import json
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from labelnoise.losses import ael, agce, aul, ce, focal, gce, mae, nce, nfl, ngce, nlnl, rce, sce, sgce, weighted_sum
from labelnoise.noise import asymmetric, pairflip, symmetric
from labelnoise.theory import check, gradients
from labelnoise.theory.critical import search
from labelnoise.theory.noise_ratios import noise_ratio
from labelnoise.theory.report import Report
from labelnoise.theory.verdicts import Verdict, gather

SMALL = np.logspace(-7, 0, 4000)  # probabilities, log-spaced


def hidden(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same loss as a function of its own, so that no closed form is known for it."""
    return lambda logits, labels: loss(logits, labels)


def verdict(report: Report, noise: str, rate: float, num_classes: int = 10) -> Verdict:
    wanted = (noise, rate, num_classes)
    return next(v for v in report.tolerant if (v.noise, v.rate, v.num_classes) == wanted)


def amse(logits: Tensor, labels: Tensor, a: float) -> Tensor:
    return ((a * F.one_hot(labels, logits.shape[1]) - logits.softmax(1)) ** 2).sum(1)


def anorm(logits: Tensor, labels: Tensor, p: float) -> Tensor:
    return ((2 * F.one_hot(labels, logits.shape[1]) - logits.softmax(1)).abs() ** p).sum(1)


def unhinged(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.mean(1) - logits.gather(1, labels[:, None]).squeeze(1)


# ------------------------------------------------------------------------------------------------- critical ratios

FORMULAS = {
    "agce": lambda u, a, q: ((a + 1) ** q - (a + u) ** q) / q,
    "aul": lambda u, a, q: ((a - u) ** q - (a - 1) ** q) / q,
    "ael": lambda u, a: np.exp(-u / a),
}
PUBLISHED = [  # released hyper-parameters, and the critical ratios that they have
    (agce, {"a": 0.6, "q": 0.6}, 1.480),
    (aul, {"a": 5.5, "q": 3.0}, 1.494),
    (ael, {"a": 2.5}, 1.492),
    (agce, {"a": 4.0, "q": 0.2}, 1.195),
    (agce, {"a": 1.8, "q": 3.0}, 1.0),
    (aul, {"a": 3.0, "q": 0.1}, 1.0),
    (aul, {"a": 6.3, "q": 1.5}, 1.090),
    (aul, {"a": 6.0, "q": 3.0}, 1.440),
    (ael, {"a": 3.5}, 1.331),
    (ael, {"a": 5.0}, 1.221),
    (ael, {"a": 1.5}, 1.948),
]


@pytest.mark.parametrize(("loss", "letters", "expected"), PUBLISHED)
def test_critical_ratios_of_released_values(loss: Callable[..., Tensor], letters: dict, expected: float) -> None:
    """In closed form, by slopes, by search on the simplex, and by the two-class risk in numpy."""
    bound = partial(loss, **letters)
    closed, slopes, searched = gather(bound, 10), gather(hidden(bound), 10), search(bound, 10)
    assert closed.formula is not None
    assert slopes.formula is None
    l = partial(FORMULAS[loss.__name__], **letters)  # noqa: E741
    v = SMALL[SMALL < 0.5]
    by_risk = max(1.0, float(((l(0.0) - l(v)) / (l(1 - v) - l(1.0))).max()))
    for found in (closed.critical, slopes.critical, searched.ratio, by_risk):
        assert found == pytest.approx(expected, abs=6e-4)
    assert slopes.critical == pytest.approx(closed.critical, rel=1e-6)


@pytest.mark.parametrize("loss", [partial(agce, a=0.6, q=0.6), partial(aul, a=5.5, q=3.0), partial(ael, a=2.5)])
def test_released_values_lie_just_inside_the_bound_of_asymmetric_noise(loss: Callable[..., Tensor]) -> None:
    report = check(loss, 10)
    at_bound = verdict(report, "asym", 0.4)
    assert at_bound.ratio == pytest.approx(1.5)
    assert at_bound.tolerant
    assert at_bound.margin is not None
    assert 1 < at_bound.margin < 1.02
    assert not verdict(report, "pairflip", 0.45).tolerant
    assert not report.completely_asymmetric
    assert not report.symmetric


def test_ael_of_the_cifar100_sum_fails_at_asymmetric_40() -> None:
    report = check(partial(ael, a=1.5), 100)
    assert not verdict(report, "asym", 0.4, 100).tolerant
    assert verdict(report, "asym", 0.3, 100).tolerant


@pytest.mark.parametrize("loss", [mae, rce, hidden(mae)])
def test_symmetric_losses_that_are_completely_asymmetric(loss: Callable[..., Tensor]) -> None:
    report = check(loss, 10)
    assert report.symmetric
    assert report.additive
    assert report.completely_asymmetric
    assert report.critical_ratio == 1.0
    assert all(v.tolerant and v.true_class == 1 for v in report.tolerant)


NEVER = [ce, partial(gce, q=0.7), partial(gce, q=0.99), partial(focal, gamma=0.5), partial(focal, gamma=2.0)]
NEVER += [partial(sce, alpha=0.1, beta=1.0), partial(focal, gamma=0.5, detach=True)]


@pytest.mark.parametrize("loss", NEVER)
def test_losses_that_are_never_tolerant(loss: Callable[..., Tensor]) -> None:
    report = check(hidden(loss), 10)
    assert report.formula is None
    assert report.asymmetry_ratio == 0
    assert report.critical_ratio is None
    assert not any(v.tolerant for v in report.tolerant)
    assert gather(loss, 10).critical == math.inf, "in closed form"
    assert search(loss, 10).ratio == math.inf


def test_a_uniform_grid_is_fooled_by_gce_and_check_is_not() -> None:
    u = np.arange(121) / 120
    risk = 50 * (1 - u**0.7) + (1 - (1 - u) ** 0.7)
    assert u[risk.argmin()] == 1, "the vertex, by the grid"
    row = torch.eye(10, dtype=torch.float64) * 50 / 51
    row[range(10), [*range(1, 10), 0]] = 1 / 51
    found = check(hidden(partial(gce, q=0.7)), 10, row).transition
    assert found is not None
    assert not found.tolerant
    assert found.true_class == pytest.approx(1 / (1 + 50 ** (-1 / 0.3)), abs=1e-9)


def test_minimisers_of_gce_and_ce_are_their_formulas() -> None:
    report, plain = check(partial(gce, q=0.7), 10), check(ce, 10)
    for v, w in zip(report.tolerant, plain.tolerant, strict=True):
        others = v.num_classes - 1 if v.noise == "sym" else 1
        assert v.true_class == pytest.approx(1 / (1 + others * v.ratio ** (-1 / 0.3)), abs=2e-4)
        assert w.true_class == pytest.approx(1 - v.rate, abs=2e-3)


def test_a_clamp_gives_gce_a_critical_ratio() -> None:
    """Flat below 1e-7: r is small and not 0, as in the released code."""

    def clamped(logits: Tensor, labels: Tensor) -> Tensor:
        p = logits.softmax(1).gather(1, labels[:, None]).squeeze(1).clamp(min=1e-7)
        return (1 - p**0.7) / 0.7

    c = 1e-7
    u = np.logspace(-7, -5, 20000)[1:]
    expected = float(((u**0.7 - c**0.7) / (1 - (1 - u) ** 0.7)).max())
    found = gather(clamped, 10)
    assert found.ratios is not None
    assert 1 / found.ratios.upper == pytest.approx(expected, rel=0.01)
    assert verdict(check(clamped, 100), "sym", 0.2, 100).tolerant


# --------------------------------------------------------------------------------------------- losses not of p_y alone


@pytest.mark.parametrize("loss", [nce, partial(nfl, gamma=0.5)])
@pytest.mark.parametrize("num_classes", [3, 10])
def test_normalized_losses_have_a_degenerate_minimum(loss: Callable[..., Tensor], num_classes: int) -> None:
    report = check(loss, num_classes)
    assert report.symmetric
    assert not report.additive
    assert report.critical_ratio is None
    assert report.minimum == "not unique"
    for v in report.tolerant:
        assert v.tolerant == (v.noise == "sym")
    p = np.array([0.275, 0.725, 1e-300])  # says class 1, and yet costs nothing with label 0
    assert np.log(p[0]) / np.log(p).sum() < 0.002


def test_ngce_is_covered_by_its_sum_alone() -> None:
    report = check(partial(ngce, q=0.7), 10)
    assert (report.symmetric, report.additive, report.minimum) == (True, False, "vertex")
    assert report.critical_ratio is None
    assert [v.tolerant for v in report.tolerant if v.noise == "sym"] == [True] * 8
    assert not any(v.tolerant for v in report.tolerant if v.noise != "sym")


def test_sgce_tolerates_wrong_labels_below_their_share_at_random() -> None:
    """The risk is sum_k (1/K - w_k) p_k^q / q: at a vertex for q < 1 while every other label has w_k <= 1/K.

    With one other label, w_m / w_n is then (1 - 1/K) / (1/K) = K - 1.
    """
    report = check(partial(sgce, q=0.7), 10)
    assert (report.symmetric, report.minimum) == (True, "vertex")
    assert report.critical_ratio == pytest.approx(9, rel=0.01)
    assert [v.tolerant for v in report.tolerant if v.noise == "sym"] == [True] * 8


def projected(point: np.ndarray) -> np.ndarray:
    """The nearest point of the simplex (Held, Wolfe, Crowder 1974)."""
    ranked = np.sort(point)[::-1]
    excess = (ranked.cumsum() - 1) / np.arange(1, len(point) + 1)
    return np.maximum(point - excess[np.flatnonzero(ranked > excess)[-1]], 0)


@pytest.mark.parametrize("a", [2.0, 30.0])
def test_amse_hangs_on_a_difference(a: float) -> None:
    """sum w_i L(u, i) = const + |u - a w|^2: the minimiser is the projection of a w, e_t iff a (w_m - w_n) >= 1."""
    report = check(partial(amse, a=a), 10)
    assert report.critical_ratio is None
    assert report.critical_difference == pytest.approx(1 / a, rel=1e-6)
    for v in report.tolerant:
        w = np.zeros(v.num_classes)
        w[1 : v.num_classes if v.noise == "sym" else 2] = v.rate / (v.num_classes - 1 if v.noise == "sym" else 1)
        w[0] = 1 - v.rate
        best = projected(a * w)[0]
        assert v.tolerant == (best == 1), v
        assert v.true_class == pytest.approx(best, abs=1e-3)


def test_mean_squared_error_is_never_tolerant() -> None:
    report = check(partial(amse, a=1.0), 10)
    assert report.critical_ratio is None
    assert report.critical_difference is None
    assert not any(v.tolerant for v in report.tolerant)


def test_anorm_is_completely_asymmetric_up_to_p_1() -> None:
    assert check(partial(anorm, p=0.5), 10).completely_asymmetric
    assert not check(partial(anorm, p=1.3), 10).completely_asymmetric


@pytest.mark.parametrize("num_classes", [3, 10, 100])
def test_the_sum_of_a_normalized_and_an_asymmetric_loss_has_the_latters_ratio(num_classes: int) -> None:
    both = partial(weighted_sum, first=nce, alpha=1.0, beta=4.0)
    assert search(partial(both, second=partial(ael, a=5.0)), num_classes).ratio == pytest.approx(
        math.exp(0.2), rel=1e-3
    )
    assert gather(partial(both, second=agce, a=6.0, q=1.5), num_classes).completely_asymmetric
    assert gather(partial(both, second=ce), num_classes).ratio is None


def test_the_sum_of_two_asymmetric_losses_lies_between_them() -> None:
    """Both convex: r is the quotient of the summed slopes, a mediant of the two."""
    total = partial(weighted_sum, first=partial(agce, a=0.6, q=0.6), second=partial(ael, a=1.5), alpha=1.0, beta=2.0)
    at_0 = 0.6**-0.4 + 2 / 1.5
    at_1 = 1.6**-0.4 + 2 * math.exp(-1 / 1.5) / 1.5
    report = check(total, 10)
    assert report.additive
    assert report.shape == "convex"
    assert report.critical_ratio == pytest.approx(at_0 / at_1, rel=1e-6)
    assert 1.480 < report.critical_ratio < 1.948


def test_a_sum_that_is_neither_convex_nor_concave_is_bracketed() -> None:
    """AEL(.3) falls fast first, AGCE(0, 3) last."""
    total = partial(weighted_sum, first=partial(ael, a=0.3), second=partial(agce, a=0.0, q=3.0), alpha=1.0, beta=1.0)
    found = gather(total, 10)
    assert found.profile is not None
    assert found.profile.shape == "neither"
    assert found.ratios is not None

    def value(u: np.ndarray) -> np.ndarray:
        return np.exp(-u / 0.3) + (1 - u**3) / 3

    u1, u2 = np.meshgrid(np.linspace(0, 1, 401), np.linspace(0, 1, 401)[1:], indexing="ij")
    quotient = np.where(u1 + u2 <= 1, (value(u1) - value(u1 + u2)) / (value(np.zeros(1)) - value(u2)), np.inf)
    v = SMALL[SMALL < 1]
    assert found.ratios.asymmetry == pytest.approx(quotient.min(), rel=0.02)
    at_end = (value(1 - v) - value(np.ones(1))) / (value(np.zeros(1)) - value(v))
    assert found.ratios.upper == pytest.approx(at_end.min(), rel=0.02)
    assert found.search is not None
    assert found.search.paired == pytest.approx(1 / at_end.min(), rel=1e-4), "two classes: the minimiser is no vertex's"
    assert 1 / found.ratios.upper * 0.98 <= found.critical <= 1 / found.ratios.asymmetry * 1.02


def test_the_search_finds_minimisers_that_jump() -> None:
    """AGCE(0, 6) + 2 AEL(.05): below the critical ratio the minimiser is far from the vertex, s others share v each."""
    total = partial(weighted_sum, first=partial(agce, a=0.0, q=6.0), second=partial(ael, a=0.05), alpha=1.0, beta=2.0)

    def value(u: np.ndarray | float) -> np.ndarray:
        return (1 - u**6.0) / 6 + 2 * np.exp(-np.asarray(u) / 0.05)

    def needed(s: int) -> float:
        v = np.logspace(-6, 0, 20000)[:-1] / s
        return float((s * (value(0.0) - value(v)) / (value(1 - s * v) - value(1.0))).max())

    found = search(total, 10)
    assert found.even == pytest.approx(max(needed(s) for s in range(1, 10)), rel=5e-4)
    assert found.paired == pytest.approx(needed(1), rel=5e-4)


# ------------------------------------------------------------------------------------------------ the rest of a report


@pytest.mark.parametrize("num_classes", [2, 3, 5, 10])
def test_excess_risk_factor_holds_and_is_reached(num_classes: int) -> None:
    """K / (l(0) - l(1)): no random case exceeds it, and the paper's 2 is exceeded from K = 3 on."""
    report = check(mae, num_classes)
    assert report.excess_risk_factor == pytest.approx(num_classes / 2)
    random = np.random.RandomState(0)
    p = random.dirichlet(np.full(num_classes, 0.5), 20000)
    u = random.dirichlet(np.full(num_classes, 0.5), 20000)
    worst = np.full(num_classes, 1 / (num_classes - 1))
    worst[-1] = 0
    flat = np.full(num_classes, 1.0)
    flat[-1] = 1.0001
    p, u = np.vstack([p, worst]), np.vstack([u, flat / flat.sum()])
    excess = p.max(1) - np.take_along_axis(p, u.argmax(1)[:, None], 1)[:, 0]
    own = 2 * (p.max(1) - (p * u).sum(1))
    factor = excess / own
    assert factor.max() <= report.excess_risk_factor * (1 + 1e-9)
    assert factor[-1] == pytest.approx(report.excess_risk_factor, rel=1e-2)


def test_no_excess_risk_factor_is_claimed_without_a_proof() -> None:
    for loss in (ce, partial(agce, a=0.6, q=0.6), nce, partial(anorm, p=0.5)):
        assert check(loss, 10).excess_risk_factor is None


def test_gradient_at_initialisation_and_sample_weights() -> None:
    for K in (10, 100):
        assert gradients.at_initialisation(ce, K) == pytest.approx(1 - 1 / K)
        assert gradients.at_initialisation(mae, K) == pytest.approx(2 / K * (1 - 1 / K))
    assert check(mae, 100).gradient_at_initialisation.keys() == {10, 100}
    p = torch.tensor([0.01, 0.3, 0.99])
    assert gradients.sample_weights(partial(gce, q=0.7), 10, p) == pytest.approx(p.double() ** 0.7)


def test_calibration() -> None:
    ranks = check(ce, 10).calibration
    assert ranks is not None
    assert (ranks.top, ranks.order, ranks.ranks) == (True, True, True)
    vertex = check(mae, 10).calibration
    assert vertex is not None
    assert (vertex.top, vertex.order, vertex.ranks) == (True, True, False)
    rising = check(lambda logits, labels: logits.softmax(1).gather(1, labels[:, None]).squeeze(1), 10)
    assert rising.shape == "not decreasing"
    assert rising.calibration is None or not rising.calibration.top
    assert check(nce, 10).calibration is None


def test_a_loss_without_a_minimum_is_told_so() -> None:
    report = check(unhinged, 10)
    assert report.symmetric
    assert report.minimum == "none"
    assert report.critical_ratio is None


def test_detached_factors_are_told() -> None:
    said = "its gradient is not its value's"
    assert any(said in note for note in check(partial(focal, gamma=0.5, detach=True), 10).notes)
    assert not any(said in note for note in check(partial(focal, gamma=0.5), 10).notes)


def test_report_prints_one_screen_and_one_json_line() -> None:
    for loss in (partial(agce, a=0.6, q=0.6), nce, partial(amse, a=2.0)):
        *screen, last = str(check(loss, 100)).splitlines()
        assert len(screen) <= 40
        assert max(map(len, screen)) <= 120
        found = json.loads(last)
        assert found["tolerant"][0].keys() >= {"noise", "rate", "num_classes", "tolerant"}
        assert len(found["tolerant"]) == 18


# --------------------------------------------------------------------------------------------------------- the noise


@pytest.mark.parametrize(("kind", "rate"), [("sym", 0.8), ("asym", 0.4), ("pairflip", 0.45)])
@pytest.mark.parametrize("num_classes", [5, 10])
def test_noise_ratio_is_that_of_the_labels_drawn(kind: str, rate: float, num_classes: int) -> None:
    class Facts:
        name = "balanced"
        train_images = torch.empty(0)
        true_labels = train_labels = torch.arange(num_classes).repeat_interleave(20000)
        mistaken_for = (torch.arange(num_classes) + 1) % num_classes

    Facts.num_classes = num_classes
    function = {"sym": symmetric.symmetric, "asym": asymmetric.asymmetric, "pairflip": pairflip.pairflip}[kind]
    noisy = function(Facts(), 1, rate)
    counts = torch.bincount(noisy[:20000], minlength=num_classes)
    expected = counts[0] / counts[1]
    assert noise_ratio(kind, rate, num_classes) == pytest.approx(float(expected), rel=0.05)
    target = f"{inspect.getmodule(function).__name__}.{function.__name__}"
    assert noise_ratio(target, rate, num_classes) == noise_ratio(kind, rate, num_classes)


def test_noise_without_a_nominal_matrix_is_refused() -> None:
    for target in (
        "labelnoise.noise.given.given",
        "labelnoise.noise.instance.instance",
        "labelnoise.noise.human.human",
    ):
        with pytest.raises(ValueError, match=r"^noise=\w+: has no transition matrix"):
            noise_ratio(target, 0.4, 10)


def test_the_hardest_class_of_a_transition_matrix_is_judged() -> None:
    T = torch.eye(10, dtype=torch.float64)
    T[3, 3], T[3, 5], T[3, 4] = 0.55, 0.4, 0.05
    loss = partial(agce, a=0.6, q=0.6)
    found = check(loss, 10, T).transition
    assert found is not None
    assert (found.noise, found.tolerant) == ("class 3", False)
    assert found.ratio == pytest.approx(0.55 / 0.4)
    summed = partial(weighted_sum, first=nce, second=partial(ael, a=2.5), alpha=1.0, beta=1.0)
    searched = check(summed, 10, T).transition
    assert searched is not None
    assert not searched.tolerant
    T[3, 3], T[3, 5] = 0.59, 0.36
    for of in (loss, summed):
        found = check(of, 10, T).transition
        assert found is not None
        assert found.tolerant


def test_amse_is_judged_by_the_difference_on_any_matrix() -> None:
    T = torch.eye(4, dtype=torch.float64)
    for third, expected in ((0.0, True), (0.1, True), (0.25, False)):
        T[0] = torch.tensor([0.75 - third, 0.2, third, 0.05])
        found = check(partial(amse, a=3.0), 4, T).transition
        assert found is not None
        assert found.tolerant == expected


# ------------------------------------------------------------------------------------------------------ what is refused

REFUSED = [
    (lambda logits, labels: ce(logits, labels).mean(), "not per-sample: logits"),
    (lambda logits, labels: ce(logits, labels) / ce(logits, labels).sum(), "a value depends on the other samples"),
    (lambda logits, labels: ce(logits, labels) * math.nan, "not finite at ordinary logits"),
    (
        lambda logits, labels: -logits.softmax(1).gather(1, labels[:, None]).squeeze(1).log(),
        "not finite at logits of 10000",
    ),
    (nlnl, "two calls differ, it draws at random"),
    (lambda logits, labels, features: ce(logits, labels), "not a function of .* alone: missing a required argument"),
    (lambda logits, labels: [0.0] * len(labels), "gave list, must give a tensor"),
    (lambda logits, labels: logits[:, 0], "does not depend on the labels"),
    (lambda logits, labels: labels * 1.0, "has no gradient in the logits"),
    (lambda logits, labels: logits.softmax(1) @ torch.eye(7).double() @ labels, "cannot be computed from"),
    (3, "not a function of"),
]


@pytest.mark.parametrize(("loss", "expected"), REFUSED)
def test_what_is_no_such_loss_gets_one_line(loss: Callable[..., Tensor], expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as refused:
        check(loss, 10)
    assert "\n" not in str(refused.value)


def test_wrong_classes_and_matrices_are_refused() -> None:
    for classes in (1, 2.5, True):
        with pytest.raises(ValueError, match=r"num_classes=.*: must be a whole number, at least 2"):
            check(ce, classes)
    with pytest.raises(ValueError, match=r"transition: has shape \(3, 3\), must be \(4, 4\)"):
        check(ce, 4, torch.eye(3))
    with pytest.raises(ValueError, match="transition: every row must be probabilities"):
        check(ce, 2, torch.tensor([[0.5, 0.6], [0.0, 1.0]]))
