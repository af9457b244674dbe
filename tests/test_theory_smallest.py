"""The smallest a that is tolerant, by its definition and against the closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelnoise import losses
from labelnoise.theory.smallest import critical_ratio, smallest_a, smallest_in_short
from labelnoise.theory.verdicts import gather

RATIOS = st.floats(1.001, 400)


@pytest.mark.parametrize(
    ("loss", "q", "expected"), [("agce", 0.6, 0.570), ("aul", 3.0, 5.45), ("ael", None, 1 / math.log(1.5))]
)
def test_smallest_a_at_asymmetric_40(loss: str, q: float | None, expected: float) -> None:
    a = smallest_a(loss, q, 1.5)
    assert a == pytest.approx(expected, abs=1e-3)
    letters = {"a": a} if q is None else {"a": a, "q": q}
    searched = gather(lambda logits, labels: getattr(losses, loss)(logits, labels, **letters), 10).critical
    assert searched <= 1.5
    assert searched == pytest.approx(1.5, abs=1e-3)


@given(loss=st.sampled_from(["agce", "aul", "ael"]), q=st.floats(0.05, 4), ratio=RATIOS)
def test_it_is_tolerant_and_a_little_less_is_not(loss: str, q: float, ratio: float) -> None:
    of = None if loss == "ael" else q
    a = smallest_a(loss, of, ratio)
    assert critical_ratio(loss, a, of) <= ratio
    completely = (loss == "agce" and q >= 1) or (loss == "aul" and q <= 1)
    if completely:
        assert a == (0 if loss == "agce" else 1), "the smallest that is legal"
    elif a > (1.01 if loss == "aul" else 1e-290):
        assert critical_ratio(loss, a * (1 - 2e-3), of) > ratio


@pytest.mark.parametrize("ratio", [1.0, 0.5, math.inf, math.nan])
def test_no_a_exists(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"^no a is tolerant"):
        smallest_a("agce", 0.6, ratio)


def test_one_line_says_what_it_needs_or_that_there_is_none() -> None:
    said = "the smallest tolerant a with q=0.6 is 0.5696: it needs w_m/w_n >= 1.49999"
    assert smallest_in_short("agce", 0.6, 1.5) == said
    assert smallest_in_short("ael", None, 2.25) == "the smallest tolerant a is 1.234: it needs w_m/w_n >= 2.24875"
    assert smallest_in_short("ael", None, 1.0).startswith("no a is tolerant of noise with w_m / w_n = 1;")
    assert smallest_in_short("agce", -1.0, 1.5) == "loss.q=-1.0: must be a number above 0"


def test_other_losses_have_none() -> None:
    with pytest.raises(ValueError, match=r"^the smallest a is known for agce, aul and ael, not ce$"):
        smallest_a("ce", None, 1.5)
