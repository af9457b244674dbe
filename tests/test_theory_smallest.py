"""loss.a=auto: the smallest a that is tolerant, by its definition and against the closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelnoise.theory.auto import critical_ratio, resolve, smallest_a

from labelnoise import losses
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
    with pytest.raises(ValueError, match=r"^loss\.a=auto: no a is tolerant"):
        smallest_a("agce", 0.6, ratio)


def test_resolve_says_what_was_chosen_and_why() -> None:
    a, line = resolve("agce", 0.6, "labelnoise.noise.asymmetric.asymmetric", 0.4, 10)
    assert a == 0.5696
    assert line.startswith("loss.a=auto: a=0.5696, the smallest with q=0.6")
    assert "needs w_m/w_n >= 1.49999, the noise has 1.5" in line
    assert resolve("ael", None, "sym", 0.8, 10)[0] == pytest.approx(1 / math.log(2.25), abs=1e-3)
    assert resolve("ael", None, "sym", 0.8, 100)[0] == pytest.approx(1 / math.log(24.75), abs=1e-3)


@pytest.mark.parametrize(
    ("noise", "rate", "expected"),
    [
        ("labelnoise.noise.given.given", 0.0, "needs noise=sym, asym or pairflip"),
        ("labelnoise.noise.human.human", 0.0, "needs noise=sym, asym or pairflip"),
        ("mine.symmetric", 0.4, "needs noise=sym, asym or pairflip"),
        ("instance", 0.4, "needs noise=sym, asym or pairflip"),
        ("sym", 0.9, "no a is tolerant of noise with w_m / w_n = 1"),
        ("pairflip", 0.5, "no a is tolerant of noise with w_m / w_n = 1"),
        ("asym", 0.0, "no a is tolerant"),
    ],
)
def test_noise_without_an_a_is_refused(noise: str, rate: float, expected: str) -> None:
    with pytest.raises(ValueError, match=f"^loss.a=auto: {expected}"):
        resolve("agce", 0.6, noise, rate, 10)


def test_other_losses_have_no_auto() -> None:
    with pytest.raises(ValueError, match=r"^loss\.a=auto: for agce, aul and ael, not ce$"):
        resolve("ce", None, "sym", 0.4, 10)
