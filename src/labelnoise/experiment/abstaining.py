"""What a method that abstains reports after training: its risk-coverage curve, and the share that it predicts."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from labelnoise.training.evaluate import Labelled
    from labelnoise.training.loop import EvaluationData
    from labelnoise.training.method import Method


def selective(method: "Method", evaluation: "EvaluationData") -> dict[str, Any]:
    """Metrics of a method's abstention, fractions; empty if it never abstains.

    risk_coverage: the error on the test images that it abstains from least, for each share of
    `estimates.risk_coverage.LEVELS`. With held-out images: threshold, the abstention up to which `method.coverage` of
    them are predicted; coverage, the share of the test images that this threshold predicts; selective_acc, the accuracy
    on these (null if there are none).
    """
    from labelnoise.estimates.risk_coverage import risk_coverage, threshold

    scored = _scored(method, evaluation.test)
    if scored is None:
        return {}
    abstention, wrong = scored
    found: dict[str, Any] = {"risk_coverage": [round(error, 6) for error in risk_coverage(abstention, wrong)]}
    held_out = None if evaluation.val is None else _scored(method, evaluation.val)
    if held_out is not None and method.coverage < 1:
        limit = threshold(held_out[0], method.coverage)
        kept = abstention <= limit
        right = None if not kept.any() else round(float((~wrong[kept]).double().mean()), 6)
        share = round(float(kept.double().mean()), 6)
        found |= {"threshold": limit, "coverage": share, "selective_acc": right}
    return found


def _scored(method: "Method", data: "Labelled") -> "tuple[Tensor, Tensor] | None":
    """Each image's abstention and whether its prediction differs from its label; None if the method never abstains."""
    import torch

    from labelnoise.training.evaluate import batches

    method.eval()
    scores, wrong = [], []
    with torch.no_grad():
        for inputs, labels in batches(method, data):
            score = method.abstention(inputs)
            if score is None:
                return None
            scores.append(score)
            wrong.append(method.predict(inputs).argmax(dim=1) != labels)
    return torch.cat(scores).cpu(), torch.cat(wrong).cpu()
