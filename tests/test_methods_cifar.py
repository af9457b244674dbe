"""Every method on 2,000 real CIFAR-10 images for two epochs."""

from pathlib import Path

import pytest
from support.configs import TRUSTING, every
from support.data import real

from labelnoise.experiment.run import compose, run


@pytest.mark.slow
@real("cifar10")
@pytest.mark.parametrize("method", every("method"))
def test_every_method_trains_on_real_images(method: str, tmp_path: Path) -> None:
    """Two epochs teach it something: more than the 10% of guessing."""
    overrides = ["dataset=cifar10", "noise=sym", "rate=0.4", f"method={method}", "network=cnn4", "batch_size=64"]
    if method == "backward":  # the inverse of what a network estimates after its first epoch is too large to learn from
        overrides.append("method.transition=true")
    if method in TRUSTING:  # of the 2,000
        overrides.append("num_trusted=1000")
    short = ["num_val=48000", "epochs=2", "eval_every=2", "threads=1", f"results={tmp_path}"]
    record = run(compose([*overrides, *short]), quiet=True)
    assert [value is None for value in record["history"]["test_acc"]] == [True, False]
    assert record["metrics"]["test_acc_last"] > 0.15
    assert all(value is None or value == value for column in record["history"].values() for value in column)
