"""Selective prediction: how wrong a method is on the images that it does not abstain from."""

from torch import Tensor

LEVELS = tuple(k / 20 for k in range(1, 21))


def risk_coverage(abstention: Tensor, wrong: Tensor) -> list[float]:
    """The share of wrong predictions among the round(c N) images with the smallest abstention, for each c of LEVELS.

    Shapes: (N,), (N,) bool.
    Source: El-Yaniv, Wiener 2010, the risk-coverage curve; as in the evaluation released with arXiv:1907.00208.
    """
    ordered = wrong[abstention.argsort(stable=True)].double().cumsum(dim=0)
    counts = [max(round(level * len(wrong)), 1) for level in LEVELS]
    return [float(ordered[count - 1]) / count for count in counts]


def threshold(abstention: Tensor, coverage: float) -> float:
    """The abstention up to which round(coverage N) of these images are predicted, or more where some are equal.

    Shapes: (N,).
    """
    return float(abstention.sort().values[max(round(coverage * len(abstention)), 1) - 1])
