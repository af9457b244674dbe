"""Losses: values and gradients against the formulas written in float64 from p, extremes, ranges, the module form."""

import math

import hydra
import pytest
import torch
from conftest import every
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise import losses
from labelnoise.experiment.groups import CONFIGS
from labelnoise.experiment.run import compose
from labelnoise.losses.base import Loss, log_complements
from labelnoise.losses.combine import weighted_sum


def one_hot(p, y):
    return torch.nn.functional.one_hot(y, p.shape[1]).to(p.dtype)


def reverse(p, y):
    log_label = torch.log(one_hot(p, y).clamp(min=1e-4))
    return -(p * log_label).sum(1)


def nfl_formula(p, y, gamma):
    focal = -((1 - p) ** gamma) * p.log()
    return focal.gather(1, y[:, None])[:, 0] / focal.sum(1)


# name -> (parameters, formula of the probabilities p (B, C), p_y (B,) and labels y (B,))
FORMULAS = {
    "ce": ({}, lambda p, py, y: -py.log()),
    "focal": ({"gamma": 0.5}, lambda p, py, y: -((1 - py) ** 0.5) * py.log()),
    "mae": ({}, lambda p, py, y: (p - one_hot(p, y)).abs().sum(1)),
    "gce": ({"q": 0.7}, lambda p, py, y: (1 - py**0.7) / 0.7),
    "rce": ({}, lambda p, py, y: reverse(p, y)),
    "sce": ({"alpha": 0.3, "beta": 2.0}, lambda p, py, y: -0.3 * py.log() + 2 * reverse(p, y)),
    "nce": ({}, lambda p, py, y: py.log() / p.log().sum(1)),
    "nfl": ({"gamma": 0.5}, lambda p, py, y: nfl_formula(p, y, 0.5)),
    "ngce": ({"q": 0.7}, lambda p, py, y: (1 - py**0.7) / (p.shape[1] - (p**0.7).sum(1))),
    "agce": ({"a": 0.6, "q": 0.6}, lambda p, py, y: (1.6**0.6 - (0.6 + py) ** 0.6) / 0.6),
    "aul": ({"a": 5.5, "q": 3.0}, lambda p, py, y: ((5.5 - py) ** 3 - 4.5**3) / 3),
    "ael": ({"a": 2.5}, lambda p, py, y: (-py / 2.5).exp()),
}
BASE = sorted(FORMULAS)


def logits_and_labels(classes: int, scale: float, seed: int = 0, batch: int = 16):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=generator, dtype=torch.float64) * scale
    return logits.requires_grad_(), torch.randint(0, classes, (batch,), generator=generator)


@pytest.mark.parametrize("name", BASE)
@pytest.mark.parametrize(("classes", "scale"), [(2, 1.0), (10, 3.0), (100, 2.0)])
def test_value_and_gradient_are_the_formula(name: str, classes: int, scale: float) -> None:
    parameters, formula = FORMULAS[name]
    logits, labels = logits_and_labels(classes, scale)
    p = logits.softmax(1)
    expected = formula(p, p.gather(1, labels[:, None])[:, 0], labels)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), logits)
    value = getattr(losses, name)(logits, labels, **parameters)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-7, atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(a=st.just(0.0) | st.floats(1e-3, 10), q=st.floats(0.05, 4), seed=st.integers(0, 1000))
def test_asymmetric_losses_over_their_ranges(a: float, q: float, seed: int) -> None:
    logits, labels = logits_and_labels(10, 3.0, seed)
    py = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    for value, expected in (
        (losses.agce(logits, labels, a=a, q=q), ((a + 1) ** q - (a + py) ** q) / q),
        (losses.aul(logits, labels, a=a + 1, q=q), ((a + 1 - py) ** q - a**q) / q),
        (losses.ael(logits, labels, a=a + 0.1), (-py / (a + 0.1)).exp()),
    ):
        torch.testing.assert_close(value, expected, rtol=1e-8, atol=1e-9)


def test_gradients_at_uniform_probabilities_are_the_published_ones() -> None:
    """-dL/dz_y at p = 1/K for the settings of zhou2021: independent figures, to their two digits."""
    expected = {
        (10, "ce"): 0.9,
        (10, "aul"): 2.62,
        (10, "nce_agce"): 0.93,
        (10, "nce_aul"): 0.94,
        (10, "nce_ael"): 0.11,
        (10, "agce"): 0.104,
        (10, "ael"): 0.035,
        (10, "mae"): 0.18,
        (10, "gce"): 0.18,
        (100, "ce"): 0.99,
        (100, "aul"): 0.30,
        (100, "agce"): 0.012,
        (100, "ael"): 0.0039,
    }
    for (classes, name), value in expected.items():
        loss = hydra.utils.instantiate(compose([f"loss={name}", f"dataset=cifar{classes}"]).loss)
        logits = torch.zeros(1, classes, requires_grad=True)
        loss(logits, torch.tensor([3])).sum().backward()
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


