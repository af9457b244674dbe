"""`Report`: the findings on a loss, printed as one screen of text and one JSON object."""

import json
from dataclasses import asdict, dataclass
from math import isinf
from typing import Any

from labelnoise.theory.calibration import Calibration
from labelnoise.theory.verdicts import Verdict

BAR = 24  # characters of the longest bar in the curve of sample weights


@dataclass(frozen=True)
class Report:
    """What theory guarantees for a loss; `print(report)` shows it, `report.json()` is the JSON object of its last line.

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

    def json(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`: numbers to six digits, infinite ones as null."""
        return _rounded(asdict(self))

    def __str__(self) -> str:
        return "\n".join([*_lines(self), json.dumps(self.json())])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return None if isinf(value) or value != value else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {str(key): _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, tuple | list) else value


def _lines(report: Report) -> list[str]:
    """The report as text, at most 120 characters a line."""
    shown = [
        f"{report.loss}, {report.num_classes} classes",
        _row("symmetric", _symmetric(report)),
        _row("additive in p_y", f"{report.shape}, L(p, y) = l(p_y)" if report.additive else "no"),
        *([_row("asymmetry ratio", _ratios(report))] if report.asymmetry_ratio is not None else []),
        _row("critical w_m/w_n", _critical(report)),
        _row("calibrated", _calibrated(report)),
        _row("excess risk", _excess(report)),
        _row("first gradient", _gradient(report)),
        "",
        *_grid(report.tolerant),
    ]
    if report.transition is not None:
        v = report.transition
        which = f"hardest {v.noise}" if v.rate is None else f"{v.noise} {v.rate}"
        shown.append(f"this noise ({which}): w_m/w_n {_number(v.ratio)}, {_verdict(v)}")
    shown += ["", "sample weight relative to cross-entropy's, by p_y", *_curve(report.sample_weights)]
    return shown + [f"- {note}" for note in report.notes]


def _row(name: str, text: str) -> str:
    return f"  {name:<18}{text}"


def _symmetric(report: Report) -> str:
    found = "yes" if report.symmetric else "no"
    return f"{found} (the sum over labels varies by {report.spread:.1e} of the loss's range)"


def _number(value: float) -> str:
    return "inf" if isinf(value) else f"{value:.4g}"


def _ratios(report: Report) -> str:
    assert report.asymmetry_ratio is not None
    assert report.upper_ratio is not None
    how = f"closed form {report.formula}" if report.formula else "numerical"
    upper = "" if report.upper_ratio == report.asymmetry_ratio else f", upper ratio {report.upper_ratio:.4g}"
    return f"r = {report.asymmetry_ratio:.4g}{upper} ({how})"


def _critical(report: Report) -> str:
    if report.completely_asymmetric:
        return "1: completely asymmetric, tolerant whenever the true label is the most likely one"
    if report.critical_ratio is not None:
        return f"{report.critical_ratio:.3f}: tolerant where the true label is that many times likelier than any other"
    if report.critical_difference is not None:
        return f"no ratio but a difference, w_m - w_n >= {report.critical_difference:.4g}"
    if report.symmetric:
        return "none; symmetric noise alone is covered, as the sum over labels is constant"
    return "never" if report.minimum == "vertex" else "none (see below)"


def _calibrated(report: Report) -> str:
    found = report.calibration
    if found is None:
        return "not checked: no single minimiser, or the loss cannot be computed for three classes"
    how = "by its shape" if found.proven else "numerical, 3 classes"
    if not found.top:
        return f"no: the minimiser's largest probability is not always the likeliest class's ({how})"
    order = "ranks all classes" if found.ranks else "keeps the likeliest class, not the rank of the others"
    return f"yes: the minimiser {order} ({how})"


def _excess(report: Report) -> str:
    if report.excess_risk_factor is None:
        return "no bound known (one is derived for completely asymmetric l(p_y))"
    return (
        f"0-1 excess <= {report.excess_risk_factor:.4g} * its own excess: K / (l(0) - l(1)), derived; "
        "the paper's 2 is for K = 2"
    )


def _gradient(report: Report) -> str:
    found = report.gradient_at_initialisation
    return "; ".join(f"{value:.3g} at K = {K}, {value / (1 - 1 / K):.2g} of CE's" for K, value in found.items())


def _grid(verdicts: tuple[Verdict, ...]) -> list[str]:
    columns = sorted({v.num_classes for v in verdicts})
    rows: dict[tuple[str, float | None], list[Verdict]] = {}
    for v in verdicts:
        rows.setdefault((v.noise, v.rate), []).append(v)
    head = "noise".ljust(15) + "".join(f"K = {K}: w_m/w_n, verdict".ljust(51) for K in columns)
    body = [
        f"{noise} {rate}".ljust(15) + "".join(f"{_number(v.ratio):<7}{_verdict(v)}".ljust(51) for v in row)
        for (noise, rate), row in rows.items()
    ]
    return [line.rstrip() for line in (head, *body)]


def _verdict(v: Verdict) -> str:
    word = "tolerant" if v.tolerant else "not"
    margin = "" if v.margin is None else f", {v.margin:.4g}x the boundary"
    inside = "" if v.tolerant or v.true_class is None else f", p(true) {_near_one(v.true_class)}"
    return word + margin + inside


def _near_one(p: float) -> str:
    return f"{p:.3f}" if p < 0.9995 else f"1 - {1 - p:.0e}"


def _curve(weights: tuple[tuple[float, float], ...]) -> list[str]:
    shown = weights[1:-1:2]
    largest = max(weight for _, weight in shown) or 1.0
    return [f"  p {p:<6g}{weight:<9.3g}{'#' * round(BAR * weight / largest)}" for p, weight in shown]
