"""The smallest a at which AGCE, AUL or AEL tolerates a noise.

Source: the closed forms of the asymmetry ratio (Zhou et al. 2021, arXiv:2106.03110, section 3.3), solved for a. Taking
the smallest is our choice: as a grows, all three become linear in p_y like MAE, which learns slowly, and the theory
needs no larger a.
"""

from math import ceil, expm1, floor, inf, isfinite, log, log10

from labelnoise.theory import closed_forms

LOSSES = ("agce", "aul", "ael")  # that have an a
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
    if loss not in LOSSES:
        raise ValueError(f"the smallest a is known for agce, aul and ael, not {loss}")
    if not ratio > 1 or not isfinite(ratio):
        raise ValueError(
            f"no a is tolerant of noise with w_m / w_n = {ratio:.4g}; it must be above 1 and finite, "
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
        raise ValueError(f"no a can be computed for {loss} with q={q} at w_m / w_n = {ratio:.6g}")
    return a


def critical_ratio(loss: str, a: float, q: float | None) -> float:
    """1 / r of agce, aul or ael in closed form."""
    if loss == "ael" or q is None:
        return 1 / closed_forms.ael(a)
    r = (closed_forms.agce if loss == "agce" else closed_forms.aul)(a, q)
    return 1 / r if r else inf


def smallest_in_short(loss: str, q: float | None, ratio: float) -> str:
    """One line on the smallest tolerant a, or on why there is none. Args: as `smallest_a`."""
    try:
        a = smallest_a(loss, q, ratio)
    except ValueError as error:
        return str(error)
    with_q = "" if loss == "ael" else f" with q={q:g}"
    return f"the smallest tolerant a{with_q} is {a:g}: it needs w_m/w_n >= {critical_ratio(loss, a, q):.6g}"
