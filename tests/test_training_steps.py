"""Fifty training steps in float64 beside the released recipe, written out in plain torch.

Whatever moves in the package, the training has to stay the same arithmetic. Methods have tests of their own, in
test_steps_targets.py, test_steps_losslike.py and test_steps_selection.py.
"""

from collections.abc import Callable

import pytest
import torch
from support.plain_training import CLASSES, STEPS_AN_EPOCH, Plain, train_both
from torch import Tensor
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")

Loss = Callable[[Tensor, Tensor], Tensor]
OTHERS = (("agce", 1.0), ("nce_rce", 5.0))  # cnn8 takes seconds: beside cross-entropy only in `make test-slow`


@pytest.mark.parametrize(
    ("loss", "clip_norm", "network"),
    [
        *(("ce", 5.0, network) for network in ("cnn4", "cnn8")),
        *((loss, clip_norm, "cnn4") for loss, clip_norm in OTHERS),
        *(pytest.param(loss, clip_norm, "cnn8", marks=pytest.mark.slow) for loss, clip_norm in OTHERS),
    ],
)
def test_every_step_and_the_last_weights_equal_a_plain_loops(loss: str, clip_norm: float, network: str) -> None:
    def loop(plain: Plain) -> None:
        for _ in plain.epochs():
            for index in plain.batches():
                plain.descend(LOSSES[loss](plain.network(plain.view(index)), plain.labels[index]))

    both = train_both(loop, [f"loss={loss}"], network=network, clip_norm=clip_norm, wrong=0, rel=1e-12)
    losses, norms = both.plain.losses, both.plain.norms
    assert len(losses) == len(both.steps) == 4 * STEPS_AN_EPOCH
    # what is compared is not trivial: it learns, and gradients are clipped (in cnn4 some and some not)
    assert sum(losses[-STEPS_AN_EPOCH:]) < sum(losses[:STEPS_AN_EPOCH])
    assert sum(norm > clip_norm for norm in norms) > 0
    assert network == "cnn8" or sum(norm < clip_norm for norm in norms) > 0


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits, labels)


def asymmetric_gce(logits: Tensor, labels: Tensor) -> Tensor:
    """((a + 1)^q - (a + p_y)^q) / q with a = q = 0.6."""
    p = F.softmax(logits, 1)[torch.arange(len(labels)), labels]
    return ((1.6**0.6 - (0.6 + p) ** 0.6) / 0.6).mean()


def normalized_ce_and_reverse_ce(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p_y / -sum_k log p_k, plus -sum_k p_k log(one-hot_k) with 1e-4 in place of 0."""
    log_p, one_hot = F.log_softmax(logits, 1), F.one_hot(labels, CLASSES).double()
    active = (one_hot * log_p).sum(1) / log_p.sum(1)
    passive = -(log_p.exp() * one_hot.clamp(min=1e-4).log()).sum(1)
    return (active + passive).mean()


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "agce": asymmetric_gce, "nce_rce": normalized_ce_and_reverse_ce}
