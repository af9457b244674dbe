"""Rows against each other: the tests are SciPy's, Holm's correction is its paper's, the marks are where they belong."""

import csv
import io
import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from support import made_up
from support.command import Ended

from labelnoise.records import store
from labelnoise.tables import significance
from labelnoise.tables.comparison import Result
from labelnoise.tables.significance import BEST, Test

PERCENT = st.integers(0, 3600).map(lambda right: 100 * (right / 3600))
Test.__test__ = False  # it is no test of pytest's


def result(row: str, *values: float, seeds: tuple[int, ...] = (1, 2, 3), labels: str | None = "x") -> Result:
    seeds = seeds[: len(values)]
    hashes = tuple(None if labels is None else f"{labels}{seed}" for seed in seeds)
    return Result(row, "clean", values, ("",) * len(values), None, (), seeds, hashes)


@settings(deadline=None)
@given(st.lists(st.tuples(PERCENT, PERCENT), min_size=2, max_size=9))
def test_paired_is_scipys(pairs: list[tuple[float, float]]) -> None:
    ours, theirs = zip(*pairs, strict=True)
    differences = np.round(np.subtract(ours, theirs), 6)
    if len(set(differences)) == 1:
        expected = 1.0 if differences[0] == 0 else 0.0
    else:
        expected = stats.ttest_rel(ours, theirs).pvalue
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert significance.paired(ours, theirs) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_paired_by_hand() -> None:
    """Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) = 3.464 with two degrees of freedom; p = 1 - t / sqrt(2 + t^2)."""
    t = 12**0.5
    assert significance.paired([11, 22, 33], [10, 20, 30]) == pytest.approx(1 - t / (2 + t * t) ** 0.5)


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x .005, 3 x .01, 2 x .03, and .04 no less than that
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
        ([0.02, 0.02], [0.04, 0.04]),
    ],
)
def test_holm_by_hand(p: list[float], adjusted: list[float]) -> None:
    assert significance.holm(p) == pytest.approx(adjusted)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_step_by_step(p: list[float], level: float) -> None:
    """As in the paper: the smallest p first, until one is not below level / (number left)."""
    rejected = set()
    for place in sorted(range(len(p)), key=p.__getitem__):
        if p[place] * (len(p) - len(rejected)) >= level:
            break
        rejected.add(place)
    assert {place for place, q in enumerate(significance.holm(p)) if q < level} == rejected


@pytest.mark.parametrize(
    ("other", "is_paired"),
    [
        (result("b", 70, 75, 71), True),
        (result("b", 70, 75, 71, labels="y"), False),
        (result("b", 70, 75, 71, labels=None), False),
        (result("b", 70, 75, 71, seeds=(4, 5, 6)), False),
        (result("b", 70, 75), False),
    ],
    ids=["alike", "other labels", "labels not recorded", "other seeds", "a seed is missing"],
)
def test_paired_where_seeds_and_labels_are_the_same(other: Result, is_paired: bool) -> None:
    best = result("a", 80.0, 81.0, 83.0, labels="x" if other.labels[0] else None)
    test = significance.tests_against([other, best], BEST, False)["b", "clean"]
    expected = stats.ttest_rel if is_paired else partial(stats.ttest_ind, equal_var=False)
    assert (test.against, test.paired) == ("a", is_paired)
    assert test.p == pytest.approx(expected(best.values, other.values).pvalue)


def test_every_row_is_tested_against_the_best_or_the_named_one_in_each_column() -> None:
    a, b, c = result("a", 80, 81, 83), result("b", 70, 75, 71), result("c", 79, 82, 82)
    one, none = result("one", 99), Result("none", "clean", (), (), None)
    worse = a._replace(column="sym", values=(20.0, 21.0, 23.0))
    tests = significance.tests_against([a, b, c, none, worse, b._replace(column="sym")], BEST, False)
    places = {place: test.against for place, test in tests.items()}
    assert places == {("b", "clean"): "a", ("c", "clean"): "a", ("a", "sym"): "b"}
    named = significance.tests_against([a, b, c, one, none], "b", True)
    assert list(named) == [("a", "clean"), ("c", "clean")]
    smaller, larger = sorted(stats.ttest_rel(row.values, b.values).pvalue for row in (a, c))
    assert sorted(test.p for test in named.values()) == pytest.approx([2 * smaller, max(2 * smaller, larger)])
    assert significance.tests_against([a, b, one], BEST, False) == {}, "the best, one, has a single seed"


