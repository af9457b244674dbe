"""Methods that abstain: the risk-coverage curve, the threshold of held-out images, and what the record has of them."""

import json
from pathlib import Path

import pytest
import torch

from labelnoise.estimates.risk_coverage import LEVELS, risk_coverage, threshold


def test_the_curve_is_the_error_of_the_least_abstained_images() -> None:
    """Beside a sort, as in the evaluation released with arXiv:1907.00208."""
    draw = torch.Generator().manual_seed(0)
    abstention, wrong = torch.rand(997, generator=draw), torch.rand(997, generator=draw) < 0.3
    ordered = [bool(w) for _, w in sorted(zip(abstention.tolist(), wrong.tolist(), strict=True))]
    expected = [sum(ordered[: round(level * 997)]) / round(level * 997) for level in LEVELS]
    assert risk_coverage(abstention, wrong) == pytest.approx(expected)
    perfect = risk_coverage(wrong.double(), wrong)
    assert perfect[:13] == [0.0] * 13
    assert perfect[-1] == pytest.approx(float(wrong.double().mean()))


@pytest.mark.parametrize("coverage", [0.05, 0.5, 0.81, 1.0])
def test_the_threshold_gives_the_asked_coverage(coverage: float) -> None:
    abstention = torch.rand(200, generator=torch.Generator().manual_seed(1))
    assert int((abstention <= threshold(abstention, coverage)).sum()) == round(200 * coverage)


def test_a_record_has_the_curve_and_what_the_threshold_of_held_out_images_predicts(labelnoise, tmp_path: Path) -> None:
    options = ["dataset=digits", "noise=sym", "rate=0.4", "method=kd_gambler", "method.coverage=0.6", "epochs=4"]
    said = labelnoise("train", *options, "num_val=300", f"results={tmp_path}")
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    metrics = record["metrics"]
    assert metrics["risk_coverage"][-1] == pytest.approx(1 - metrics["test_acc_last"], abs=1e-5)
    assert metrics["coverage"] == pytest.approx(0.6, abs=0.12), "held-out and test images are alike"
    assert metrics["selective_acc"] > metrics["test_acc_last"]
    predicted, right = metrics["coverage"], metrics["selective_acc"]
    assert f"; it predicts {predicted:.2%} of the test images, {right:.2%} of them rightly" in said.out


@pytest.mark.parametrize(("chosen", "abstains"), [("loss=gambler", True), ("loss=ce", False)])
def test_only_what_abstains_has_a_curve(chosen: str, abstains: bool, train, tmp_path: Path) -> None:
    train("dataset=digits", chosen, "epochs=1", "num_val=100", f"results={tmp_path}")
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert ("risk_coverage" in record["metrics"]) == abstains
    assert "coverage" not in record["metrics"], "no share was asked for"
