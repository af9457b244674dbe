"""What Hydra makes and the training step calls: the same function, without Hydra in between."""

import operator
from functools import partial

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from support.configs import chosen, every
from support.loss_formulas import supplied

from labelnoise.arguments.direct import direct
from labelnoise.experiment.run import compose


@pytest.mark.parametrize("name", every("loss"))
def test_a_direct_loss_is_the_same_function(name: str) -> None:
    made = hydra.utils.instantiate(chosen("loss", name).loss)
    called = direct(made)
    assert type(called) is partial
    assert called.func is made.func
    assert called.keywords.keys() == made.keywords.keys()
    assert all(type(v) is partial for v in called.keywords.values() if isinstance(v, partial))
    labels, found = torch.arange(8) % 10, []
    for loss in (made, called):
        logits = torch.randn(8, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
        torch.manual_seed(0)  # negative learning draws
        values = loss(logits, labels, **supplied(loss, 8, 10))
        values.sum().backward()
        found.append((values, logits.grad))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


def test_what_is_not_this_projects_stays_as_hydra_made_it() -> None:
    others = hydra.utils.instantiate(OmegaConf.create({"_target_": "operator.add", "_partial_": True, "_args_": [1]}))
    assert direct(others) is others
    assert direct(operator.add) is operator.add
    assert direct(None) is None
    within = direct(partial(compose, others))
    assert type(within) is partial
    assert within.args[0] is others


def test_augmentation_is_called_directly_too() -> None:
    made = hydra.utils.instantiate(compose(["dataset=cifar10"]).dataset.augment)
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    one, two = (f(images, torch.Generator().manual_seed(0)) for f in (made, direct(made)))
    assert type(direct(made)) is partial
    assert torch.equal(one, two)
