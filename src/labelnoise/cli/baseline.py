"""What plain cross-entropy gets under the same noise: one line beside another run. Takes train's options.

labelnoise baseline dataset=digits noise=sym rate=0.4
"""

from labelnoise.experiment.run import compose, run


def baseline(overrides: list[str]) -> None:
    """Train with loss=ce, whatever loss the overrides name, and print its accuracies."""
    record = run(compose([o for o in overrides if not o.startswith("loss")] + ["loss=ce"]), quiet=True)
    metrics = record["metrics"]
    print(
        f"plain cross-entropy under the same noise: last epoch {metrics['test_acc_last']:.2%}, "
        f"best {metrics['test_acc_best']:.2%} (an oracle)"
    )
