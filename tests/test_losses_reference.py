"""Every loss against its formula in float64 numpy, value and gradient; limits and identities; symmetric sums."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loss_formulas import BIASED, CASES, PARTS, by_card, logits_and_labels, softmax, supplied

from labelnoise import losses
from labelnoise.losses import cards
from labelnoise.losses.base import log_complements


def gradient(formula, z: np.ndarray) -> np.ndarray:
    """Central differences; a row depends on itself alone."""
    step = 1e-6
    columns = [(formula(z + step * e) - formula(z - step * e)) / (2 * step) for e in np.eye(z.shape[1])]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=20, deadline=None)
@given(data=st.data(), classes=st.sampled_from([2, 3, 10]), scale=st.sampled_from([0.5, 3.0]), seed=st.integers(0, 999))
def test_value_and_gradient_are_the_formula(name: str, data, classes: int, scale: float, seed: int) -> None:
    function, case = getattr(losses, name), CASES[name]
    chosen = {key: data.draw(strategy, label=key) for key, strategy in case.draws.items()}
    logits, labels = logits_and_labels(classes, scale, seed)
    given_too = supplied(function, 16, classes, seed)
    value = function(logits, labels, **chosen, **given_too)
    (got,) = torch.autograd.grad(value.sum(), logits)
    z, y = logits.detach().numpy(), labels.numpy()
    in_numpy = {key: tensor.numpy() for key, tensor in given_too.items()}

    def formula(z: np.ndarray) -> np.ndarray:
        return case.formula(z, y, **chosen, **in_numpy)

    expected = gradient(formula, z)
    scale_of_loss = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(value.detach().numpy(), formula(z), rtol=2e-6, atol=1e-9)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-6 * scale_of_loss)


@pytest.mark.parametrize("name", sorted(cards.sums() - BIASED.keys()))
def test_sums_are_the_weighted_parts(name: str) -> None:
    """By name and with values that no card has."""
    first, second = PARTS.get(name) or name.split("_")
    values = {"a": 2.0, "q": 0.5, "gamma": 2.0, "m": 3.0}
    function = getattr(losses, name)
    chosen = {key: value for key, value in values.items() if key in cards.inspect.signature(function).parameters}
    logits, labels = logits_and_labels(10, 2.0)

    def part(of: str) -> torch.Tensor:
        own = {k: v for k, v in chosen.items() if k in cards.inspect.signature(getattr(losses, of)).parameters}
        scaled = {"scale": 1.0} if of == "mae" and not name.endswith("eps_mae") else {}
        return getattr(losses, of)(logits, labels, **own, **scaled)

    torch.testing.assert_close(
        function(logits, labels, alpha=0.7, beta=3.0, **chosen), 0.7 * part(first) + 3 * part(second)
    )


@pytest.mark.parametrize("name", BIASED)
def test_a_bias_is_added_to_the_labels_logit(name: str) -> None:
    logits, labels = logits_and_labels(10, 2.0)
    moved = logits.detach().clone()
    moved[torch.arange(16), labels] += 2.5
    own = {"q": 0.4} if name.startswith("gce") else {}
    expected = getattr(losses, BIASED[name])(moved, labels, **own)
    torch.testing.assert_close(getattr(losses, name)(logits, labels, bias=2.5, **own), expected)
    zeros = torch.zeros(1, 10)
    with_card = by_card(name, "cifar10")(zeros, torch.tensor([0]))
    half = getattr(losses, BIASED[name])(torch.tensor([[math.log(9)] + [0.0] * 9]), torch.tensor([0]), **own)
    if not own:
        torch.testing.assert_close(with_card, half, atol=2e-3, rtol=0)


# ------------------------------------------------------------------------------------------------ limits and identities

Z, Y = logits_and_labels(10, 2.0, seed=4)
P_Y = torch.tensor(softmax(Z.detach().numpy())).gather(1, Y[:, None])[:, 0]
CE = losses.ce(Z, Y)
MAE = losses.mae(Z, Y)
IDENTITIES = {
    "gce, q to 0": (losses.gce(Z, Y, q=1e-8), CE, 1e-6),
    "gce, q 1": (losses.gce(Z, Y, q=1), MAE / 2, 1e-12),
    "sgce, q to 0": (losses.sgce(Z, Y, q=1e-8), losses.unhinged(Z, Y) - 1, 1e-6),
    "sgce, q 1": (losses.sgce(Z, Y, q=1), MAE / 2 - (1 - 1 / 10), 1e-12),
    "unhinged, cross-entropy minus its mean": (
        losses.unhinged(Z, Y) - 1,
        CE - torch.stack([losses.ce(Z, torch.full((16,), k)) for k in range(10)]).mean(0),
        1e-12,
    ),
    "focal, gamma 0": (losses.focal(Z, Y, gamma=0), CE, 1e-12),
    "js, pi to 0": (losses.js(Z, Y, pi=1e-7), CE, 1e-4),
    "gjs of one view twice": (losses.gjs(Z, Y, pi=0.3, other_logits=Z), losses.js(Z, Y, pi=0.3), 1e-9),
    "taylor_ce, one term": (losses.taylor_ce(Z, Y, t=1), MAE / 2, 1e-12),
    "bi_tempered, t1 = t2 = 1": (losses.bi_tempered(Z, Y, t1=1, t2=1), CE, 1e-9),
    "bi_tempered, t2 to 1": (losses.bi_tempered(Z, Y, t1=1, t2=1 + 1e-7), CE, 1e-5),
    "phuber_ce, tau to infinity": (losses.phuber_ce(Z, Y, tau=1e9), CE, 1e-12),
    "ldr_kl, lam 1, margin 0": (losses.ldr_kl(Z, Y, lam=1, margin=0, normalize=False), CE - math.log(10), 1e-9),
    "ldr_kl, lam to infinity": (
        losses.ldr_kl(Z, Y, lam=1e7, margin=0.3, normalize=False),
        Z.mean(1) - Z.gather(1, Y[:, None])[:, 0] + 0.3 * 0.9,
        1e-5,
    ),
    "ldr_kl, lam to 0, is the hinge": (
        losses.ldr_kl(Z, Y, lam=1e-4, margin=1.0, normalize=False),
        (Z + 1).scatter(1, Y[:, None], Z.gather(1, Y[:, None])).amax(1) - Z.gather(1, Y[:, None])[:, 0],
        1e-3,
    ),
    "comp_sum, tau 1": (losses.comp_sum(Z, Y, tau=1), CE, 1e-12),
    "comp_sum, tau to 1": (losses.comp_sum(Z, Y, tau=1 + 1e-8), CE, 1e-6),
    "comp_sum, tau 1.7": (losses.comp_sum(Z, Y, tau=1.7), losses.gce(Z, Y, q=0.7), 1e-12),
    "comp_sum, tau 2": (losses.comp_sum(Z, Y, tau=2), MAE / 2, 1e-12),
    "comp_sum, tau 3, is agce": (losses.comp_sum(Z, Y, tau=3), losses.agce(Z, Y, a=0, q=2), 1e-12),
    "comp_sum, tau 0, is the sum": (losses.comp_sum(Z, Y, tau=0), 1 / P_Y - 1, 1e-9),
    "mse is amse at a 1": (losses.mse(Z, Y), 10 * losses.amse(Z, Y, a=1), 1e-12),
    "anorm, p 1": (losses.anorm(Z, Y, a=3, p=1), MAE, 1e-12),
    "nnfl, gamma 0": (losses.nnfl(Z, Y, gamma=0), losses.nnce(Z, Y), 1e-12),
    "ce_eps, m 0": (losses.ce_eps(Z, Y, m=0), CE, 1e-12),
    "fl_eps, gamma 0": (losses.fl_eps(Z, Y, m=7, gamma=0), losses.ce_eps(Z, Y, m=7), 1e-12),
    "ce_logitclip, large": (losses.ce_logitclip(Z, Y, delta=1e3), CE, 1e-12),
    "ce_logitclip, released at 1": (
        losses.ce_logitclip(Z, Y, delta=1, released=True),
        losses.ce_logitclip(Z, Y, delta=1),
        1e-12,
    ),
    "kesl, lam 0": (losses.kesl(Z, Y, lam=0, spread=0.3), CE, 1e-12),
    "kesl, spread 0": (losses.kesl(Z, Y, lam=2, spread=0), 3 * CE, 1e-12),
    "z_loss of shifted and scaled logits": (losses.z_loss(3 * Z + 5, Y, a=1, b=2), losses.z_loss(Z, Y, a=1, b=2), 1e-5),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities(name: str) -> None:
    got, expected, tolerance = IDENTITIES[name]
    torch.testing.assert_close(got, expected, atol=tolerance, rtol=tolerance)


def test_jensen_shannon_towards_mean_absolute_error() -> None:
    """With e = 1 - pi: (1 - p_y) + [(1 - p_y) + p_y log p_y] / log(1/e), up to terms of order e."""
    for e in (1e-5, 1e-8):
        expected = (1 - P_Y) + ((1 - P_Y) + P_Y * P_Y.log()) / math.log(1 / e)
        torch.testing.assert_close(losses.js(Z, Y, pi=1 - e), expected, atol=40 * e, rtol=1e-6)


def test_taylor_series_goes_to_cross_entropy() -> None:
    distances = [(losses.taylor_ce(Z, Y, t=t) - CE).abs().max() for t in (1, 5, 50, 500)]
    assert distances == sorted(distances, reverse=True)
    likely = P_Y > 0.2
    torch.testing.assert_close(losses.taylor_ce(Z, Y, t=200)[likely], CE[likely], atol=1e-9, rtol=0)


def test_unhinged_is_the_binary_loss_for_two_classes() -> None:
    logits, labels = logits_and_labels(2, 2.0)
    sign = 2 * labels - 1
    torch.testing.assert_close(losses.unhinged(logits, labels), 1 - sign * (logits[:, 1] - logits[:, 0]) / 2)


SYMMETRIC = {
    **{"nce": ({}, 1), "mae": ({}, 18), "rce": ({}, -9 * math.log(1e-4)), "nfl": ({"gamma": 0.5}, 1)},
    **{"ngce": ({"q": 0.7}, 1), "nnce": ({}, 9), "nnfl": ({"gamma": 0.5}, 9), "unhinged": ({}, 10)},
    **{"sgce": ({"q": 0.7}, 0)},
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_symmetric_losses_sum_to_a_constant(name: str) -> None:
    """Ghosh et al. 2017: the sum over all labels is the same whatever the prediction."""
    chosen, constant = SYMMETRIC[name]
    total = sum(getattr(losses, name)(Z, torch.full((16,), k), **chosen) for k in range(10))
    torch.testing.assert_close(total, torch.full((16,), float(constant), dtype=torch.float64))


def test_the_released_clamp_takes_the_gradient_of_unlikely_labels() -> None:
    """p_y < clamp (m + 1), and the label not the largest class: no gradient. The formula has one."""
    logits = torch.tensor([[9.0, 0.0, 0.0], [4.0, 0.0, 0.0]], requires_grad=True)  # p_y = 1.2e-4 and 0.018
    labels = torch.tensor([1, 1])
    (clamped,) = torch.autograd.grad(losses.ce_eps(logits, labels, m=1e5, clamp=1e-8).sum(), logits)
    (free,) = torch.autograd.grad(losses.ce_eps(logits, labels, m=1e5).sum(), logits)
    assert clamped[0].abs().max() == 0
    assert free[0].abs().max() > 0.9
    torch.testing.assert_close(clamped[1], free[1])


def test_gradients_at_uniform_probabilities_are_the_published_ones() -> None:
    """-dL/dz_y at p = 1/K for the settings of zhou2021: independent figures, to their two digits."""
    ten = {"ce": 0.9, "aul": 2.62, "nce_agce": 0.93, "nce_aul": 0.94, "nce_ael": 0.11, "agce": 0.104, "ael": 0.035}
    hundred = {"ce": 0.99, "aul": 0.30, "agce": 0.012, "ael": 0.0039}
    for classes, figures in ((10, ten | {"mae": 0.18, "gce": 0.18}), (100, hundred)):
        for name, value in figures.items():
            logits = torch.zeros(1, classes, requires_grad=True)
            by_card(name, f"cifar{classes}")(logits, torch.tensor([3])).sum().backward()
            assert -logits.grad[0, 3].item() == pytest.approx(value, rel=0.06), (classes, name)


def test_nlnl_averages_the_other_classes() -> None:
    logits = torch.randn(1, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 2
    p = logits.softmax(1)[0]
    torch.manual_seed(0)
    draws = losses.nlnl(logits.expand(40_000, 5), torch.full((40_000,), 2))
    others = -torch.log(1 - p[[0, 1, 3, 4]])
    nearest = (draws[:, None] - others).abs().min(dim=1)
    assert nearest.values.max() < 1e-9, "a value that belongs to no class other than y"
    shares = torch.bincount(nearest.indices, minlength=4) / 40_000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.02, rtol=0)


@pytest.mark.parametrize("name", ["focal", "nfl", "nnfl", "fl_eps"])
def test_detach_changes_the_gradient_and_not_the_value(name: str) -> None:
    """Detached, the gradient is that of the formula whose weights are constants."""
    m = {"m": 0.5} if name == "fl_eps" else {}
    values = [getattr(losses, name)(Z, Y, gamma=0.5, detach=d, **m) for d in (False, True)]
    torch.testing.assert_close(*values)
    free, detached = (torch.autograd.grad(v.sum(), Z, retain_graph=True)[0] for v in values)
    assert (free - detached).abs().max() > 1e-3
    p = Z.softmax(1)
    if name == "fl_eps":
        p = (p + 0.5 * torch.nn.functional.one_hot(p.argmax(1), 10)) / 1.5
    weights = ((1 - p) ** 0.5).detach()
    weighted = weights * p.log()
    if name == "nnfl":
        weighted = weighted - (1 - 1e-7) ** 0.5 * math.log(1e-7)
    value = weighted.gather(1, Y[:, None])[:, 0]
    value = {"nfl": 1, "nnfl": -1}.get(name, 0) * value / weighted.sum(1) if "n" in name else -value
    (expected,) = torch.autograd.grad(value.sum(), Z)
    torch.testing.assert_close(detached, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_complements_where_naive_arithmetic_breaks(dtype: torch.dtype) -> None:
    logits = torch.tensor([[40.0, 0.0, 0.0], [-40.0, 0.0, 1.0], [0.0, 0.0, -90.0]], dtype=dtype)
    exact = logits.double().softmax(1)
    others = torch.stack([exact.sum(1) - exact[:, k] for k in range(3)], 1)
    others[0, 0] = 2 * math.exp(-40)  # 1 - p is 0 even in float64
    torch.testing.assert_close(log_complements(logits).double(), others.log(), rtol=1e-5, atol=1e-6)
