"""Co-teaching+ and JoCoR: complete agreement, the noise rate they take for known, and what they refuse."""

import copy

import pytest
import torch
from support.small_setups import small_setup

from labelnoise.methods.co_teaching import noise_rate
from labelnoise.methods.co_teaching_plus import CoTeachingPlus
from labelnoise.methods.jocor import JoCoR
from labelnoise.methods.p_diff import PDiff
from labelnoise.training.method import Method

LABELS = [0, 1, 2, 1, 0, 2, 2, 1, 0, 2, 1, 0, 1, 2, 0, 1]


def test_co_teaching_plus_learns_nothing_where_the_networks_agree() -> None:
    method = CoTeachingPlus(small_setup(LABELS), forget_rate=0.5, ramp=0.1, warm_up=0.1)
    method.clock.epoch = 1
    first, second = method.learners()
    second.network.load_state_dict(first.network.state_dict())
    before = copy.deepcopy(first.network.state_dict())
    result = method.step(method.feeds()[0])
    assert result.selected is not None
    assert (float(result.loss), int(result.selected.sum())) == (0, 0)
    for learner in (first, second):
        assert all(torch.equal(before[name], value) for name, value in learner.network.state_dict().items())


def test_the_noise_rate_is_the_share_of_wrong_labels() -> None:
    """One of three classes is flipped at 0.6; a class without images does not count."""
    transition = torch.eye(3)
    transition[1] = torch.tensor([0.6, 0.4, 0.0])
    assert noise_rate(small_setup(LABELS)._replace(transition=transition), "method.forget_rate") == pytest.approx(0.2)
    transition[2] = 0
    assert noise_rate(small_setup(LABELS)._replace(transition=transition), "method.forget_rate") == pytest.approx(0.3)
    method = JoCoR(small_setup(LABELS)._replace(transition=transition), forget_rate=None, ramp=0, lam=0.9)
    assert method.forget_rate == pytest.approx(0.3)
    with pytest.raises(ValueError, match=r"method\.forget_rate=null: the share of wrong labels is not known"):
        JoCoR(small_setup(LABELS), forget_rate=None, ramp=0, lam=0.9)
    with pytest.raises(ValueError, match=r"method\.rate=null: .*; give method\.rate=\.\.\.$"):
        PDiff(small_setup(LABELS), rate=None, unknown=False, ramp=0.5, saturation=0.9)


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (CoTeachingPlus, {"warm_up": 1.5}),
        (CoTeachingPlus, {"forget_rate": 1.0}),
        (JoCoR, {"lam": -0.1}),
        (JoCoR, {"ramp": float("nan")}),
    ],
)
def test_what_is_out_of_range_is_refused(make: type[Method], change: dict[str, float]) -> None:
    own = {"warm_up": 0.1} if make is CoTeachingPlus else {"lam": 0.9}
    (name,) = change
    with pytest.raises(ValueError, match=f"{name}="):
        make(small_setup(LABELS), **{"forget_rate": 0.4, "ramp": 0.1, **own, **change})
