"""The smallest a at which AGCE, AUL or AEL tolerates a noise: the value of `loss.a=auto`.

Source: the closed forms of the asymmetry ratio (Zhou et al. 2021, arXiv:2106.03110, section 3.3), solved for a. Taking
the smallest is our choice: as a grows, all three become linear in p_y like MAE, which learns slowly, and the theory
needs no larger a.
"""

from math import ceil, expm1, floor, inf, isfinite, log, log10

from labelnoise.theory import closed_forms
from labelnoise.theory.noise_ratios import kind_of, noise_ratio

DIGITS = 4  # significant digits of the returned a, which is rounded up so that it stays tolerant
TINY = 1e-300  # the a of AGCE where the exact one is below what a float holds


def smallest_a(loss: str, q: float | None, ratio: float) -> float:
    """The smallest legal a, rounded up to four digits, whose critical ratio 1 / r is at most `ratio`.

    AGCE, q < 1: a >= 1 / (ratio^(1 / (1 - q)) - 1); q >= 1: every a >= 0, so 0.
    AUL, q > 1: a >= 1 / (1 - ratio^(-1 / (q - 1))); q <= 1: every a >= 1, so 1.
    AEL: a >= 1 / log(ratio).

    Args:
        loss: agce, aul or ael.
        q: the loss's q; None for ael.
        ratio: w_m / w_n of the noise, above 1.
    Raises:
        ValueError: the loss is another one, q is missing, or no a exists for this ratio.
    """
    if loss not in ("agce", "aul", "ael"):
        raise ValueError(f"loss.a=auto: for agce, aul and ael, not {loss}")
    if not ratio > 1 or not isfinite(ratio):
        raise ValueError(
            f"loss.a=auto: no a is tolerant of noise with w_m / w_n = {ratio:.4g}; it must be above 1 and finite, "
            "the true label likelier than any other"
        )
    if loss != "ael" and (q is None or not q > 0):
        raise ValueError(f"loss.q={q}: must be a number above 0")
    return _rounded_up(loss, q, ratio, _exact(loss, q, log(ratio)))


def _exact(loss: str, q: float | None, log_ratio: float) -> float:
    if loss == "ael" or q is None:
        return 1 / log_ratio
    if loss == "agce":
        return 0.0 if q >= 1 else TINY if log_ratio / (1 - q) > 690 else 1 / expm1(log_ratio / (1 - q))
    return 1.0 if q <= 1 else 1 / -expm1(-log_ratio / (q - 1))


def _rounded_up(loss: str, q: float | None, ratio: float, exact: float) -> float:
    if loss != "ael" and critical_ratio(loss, exact, q) == 1:
        return exact
    unit = 10.0 ** (floor(log10(exact)) + 1 - DIGITS)
    a = ceil(exact / unit) * unit
    a = float(f"{a if critical_ratio(loss, a, q) <= ratio else a + unit:.{DIGITS}g}")
    if not critical_ratio(loss, a, q) <= ratio:
        raise ValueError(f"loss.a=auto: no a can be computed for {loss} with q={q} at w_m / w_n = {ratio:.6g}")
    return a


def critical_ratio(loss: str, a: float, q: float | None) -> float:
    """1 / r of agce, aul or ael in closed form."""
    if loss == "ael" or q is None:
        return 1 / closed_forms.ael(a)
    r = (closed_forms.agce if loss == "agce" else closed_forms.aul)(a, q)
    return 1 / r if r else inf


def resolve(loss: str, q: float | None, noise: str, rate: float, num_classes: int) -> tuple[float, str]:
    """The value of `loss.a=auto`, and a line that reports it.

    Args:
        loss: agce, aul or ael. q: its q; None for ael.
        noise: the noise's name, as in `noise=` or its function's. rate: its rate. num_classes: C.
    Raises:
        ValueError: the noise has no nominal transition matrix, or no a exists for its ratio; one line.
    """
    if kind_of(noise) is None:
        name = noise.rsplit(".", 1)[-1]
        raise ValueError(f"loss.a=auto: needs noise=sym, asym or pairflip, whose matrix is known; not {name}")
    ratio = noise_ratio(noise, rate, num_classes)
    a = smallest_a(loss, q, ratio)
    critical = critical_ratio(loss, a, q)
    with_q = "" if loss == "ael" else f" with q={q:g}"
    return a, (
        f"loss.a=auto: a={a:g}, the smallest{with_q} that theory calls tolerant "
        f"(needs w_m/w_n >= {critical:.6g}, the noise has {ratio:.6g})"
    )
