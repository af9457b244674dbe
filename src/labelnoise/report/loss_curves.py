"""The report's data on losses: their value and weight by probability, and the noise that they tolerate in theory.

`labelnoise docs` writes them to assets/losses.json, so that the report need not compute them, which takes ten seconds.
The terms are those of `labelnoise.theory`; docs/theory.md explains them.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

from labelnoise.config.compose import compose
from labelnoise.config.groups import choices
from labelnoise.experiment.components import make_loss

CLASSES = 10
PROBABILITIES = tuple(round(0.01 + 0.02 * i, 2) for i in range(50))  # of the given label
STEPS = 31  # values of a and of q in a map
# The boundaries in a map: the noise that is just tolerated there, from the easiest to the hardest.
BOUNDARIES = (("asym", 0.1), ("sym", 0.8), ("asym", 0.4), ("pairflip", 0.45))


def as_json() -> str:
    """`losses` as JSON, with a line for each loss."""
    whole = losses()
    each = ",\n".join(f"{json.dumps(name)}: {_compact(one)}" for name, one in whole.pop("losses").items())
    return f'{_compact(whole)[:-1]},"losses":{{\n{each}\n}}}}\n'


def _compact(content: Any) -> str:
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def losses(dataset: str = "cifar10") -> dict[str, Any]:
    """Every loss of configs/loss, with the hyper-parameters of its card for the data set.

    Returns:
        p: probabilities of the given label, the other classes sharing 1 - p equally. losses: by name, `value` and
        `weight` at these (a sample's weight relative to cross-entropy's), `parameters` in words, `tolerant`, for each
        of `noises` whether theory covers it and the margin; or `reason`, why theory cannot judge it. maps: of AGCE
        and AUL, see `_map`.
    """
    from labelnoise.theory.noise_ratios import GRID, noise_ratio

    return {
        "dataset": dataset,
        "classes": CLASSES,
        "p": list(PROBABILITIES),
        "noises": [f"{noise}_{rate}" for noise, rate in GRID],
        "losses": {name: _one(name, dataset) for name in choices("loss")},
        "boundaries": [[f"{noise}_{rate}", noise_ratio(noise, rate, CLASSES)] for noise, rate in BOUNDARIES],
        "maps": _maps(),
    }


@cache
def _one(name: str, dataset: str) -> dict[str, Any]:
    import torch

    from labelnoise.theory import additive, gradients
    from labelnoise.theory.checking import tolerance

    cfg = compose([f"dataset={dataset}", f"loss={name}"])
    numbers = {str(k): v for k, v in cfg.loss.items() if isinstance(v, int | float) and not str(k).startswith("_")}
    parameters = {"parameters": ", ".join(f"{key} {value:g}" for key, value in numbers.items())}
    loss = make_loss(cfg)
    try:
        verdicts = tolerance(loss, CLASSES)
    except ValueError as error:
        return {**parameters, "reason": str(error).partition(": ")[2] or str(error)}
    p = torch.tensor(PROBABILITIES, dtype=torch.float64)
    return {
        **parameters,
        "value": [round(v, 5) for v in additive.value(loss, p.logit(), CLASSES).tolist()],
        "weight": [round(v, 5) for v in gradients.sample_weights(loss, CLASSES, p).tolist()],
        "tolerant": [[v.tolerant, None if v.margin is None else float(f"{v.margin:.3g}")] for v in verdicts],
    }


def _maps() -> list[dict[str, Any]]:
    from labelnoise.theory import closed_forms

    a = [round(10 ** (-2 + 3 * i / (STEPS - 1)), 4) for i in range(STEPS)]
    q = [round(0.05 + 1.95 * i / (STEPS - 1), 3) for i in range(STEPS)]
    above_one = [round(1.1 + 8.9 * i / (STEPS - 1), 3) for i in range(STEPS)]
    exponent = [round(0.1 + 4.9 * i / (STEPS - 1), 3) for i in range(STEPS)]
    return [_map("agce", a, q, closed_forms.agce), _map("aul", above_one, exponent, closed_forms.aul)]


def _map(name: str, a: list[float], q: list[float], ratio: Callable[[float, float], float]) -> dict[str, Any]:
    """The critical ratio of a loss over its two hyper-parameters, a row over a for each q.

    It is 1 over the asymmetry ratio, the smallest w_m / w_n that is tolerated (Zhou et al. 2021, arXiv:2106.03110).
    """
    critical = [[float(f"{1 / max(ratio(x, y), 1e-6):.4g}") for x in a] for y in q]
    return {"loss": name, "a": a, "q": q, "critical": critical}
