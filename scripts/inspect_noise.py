"""Show what a noise does to a data set's labels, and write them to a file if asked. Takes train.py's overrides.

python scripts/inspect_noise.py dataset=cifar10 noise=asym rate=0.4 seed_noise=7 out=labels.npy

The last line is one JSON object: rate, realised_rate, transition (rows: true class; fractions), label_hash.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from labelnoise.cli.errors import script
from labelnoise.experiment.check import check
from labelnoise.experiment.metrics import noise_facts
from labelnoise.experiment.run import compose, inject
from labelnoise.files.atomic import write_whole

WHOLE = 12  # classes up to which the matrix fits on a screen
SHOWN = 6  # otherwise: the classes that a class becomes most often


def matrix(T: np.ndarray, classes: tuple[str, ...]) -> Table:
    """The transition matrix (C, C), rows the true class; zeros as dots."""
    table = Table("true \\ noisy", *(f"{k}" for k in range(len(classes))), box=None)
    for c, row in enumerate(T):
        table.add_row(f"{c} {classes[c]}", *(f"{value:.3f}" if value else "." for value in row))
    return table


def largest(T: np.ndarray, classes: tuple[str, ...]) -> Table:
    """The largest entries of each row of the transition matrix (C, C)."""
    table = Table("true", *("noisy" for _ in range(min(SHOWN, int((T > 0).sum(axis=1).max())))), box=None)
    for c, row in enumerate(T):
        order = [k for k in np.argsort(-row, kind="stable")[:SHOWN] if row[k] > 0]
        table.add_row(f"{c} {classes[c]}", *(f"{classes[k]} {row[k]:.3f}" for k in order))
    return table


def inspect_noise(arguments: list[str]) -> None:
    """Print the table and the JSON line; write `out=`."""
    overrides = [a for a in arguments if not a.startswith("out=")]
    out = next((a.removeprefix("out=") for a in arguments if a.startswith("out=")), None)
    if out is not None and not out.endswith(".npy"):
        raise ValueError(f"out={out}: must end in .npy")
    cfg = compose(overrides)
    check(cfg)
    dataset, noisy_labels = inject(cfg)
    facts = noise_facts(dataset.true_labels, noisy_labels, dataset.num_classes, cfg.seed_noise)
    counts = np.array(facts["transition"])
    T = counts / counts.sum(axis=1, keepdims=True)
    table = matrix(T, dataset.classes) if dataset.num_classes <= WHOLE else largest(T, dataset.classes)
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(table)
    console.print(f"{facts['realised_rate']:.2%} of {len(noisy_labels):,} labels are wrong; hash {facts['label_hash']}")
    if out is not None:
        buffer = io.BytesIO()
        np.save(buffer, noisy_labels.numpy())
        write_whole(Path(out), buffer.getvalue())
        console.print(f"{out} written: use it with noise=file noise.path={out}")
    line = {
        "rate": cfg.get("rate"),
        "realised_rate": facts["realised_rate"],
        "transition": [[round(float(value), 6) for value in row] for row in T],
        "label_hash": facts["label_hash"],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    script(inspect_noise, __doc__)
