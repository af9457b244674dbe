"""What is found out about a loss."""

from dataclasses import dataclass

from labelnoise.theory.calibration import Calibration


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
class Findings:
    """What theory guarantees for a loss.

    Attributes:
        loss, num_classes: what was checked.
        symmetric: sum_i L(p, i) is constant, to 1e-5 (`spread`).
        additive: L(p, y) depends on p_y alone.
        shape: of l(p_y) if additive: linear, convex, concave, neither or not decreasing.
        asymmetry_ratio, upper_ratio: r and its upper version; None if not additive.
        formula: r's closed form; None: found numerically.
        critical_ratio: the smallest w_m / w_n that is tolerated; 1 if completely asymmetric; None: never tolerant, a
            ratio does not decide, or the minimiser is not unique.
        critical_difference: the smallest w_m - w_n that is tolerated, if the difference decides.
        completely_asymmetric: tolerant under all clean-label-dominant noise.
        minimum: what minimises the loss without noise (`theory.critical.Search`).
        tolerant: a verdict for each noise of the grid.
        transition: the verdict on the hardest class of the given transition matrix.
        calibration: of the minimiser, on three classes; None where it is not unique or the loss cannot have three.
        excess_risk_factor: 0-1 excess risk <= factor * excess risk of the loss; None where no bound is known.
        gradient_at_initialisation: by number of classes.
        sample_weights: (p_y, weight) pairs.
        notes: on these verdicts.
    """

    loss: str
    num_classes: int
    symmetric: bool
    spread: float
    additive: bool
    shape: str | None
    asymmetry_ratio: float | None
    upper_ratio: float | None
    formula: str | None
    critical_ratio: float | None
    critical_difference: float | None
    completely_asymmetric: bool
    minimum: str
    tolerant: tuple[Verdict, ...]
    transition: Verdict | None
    calibration: Calibration | None
    excess_risk_factor: float | None
    gradient_at_initialisation: dict[int, float]
    sample_weights: tuple[tuple[float, float], ...]
    notes: tuple[str, ...]
