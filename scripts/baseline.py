"""The accuracy of plain cross-entropy under the same noise, in one line, for comparison. Takes train's options.

python scripts/baseline.py dataset=digits noise=sym rate=0.4
"""

import sys

from labelnoise.cli.errors import guard
from labelnoise.experiment.run import compose, run


def baseline(overrides: list[str]) -> None:
    """Train with loss=ce instead of the overrides' loss, and print the accuracies."""
    record = run(compose([o for o in overrides if not o.startswith("loss")] + ["loss=ce"]), quiet=True)
    metrics = record["metrics"]
    print(
        f"plain cross-entropy under the same noise: last epoch {metrics['test_acc_last']:.2%}, "
        f"best {metrics['test_acc_best']:.2%} (an oracle)"
    )


if __name__ == "__main__":
    guard(lambda: baseline(sys.argv[1:]), sys.argv[1:])