# ------------------------------------------------------------------------------------------------------ the command

CHOICE = ["table=digits", "table.rows=[ce,mae,gce]", "table.columns=[sym_0.4]"]
ACCURACY = {"ce": (0.50, 0.52, 0.55), "mae": (0.70, 0.72, 0.74), "gce": (0.69, 0.72, 0.72)}


@pytest.fixture
def show(labelnoise: Callable[..., Ended], tmp_path: Path, monkeypatch) -> Callable[..., Ended]:
    """`labelnoise table` with three rows of three seeds; the third of gce was trained on other labels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for loss, values in ACCURACY.items():
        for seed, accuracy in enumerate(values, start=1):
            record = made_up.record(
                ["dataset=digits", f"loss={loss}", "noise=sym", "rate=0.4", f"seed={seed}"], accuracy
            )
            record["noise"]["label_hash"] = f"{seed + 7 * (loss == 'gce' and seed == 3):016x}"
            store.write(record, tmp_path / "runs")
    return partial(labelnoise, "table", *CHOICE, f"results={tmp_path / 'runs'}")


def test_the_command_marks_and_says_which_test(show: Callable[..., Ended]) -> None:
    p = {
        "ce": stats.ttest_rel(ACCURACY["ce"], ACCURACY["mae"]).pvalue,
        "gce": stats.ttest_ind(ACCURACY["gce"], ACCURACY["mae"], equal_var=False).pvalue,
    }
    assert p["ce"] < 0.025 < 0.05 < p["gce"]
    entries = {entry["row"]: entry for entry in json.loads(show("test=best", "format=json").out)}
    lines = {line["row"]: line for line in csv.DictReader(io.StringIO(show("test=best", "format=csv").out))}
    for row, kind in (("ce", "paired t-test"), ("gce", "Welch's t-test")):
        assert (entries[row]["against"], entries[row]["against_test"]) == ("mae", kind)
        assert entries[row]["against_p"] == pytest.approx(p[row], abs=1e-6)
        assert (lines[row]["against"], float(lines[row]["against_p"])) == ("mae", entries[row]["against_p"])
    assert entries["mae"]["against"] is None
    assert lines["mae"]["against_p"] == ""
    corrected = {entry["row"]: entry for entry in json.loads(show("test=best", "correction=holm", "format=json").out)}
    assert corrected["ce"]["against_p"] == pytest.approx(2 * p["ce"], abs=1e-6)
    assert "against" not in json.loads(show("format=json").out)[0]
    out = show("test=best", "correction=holm").out
    assert [line.count("‡") for line in out.splitlines() if line.startswith("| `")] == [1, 0, 0]
    said = (
        "‡ Two-sided p &lt; 0.05 against the best of its column (1 of 2 cells that can be tested): paired t-test over "
        "seeds (1) or Welch's t-test (1), with Holm's correction over the tests of a column. The same results chose"
    )
    assert said in out
    assert "format=markdown test=best correction=holm`" in out
    page = show("test=mae", "format=html").out
    assert page.count("(3) ‡") == 1
    assert "against mae in its column" in page
    latex = show("test=best", "format=latex").out
    assert r"ce & 52.33 $\pm$ 2.52$^{\ddagger}$ \\" in latex
    assert r"$^{\ddagger}$ Two-sided p \textless{} 0.05" in latex.partition(r"\caption")[2]
    assert "No cell can be tested" in show("test=best", "table.seeds=[1]").out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["test=bets"], "test=bets: must be best or a row of the table: ce, gce, mae"),
        (["correction=holm"], "correction=holm: needs tests to correct, test=best or test=ROW"),
        (["test=best", "correction=bonferroni"], "correction=bonferroni: must be holm"),
    ],
)
def test_mistakes_are_one_line(show: Callable[..., Ended], arguments: list[str], said: str) -> None:
    ended = show(*arguments)
    assert (ended.code, ended.out, ended.err) == (1, "", f"error: {said}\n")
