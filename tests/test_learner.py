"""One gradient step and what surrounds it: clipping, schedules, precision, the input's normalisation."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torchvision.transforms import functional as pil

from labelnoise.data.train_set import TrainSet, normalise
from labelnoise.training import schedules
from labelnoise.training.learner import Learner

IMAGES = torch.linspace(-1, 1, 8).view(2, 4, 1, 1)


def learner(
    clip_norm: float | None = None, precision: torch.dtype = torch.float32, schedule=schedules.constant
) -> Learner:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    return Learner(network, partial(torch.optim.SGD, lr=1.0), schedule, range(10), clip_norm, precision)


def step_length(clip_norm: float | None, scale: float) -> float:
    """How far one step of SGD at rate 1 goes: the norm of the gradient after clipping."""
    made = learner(clip_norm)
    made.begin_epoch(0)
    before = nn.utils.parameters_to_vector(made.network.parameters()).detach().clone()
    made.update(scale * made(IMAGES).square().sum())
    return float((nn.utils.parameters_to_vector(made.network.parameters()).detach() - before).norm())


def test_clipping_bounds_the_global_norm() -> None:
    free = step_length(None, 100.0)
    assert free > 5
    assert step_length(5.0, 100.0) == pytest.approx(5.0, rel=1e-3)
    assert step_length(5.0, 1e-3) == pytest.approx(free * 1e-5, rel=1e-3), "a small gradient is left as it is"


def test_gradients_do_not_add_up_over_steps() -> None:
    made = learner()
    for _ in range(2):
        made.begin_epoch(0)
        made.update(0 * made(IMAGES).sum())
    assert all(float(p.grad.abs().sum()) == 0 for p in made.network.parameters())


def test_an_update_is_torchs_own_step_bit_for_bit() -> None:
    made, theirs = (learner(clip_norm=5.0) for _ in range(2))
    for optimizer in (made.optimizer, theirs.optimizer):
        optimizer.param_groups[0].update(lr=0.1, momentum=0.9, weight_decay=1e-3)
    for step in range(4):
        made.update(made(IMAGES * (step + 1)).square().sum())
        theirs.optimizer.zero_grad()
        theirs(IMAGES * (step + 1)).square().sum().backward()
        nn.utils.clip_grad_norm_(theirs.network.parameters(), 5.0)
        theirs.optimizer.step()
    for mine, other in zip(made.network.parameters(), theirs.network.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_the_rate_follows_the_schedule_from_its_first_value() -> None:
    made = learner(schedule=schedules.cosine)
    rates = []
    for epoch in (0, 5, 9, 0):
        made.begin_epoch(epoch)
        rates.append(made.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1.0, 0.5, (1 + math.cos(0.9 * math.pi)) / 2, 1.0])


def test_schedules() -> None:
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(torch.optim.SGD([torch.zeros(1)], lr=1.0), T_max=120)
    steps = torch.optim.lr_scheduler.MultiStepLR(torch.optim.SGD([torch.zeros(1)], lr=1.0), [60, 80], 0.1)
    stairs = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.zeros(1)], lr=1.0), 7, 0.97)
    restarts = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        torch.optim.SGD([torch.zeros(1)], lr=0.02), 10, 1, 1e-3
    )
    for epoch in range(120):
        assert 0.02 * schedules.cosine_restarts(epoch, 120, 10, 0.05) == pytest.approx(restarts.get_last_lr()[0])
        assert schedules.cosine(epoch, 120) == pytest.approx(cosine.get_last_lr()[0], abs=1e-9)
        assert schedules.step(epoch, 120, 7, 0.97) == pytest.approx(stairs.get_last_lr()[0])
        assert schedules.multistep(epoch, 120, [60, 80], 0.1) == pytest.approx(steps.get_last_lr()[0])
        assert schedules.constant(epoch, 120) == 1
        for scheduler in (cosine, steps, stairs, restarts):
            scheduler.optimizer.step()
            scheduler.step()


def test_precision_is_the_outputs() -> None:
    assert learner(precision=torch.bfloat16)(IMAGES).dtype == torch.bfloat16
    assert learner()(IMAGES).dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in learner(precision=torch.bfloat16).parameters())


def test_inputs_are_normalised_as_torchvision_does() -> None:
    images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    mean, std = (0.49, 0.48, 0.44), (0.24, 0.25, 0.26)
    expected = pil.normalize(images.float() / 255, mean, std)
    columns = [torch.tensor(v)[:, None, None] for v in (mean, std)]
    torch.testing.assert_close(normalise(images, *columns), expected)
    train = TrainSet(images, torch.arange(5), 5, mean, std, None, torch.Generator().manual_seed(0))
    torch.testing.assert_close(train.plain(torch.tensor([4, 0])), expected[[4, 0]])
    torch.testing.assert_close(train.view(torch.tensor([4, 0])), expected[[4, 0]])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_a_rate_on_the_device_is_one_tensor_through_the_run(optimizer, monkeypatch) -> None:
    """As on a GPU: what a graph has recorded reads the rate of every epoch, and the updates are those of a number."""
    makers = partial(optimizer, lr=0.5)
    network = nn.Linear(4, 3)
    numbers = Learner(copy.deepcopy(network), makers, schedules.cosine, range(4), None, torch.float32)
    monkeypatch.setattr("labelnoise.training.learner.TENSOR_RATES", ("cpu",))
    tensors = Learner(network, makers, schedules.cosine, range(4), None, torch.float32)
    places = set()
    for epoch in range(4):
        for one in (numbers, tensors):
            one.begin_epoch(epoch)
            one.update(one(IMAGES.flatten(1)).square().sum())
        rate = tensors.optimizer.param_groups[0]["lr"]
        places.add(rate.data_ptr())
        assert float(rate) == pytest.approx(numbers.optimizer.param_groups[0]["lr"], rel=1e-6)
        for a, b in zip(numbers.network.parameters(), tensors.network.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert len(places) == 1


def test_another_optimizers_rate_stays_a_number(monkeypatch) -> None:
    monkeypatch.setattr("labelnoise.training.learner.TENSOR_RATES", ("cpu",))
    made = Learner(
        nn.Linear(4, 3), partial(torch.optim.RMSprop, lr=0.5), schedules.cosine, range(4), None, torch.float32
    )
    made.begin_epoch(1)
    assert isinstance(made.optimizer.param_groups[0]["lr"], float)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_resumes_on_another_kind_of_device(first: bool, monkeypatch) -> None:
    """A checkpoint brings neither its device's fused update nor its kind of rate with it."""
    made = {}
    for tensor in (True, False):
        monkeypatch.setattr("labelnoise.training.learner.TENSOR_RATES", ("cpu",) if tensor else ())
        optimizer = partial(torch.optim.Adam, lr=0.5)
        made[tensor] = Learner(nn.Linear(4, 3), optimizer, schedules.cosine, range(4), None, torch.float32)
    source, target = made[first], made[not first]
    source.begin_epoch(1)
    source.update(source(IMAGES.flatten(1)).square().sum())
    target.load_state_dict(copy.deepcopy(source.state_dict()))
    target.begin_epoch(2)
    group = target.optimizer.param_groups[0]
    assert group["fused"] == (None if first else True)
    assert isinstance(group["lr"], float if first else torch.Tensor)
    for one in (source, target):
        one.begin_epoch(2)
        one.update(one(IMAGES.flatten(1)).square().sum())
    for a, b in zip(source.network.parameters(), target.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
