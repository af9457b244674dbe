"""Does bfloat16 cost accuracy? The same seeds in float32 and bfloat16, paired. Takes train's options and seeds=N.

python scripts/parity.py dataset=digits noise=sym rate=0.4 loss=nce_agce seeds=10

Prints each pair, then the mean difference of the last test accuracy, bfloat16 - float32, with its 95% t interval.
Finished runs are not repeated, so an interrupted comparison resumes.
"""

import math
import statistics
import sys

from scipy.stats import t

from labelnoise.cli.errors import guard
from labelnoise.experiment.run import compose, run


def interval(differences: list[float]) -> tuple[float, float]:
    """Mean and half width of the 95% t interval of paired differences; the half width is infinite for one pair."""
    count = len(differences)
    if count < 2:
        return differences[0], math.inf
    half = float(t.ppf(0.975, count - 1)) * statistics.stdev(differences) / math.sqrt(count)
    return statistics.mean(differences), half


def parity(arguments: list[str]) -> None:
    """Run both precisions for each seed and compare."""
    counts = [a.removeprefix("seeds=") for a in arguments if a.startswith("seeds=")]
    count = counts[-1] if counts else "5"
    if not count.isdigit() or int(count) < 1:
        raise ValueError(f"seeds={count}: must be a whole number, at least 1")
    overrides = [a for a in arguments if not a.startswith("seeds=")]
    differences = []
    for seed in range(1, int(count) + 1):
        narrow, wide = (
            100 * run(compose([*overrides, f"seed={seed}", f"precision={p}"]), quiet=True)["metrics"]["test_acc_last"]
            for p in ("bfloat16", "float32")
        )
        differences.append(narrow - wide)
        print(f"seed {seed}: bfloat16 {narrow:.2f}  float32 {wide:.2f}  difference {narrow - wide:+.2f}", flush=True)
    mean, half = interval(differences)
    print(f"{' '.join(overrides)}: {mean:+.2f} ± {half:.2f} points (95% t interval, {count} pairs)")


if __name__ == "__main__":
    guard(lambda: parity(sys.argv[1:]), sys.argv[1:])
