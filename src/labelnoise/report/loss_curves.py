"""What each loss makes of a probability: its value and its pull on the logit, for the report's page of losses."""

from typing import Any

from labelnoise.experiment.assemble import make_loss
from labelnoise.experiment.compose import compose
from labelnoise.experiment.groups import choices

CLASSES = 10
PROBABILITIES = tuple(round(0.01 + 0.02 * i, 2) for i in range(50))  # of the given label


def curves(dataset: str = "cifar10") -> dict[str, Any]:
    """Every loss of configs/loss, with the values its card has for the data set, at probabilities p of the given label.

    The other classes share 1 - p equally.
    Returns:
        p: the probabilities. curves: by loss, `value` and `weight`, the latter |d loss / d logit of the given label|,
        and `parameters` in words.
    """
    import torch

    p = torch.tensor(PROBABILITIES, dtype=torch.float64)
    found = {}
    for name in choices("loss"):
        cfg = compose([f"dataset={dataset}", f"loss={name}"])
        logits = ((1 - p) / (CLASSES - 1)).log()[:, None].repeat(1, CLASSES)
        logits[:, 0] = p.log()
        logits.requires_grad_()
        value = make_loss(cfg, lambda _: None)(logits, torch.zeros(len(p), dtype=torch.long))
        (slope,) = torch.autograd.grad(value.sum(), logits)
        numbers = {str(k): v for k, v in cfg.loss.items() if isinstance(v, int | float) and not str(k).startswith("_")}
        found[name] = {
            "value": [round(v, 5) for v in value.tolist()],
            "weight": [round(abs(v), 5) for v in slope[:, 0].tolist()],
            "parameters": ", ".join(f"{k} {v:g}" for k, v in numbers.items()),
        }
    return {"dataset": dataset, "classes": CLASSES, "p": list(PROBABILITIES), "curves": found}
