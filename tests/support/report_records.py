"""Records made up for the tests of the report: whole, quick to make, of as many epochs as asked."""

import base64
import copy
import gzip
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

from labelnoise.config.identity import effective, run_id
from labelnoise.experiment.run import compose

MARKUP = "<img src=x onerror=\"document.title='hostile'\"></script><script>document.title='hostile'</script>"


def made_up(overrides: tuple[str, ...] = (), epochs: int = 20, classes: int = 10) -> dict[str, Any]:
    """A record of the run that the overrides compose, with curves that a formula gives."""
    return copy.deepcopy(dress(_composed(overrides), epochs, classes))


@cache
def _composed(overrides: tuple[str, ...]) -> dict[str, Any]:
    return effective(compose(list(overrides)))


def dress(config: dict[str, Any], epochs: int, classes: int = 10) -> dict[str, Any]:
    """A record of a configuration; its numbers depend on the seed alone."""
    seed = config["seed_init"]
    rise = [round(0.9 - 0.6 * math.exp(-(t + 1) / (3 + seed % 5)) - 0.0001 * (seed % 97), 4) for t in range(epochs)]
    right = [[60 if i == j else 4 for j in range(classes)] for i in range(classes)]
    return {
        "run_id": run_id(config),
        "config": config,
        "noise": {"realised_rate": 0.375, "transition": right, "label_hash": f"{seed:016x}", "seed": seed},
        "metrics": {
            "test_acc_last": rise[-1],
            "test_acc_best": max(rise),
            "test_acc_last10": rise[-1],
            "test_acc_val": None,
            "oracle": ["test_acc_best"],
            "confusion": right,
        },
        "history": {
            "train_loss": [round(2 - v, 4) for v in rise],
            "acc_clean": rise,
            "acc_wrong_given": [round(0.8 - v / 2, 4) for v in rise],
            "acc_wrong_true": [round(v / 2, 4) for v in rise],
            "test_acc": rise,
        },
        "environment": {
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "dirty": False,
            "versions": {"torch": "2.11.0"},
            "processor": "a processor",
            "device": "cpu",
            "precision": "float32",
            "threads": 1,
            "seconds": 10.0 + seed,
            "finished": "2026-01-01T00:00:00Z",
        },
    }


def write_many(folder: Path, number: int, epochs: int, classes: int = 10) -> None:
    """That many records of one table's data set and of seeds that no table has, as if of a long sweep."""
    config = effective(compose(["dataset=digits", "noise=sym", "rate=0.4", f"epochs={epochs}"]))
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(1000, 1000 + number):
        one = copy.deepcopy(config) | dict.fromkeys(("seed_noise", "seed_init", "seed_data"), seed)
        record = dress(one, epochs, classes)
        (folder / f"{record['run_id']}.json").write_text(json.dumps(record))


def part_of(page: str, name: str) -> str:
    """A part of a page's data, compressed."""
    return page.partition(f'<script type="text/plain" id="{name}">')[2].partition("</script>")[0]


def content_of(page: str) -> dict[str, Any]:
    """The data that a page holds, unpacked, each run with its details."""

    def unpacked(name: str) -> Any:
        return json.loads(gzip.decompress(base64.b64decode(part_of(page, name))))

    data = unpacked("data")
    details = [run for part in range(page.count('id="details-')) for run in unpacked(f"details-{part}")]
    return data | {"runs": [run | own for run, own in zip(data["runs"], details, strict=True)]}
