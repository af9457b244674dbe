"""Show what a noise does to a data set's labels, and write them to a file if asked. Takes train's options.

labelnoise noise dataset=cifar10 noise=asym rate=0.4
labelnoise noise dataset=cifar10 noise=asym rate=0.4 seed_noise=7 out=labels.npy   # the noisy labels, for noise=file
labelnoise noise dataset=cifar10 noise=asym rate=0.4 dataset.imbalance=100         # in a long tail
labelnoise noise dataset=cifar100 noise=sym rate=0.4 out=matrix.csv                # the transition matrix

Shows the whole transition matrix for up to 12 classes, otherwise its range and the most frequent confusions. The last
line is a JSON object: rate, realised_rate, label_hash and, up to 12 classes, transition (rows: true class; fractions).
"""

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.files.atomic import write_whole
from labelnoise.files.csv_text import csv_text

if TYPE_CHECKING:  # torch takes a second to import, and --help does not need it
    import numpy as np
    from rich.table import Table
    from torch import Tensor

WHOLE = 12  # a matrix of up to this many classes fits on a screen
SHOWN = 10  # confusions shown of a larger matrix


def noise(arguments: list[str]) -> None:
    """Print the matrix or its summary and the JSON line; write `out=`.

    Raises:
        ValueError: an option is wrong, or out= ends neither in .npy nor in .csv.
        OSError: the data cannot be read, or out= not written.
    """
    import numpy as np
    from rich.console import Console

    from labelnoise.experiment.assemble import for_file, load_noisy
    from labelnoise.experiment.metrics import noise_facts
    from labelnoise.experiment.notices import notices

    given, overrides = split_named(arguments, "out")
    out = given.get("out")
    if out is not None and not out.endswith((".npy", ".csv")):
        raise ValueError(f"out={out}: must end in .npy, for the noisy labels, or .csv, for the transition matrix")
    cfg = compose(overrides)
    check(cfg)
    dataset, labels = load_noisy(cfg, imprecise=True)
    facts = noise_facts(dataset.true_labels, labels, dataset.num_classes, cfg.seed_noise)
    T = None
    if facts["transition"] is not None:
        counts = np.array(facts["transition"])
        T = counts / counts.sum(axis=1, keepdims=True).clip(1)
    if out is not None and out.endswith(".csv") and T is None:
        raise ValueError(f"out={out}: dataset={dataset.name} has no true labels, so its transition matrix is unknown")
    console = Console(width=None if sys.stdout.isatty() else 160)
    whole = dataset.num_classes <= WHOLE
    if T is not None:
        console.print(matrix(T, dataset.classes) if whole else confusions(T, dataset.classes))
        if not whole:
            others = ((T > 0) & ~np.eye(len(T), dtype=bool)).sum(axis=1)
            span = f"{others.min()} to {others.max()}"
            console.print(f"each class gets {span} other labels; out=matrix.csv writes the whole matrix")
    print("\n".join(notices(cfg, dataset, facts)))
    if out is not None:
        write_whole(
            Path(out), _labels(for_file(cfg, dataset, labels)) if out.endswith(".npy") else _csv(T, dataset.classes)
        )
        print(f"{out} written" + (f": use it with noise=file noise.path={out}" if out.endswith(".npy") else ""))
    line = {"rate": cfg.get("rate"), "realised_rate": facts["realised_rate"], "label_hash": facts["label_hash"]}
    line |= {key: facts[key] for key in ("imprecise_share",) if key in facts}
    if whole:
        line["transition"] = None if T is None else [[round(float(value), 6) for value in row] for row in T]
    print(json.dumps(line))


def matrix(T: "np.ndarray", classes: tuple[str, ...]) -> "Table":
    """The transition matrix (C, C), rows the true class; zeros as dots."""
    from rich.table import Table

    table = Table("true \\ noisy", *(f"{k}" for k in range(len(classes))), box=None)
    for c, row in enumerate(T):
        table.add_row(f"{c} {classes[c]}", *(f"{value:.3f}" if value else "." for value in row))
    return table


def confusions(T: "np.ndarray", classes: tuple[str, ...]) -> "Table":
    """The largest entries of the transition matrix (C, C) outside its diagonal, largest first."""
    from rich.table import Table

    pairs = sorted((-T[c, k], c, k) for c in range(len(T)) for k in range(len(T)) if k != c)
    table = Table("share", "true", "noisy", box=None, title="most frequent confusions", title_justify="left")
    for share, c, k in pairs[:SHOWN]:
        if share:
            table.add_row(f"{-share:.3f}", f"{c} {classes[c]}", f"{k} {classes[k]}")
    return table


def _labels(labels: "Tensor") -> bytes:
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, labels.numpy())
    return buffer.getvalue()


def _csv(T: "np.ndarray | None", classes: tuple[str, ...]) -> bytes:
    """The matrix with class names as row and column headings."""
    assert T is not None
    rows = [[name, *(f"{value:.6f}" for value in row)] for name, row in zip(classes, T, strict=True)]
    return csv_text([["true \\ noisy", *classes], *rows]).encode()