@pytest.mark.parametrize("name", every("loss"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dataset", ["mnist", "cifar10", "cifar100"])
def test_finite_at_extreme_logits(name: str, dtype: torch.dtype, dataset: str) -> None:
    loss = hydra.utils.instantiate(compose([f"loss={name}", f"dataset={dataset}"]).loss)
    _assert_finite(loss, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_at_the_edges_of_the_ranges(dtype: torch.dtype) -> None:
    for q in (0.1, 0.5, 1.0, 2.0):
        _assert_finite(lambda z, y, q=q: losses.agce(z, y, a=0, q=q), dtype)
        _assert_finite(lambda z, y, q=q: losses.aul(z, y, a=1, q=q), dtype)
    _assert_finite(lambda z, y: losses.ael(z, y, a=1e-3), dtype)
    _assert_finite(lambda z, y: losses.focal(z, y, gamma=0), dtype)
    _assert_finite(lambda z, y: losses.nfl(z, y, gamma=5), dtype)


def _assert_finite(loss, dtype: torch.dtype) -> None:
    for classes in (2, 10):
        logits = torch.full((6, classes), -1e4)
        logits[0], logits[1, 0], logits[2, 1], logits[3] = 0, 1e4, 1e4, 1e4
        logits[4, :2], logits[5] = 1e4, torch.linspace(-1e4, 1e4, classes)
        for y in range(2):
            z = logits.to(dtype).requires_grad_()
            value = loss(z, torch.full((6,), y))
            assert value.dtype == torch.float32
            assert value.isfinite().all(), value
            value.sum().backward()
            assert z.grad.isfinite().all(), z.grad


@pytest.mark.parametrize("name", every("loss"))
def test_per_sample_shape_and_independence(name: str) -> None:
    """(B, C), (B,) -> (B,), and no image's value depends on the others in the batch."""
    loss = hydra.utils.instantiate(compose([f"loss={name}", "dataset=cifar10"]).loss)
    logits, labels = logits_and_labels(10, 3.0)
    torch.manual_seed(3)
    together = loss(logits, labels)
    assert together.shape == (16,)
    if name != "nlnl":  # it draws
        alone = torch.cat([loss(logits[i : i + 1], labels[i : i + 1]) for i in range(16)])
        torch.testing.assert_close(together, alone)


SUMS = [name for name in every("loss") if "weighted_sum" in (CONFIGS / "loss" / f"{name}.yaml").read_text()]


@pytest.mark.parametrize("name", SUMS)
def test_sums_are_the_weighted_parts(name: str) -> None:
    first, second = name.split("_")
    letters = {"agce": {"a": 2.0, "q": 0.5}, "aul": {"a": 3.0, "q": 0.5}, "ael": {"a": 2.0}, "mae": {}, "rce": {}}[
        second
    ]
    gamma = {"gamma": 2.0} if first == "nfl" else {}
    chosen = {**letters, **gamma, "alpha": 0.7, "beta": 3.0}
    cfg = compose([f"loss={name}", *(f"loss.{k}={v}" for k, v in chosen.items())])
    logits, labels = logits_and_labels(10, 2.0)
    part = getattr(losses, second)(logits, labels, **letters, **({"scale": 1.0} if second == "mae" else {}))
    expected = 0.7 * getattr(losses, first)(logits, labels, **gamma) + 3 * part
    torch.testing.assert_close(hydra.utils.instantiate(cfg.loss)(logits, labels), expected)


@pytest.mark.parametrize("name", ["nce", "mae", "rce"])
def test_symmetric_losses_sum_to_a_constant(name: str) -> None:
    """Ghosh et al. 2017: sum over all labels is the same whatever the prediction."""
    logits, _ = logits_and_labels(10, 3.0)
    total = sum(getattr(losses, name)(logits, torch.full((16,), k)) for k in range(10))
    torch.testing.assert_close(total, total[:1].expand(16))


@pytest.mark.parametrize("name", ["focal", "nfl"])
def test_detach_changes_the_gradient_and_not_the_value(name: str) -> None:
    logits, labels = logits_and_labels(10, 2.0)
    function = getattr(losses, name)
    values = [function(logits, labels, gamma=0.5, detach=d) for d in (False, True)]
    torch.testing.assert_close(*values)
    free, detached = (torch.autograd.grad(v.sum(), logits)[0] for v in values)
    assert (free - detached).abs().max() > 1e-3
    cfg = compose([f"loss={name}", "protocol=zhou2021"])
    assert cfg.loss.detach is True
    assert compose([f"loss={name}"]).loss.detach is False


def test_detached_nfl_is_the_formula_with_fixed_weights() -> None:
    logits, labels = logits_and_labels(10, 2.0)
    p = logits.softmax(1)
    focal = -((1 - p) ** 0.5).detach() * p.log()
    (expected,) = torch.autograd.grad((focal.gather(1, labels[:, None])[:, 0] / focal.sum(1)).sum(), logits)
    (got,) = torch.autograd.grad(losses.nfl(logits, labels, gamma=0.5, detach=True).sum(), logits)
    torch.testing.assert_close(got, expected)


def test_detached_focal_is_weighted_cross_entropy() -> None:
    logits, labels = logits_and_labels(10, 2.0)
    p = logits.softmax(1)
    py = p.gather(1, labels[:, None])[:, 0]
    (expected,) = torch.autograd.grad((-((1 - py) ** 0.5).detach() * py.log()).sum(), logits)
    (got,) = torch.autograd.grad(losses.focal(logits, labels, gamma=0.5, detach=True).sum(), logits)
    torch.testing.assert_close(got, expected)


RANGES = [
    ("agce", {"a": -0.1, "q": 1.0}, "a=-0.1"),
    ("agce", {"a": 1.0, "q": 0.0}, "q=0.0"),
    ("aul", {"a": 0.99, "q": 1.0}, "a=0.99"),
    ("aul", {"a": 2.0, "q": -1.0}, "q=-1.0"),
    ("ael", {"a": 0.0}, "a=0.0"),
    ("gce", {"q": 0.0}, "q=0.0"),
    ("gce", {"q": 1.1}, "q=1.1"),
    ("ngce", {"q": 0.0}, "q=0.0"),
    ("ngce", {"q": 1.1}, "q=1.1"),
    ("focal", {"gamma": -1.0}, "gamma=-1.0"),
    ("nfl", {"gamma": -1.0}, "gamma=-1.0"),
    ("sce", {"alpha": -1.0, "beta": 1.0}, "alpha=-1.0"),
    ("sce", {"alpha": 1.0, "beta": -1.0}, "beta=-1.0"),
    ("mae", {"scale": 0.0}, "scale=0.0"),
    ("agce", {"a": float("nan"), "q": 1.0}, "a=nan"),
]


@pytest.mark.parametrize(("name", "parameters", "said"), RANGES)
def test_ranges(name: str, parameters: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        getattr(losses, name)(torch.zeros(2, 3), torch.tensor([0, 1]), **parameters)
    assert ">" in str(error.value), "the message does not say what is allowed"


def test_a_letter_that_no_part_has_is_refused() -> None:
    with pytest.raises(ValueError, match="zz=1"):
        weighted_sum(torch.zeros(1, 3), torch.tensor([0]), first=losses.ce, second=losses.mae, alpha=1, beta=1, zz=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_log_complements_where_naive_arithmetic_breaks(dtype: torch.dtype) -> None:
    logits = torch.tensor([[40.0, 0.0, 0.0], [-40.0, 0.0, 1.0], [0.0, 0.0, -90.0]], dtype=dtype)
    exact = logits.double().softmax(1)
    others = torch.stack([exact.sum(1) - exact[:, k] for k in range(3)], 1)
    others[0, 0] = 2 * math.exp(-40)  # 1 - p is 0 even in float64
    torch.testing.assert_close(log_complements(logits).double(), others.log(), rtol=1e-5, atol=1e-6)


def test_module_form() -> None:
    logits, labels = logits_and_labels(10, 2.0)
    values = losses.agce(logits, labels, a=0.6, q=0.6)
    assert losses.Loss is Loss
    torch.testing.assert_close(Loss(losses.agce, a=0.6, q=0.6)(logits, labels), values.mean())
    torch.testing.assert_close(Loss(losses.agce, "sum", a=0.6, q=0.6)(logits, labels), values.sum())
    torch.testing.assert_close(Loss(losses.agce, reduction="none", a=0.6, q=0.6)(logits, labels), values)
    assert "agce" in repr(Loss(losses.agce, a=0.6, q=0.6))
    with pytest.raises(ValueError, match="reduction=median"):
        Loss(losses.agce, "median")


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no loss 'nosuch'"):
        _ = losses.nosuch
