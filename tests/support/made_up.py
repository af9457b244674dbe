"""Records that nobody trained: whole by the schema, with the id of their configuration."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labelnoise.config import identity
from labelnoise.config.compose import compose
from labelnoise.records import store

FACTS = {"commit": "0123456789abcdef", "dirty": False, "processor": "Test", "device": "cpu", "seconds": 60.0}
FACTS |= {"precision": "float32", "versions": {"torch": "2"}}


@functools.cache
def _config(overrides: tuple[str, ...]) -> str:
    """Composed once for all seeds."""
    seeds = [o for o in overrides if o.startswith(("seed=", "seed_noise="))]
    cfg = _composed(tuple(o for o in overrides if o not in seeds)).copy()
    for override in seeds:
        key, _, number = override.partition("=")
        cfg[key] = int(number)
    return json.dumps(identity.effective(cfg))


_composed = functools.cache(compose)


def record(overrides: list[str] | tuple[str, ...], accuracy: float = 0.5, **environment: Any) -> store.Record:
    """The record of the run that these overrides compose, with this accuracy."""
    config = json.loads(_config(tuple(overrides)))
    metrics = {"test_acc_last": accuracy, "test_acc_best": 0.99, "test_acc_last10": accuracy, "test_acc_val": None}
    return {
        "run_id": identity.run_id(config),
        "config": config,
        "noise": {"realised_rate": 0.4, "transition": [[6, 4], [4, 6]], "label_hash": "0" * 16, "seed": 1},
        "metrics": {**metrics, "oracle": ["test_acc_best"], "confusion": [[3, 1], [0, 4]]},
        "history": {"train_loss": [2.0, 1.0], "test_acc": [0.25, accuracy]},
        "environment": FACTS | environment,
    }


def write(folder: Path, overrides: list[str] | tuple[str, ...], accuracy: float = 0.5, **environment: Any) -> Path:
    """That record in a folder."""
    return store.write(record(overrides, accuracy, **environment), folder)


def _changed(part: str, key: str, value: object) -> Callable[[str], str]:
    def change(text: str) -> str:
        content = json.loads(text)
        content[part] = {**content[part], key: value}
        return json.dumps(content)

    return change


def _without(part: str, key: str = "") -> Callable[[str], str]:
    def change(text: str) -> str:
        content = json.loads(text)
        (content[part] if key else content).pop(key or part)
        return json.dumps(content)

    return change


# Ways in which the text of a record may be wrong.
BROKEN: dict[str, Callable[[str], str]] = {
    "cut short": lambda text: text[: len(text) // 2],
    "cut by two": lambda text: text[:-2],
    "empty": lambda text: "",
    "no JSON": lambda text: "\0",
    "a list": lambda text: f"[{text}]",
    "deep": lambda text: "[" * 100_000,
    "deep inside": lambda text: text.replace('"seed_init":', '"deep":' + "[" * 5000 + "]" * 5000 + ',"seed_init":'),
    "no metrics": _without("metrics"),
    "no last accuracy": _without("metrics", "test_acc_last"),
    "no history": _without("history"),
    "more": lambda text: text.replace('{"run_id"', '{"more": 1, "run_id"'),
    "commit": _changed("environment", "commit", 5),
    "processor": _changed("environment", "processor", ["x"]),
    "versions": _changed("environment", "versions", "torch"),
    "seconds": _changed("environment", "seconds", -1),
    "accuracy in words": _changed("metrics", "test_acc_last", "0.5"),
    "accuracy true": _changed("metrics", "test_acc_last", True),
    "accuracy null": _changed("metrics", "test_acc_last", None),
    "accuracy NaN": _changed("metrics", "test_acc_last", float("nan")),
    "accuracy above 1": _changed("metrics", "test_acc_best", 1.5),
    "infinite": lambda text: text.replace('"test_acc_val":null', '"more":1e999'),
    "confusion": _changed("metrics", "confusion", [[1, -1], [0, 1]]),
    "realised rate": _changed("noise", "realised_rate", "half"),
    "unequal columns": _changed("history", "test_acc", [0.5]),
    "a column of words": _changed("history", "test_acc", ["a", "b"]),
    "another configuration": _changed("config", "seed_init", 77),
    "an infinite configuration": lambda text: text.replace('"lr":0.01', '"lr":1e999'),
    "another id": lambda text: text.replace('{"run_id": "', '{"run_id": "x'),
    "too large": lambda text: text + " " * 2**24,
}
