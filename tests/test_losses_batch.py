"""Losses of a whole batch and regularisers, against float64 numpy and by hand; what a card binds to its regulariser."""

from functools import partial

import hydra
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loss_formulas import any_loss, ens_loss, gccs, one_hot, softmax

from labelnoise import losses
from labelnoise.config.compose import compose
from labelnoise.losses import Loss, regularisers
from labelnoise.losses.base import needs_of, try_out_regulariser
from labelnoise.records import store

METRICS = ("accuracy", "f1", "balanced_accuracy", "g_mean")
SEEDS = st.integers(0, 999)


def batch(classes: int, seed: int, images: int = 12, scale: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.standard_normal((images, classes)) * scale, draw.integers(0, classes, images)


def compare(loss, formula, z: np.ndarray, y: np.ndarray, tolerance: float = 1e-5) -> None:
    """A 0-d value and its whole gradient, by central differences."""
    logits = torch.tensor(z, requires_grad=True)
    value = loss(logits, torch.tensor(y))
    (got,) = torch.autograd.grad(value, logits)
    step, expected = 1e-6, np.empty_like(z)
    for place in np.ndindex(*z.shape):
        above, below = z.copy(), z.copy()
        above[place], below[place] = z[place] + step, z[place] - step
        expected[place] = (formula(above, y) - formula(below, y)) / (2 * step)
    assert value.shape == ()
    np.testing.assert_allclose(value.item(), formula(z, y), rtol=1e-9)
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected).max()))


@settings(max_examples=12, deadline=None)
@given(mu=st.floats(0.5, 80), sigma=st.floats(0.5, 3), lam=st.floats(0, 1), classes=st.sampled_from([2, 4]), seed=SEEDS)
def test_gccs_is_the_formula(mu: float, sigma: float, lam: float, classes: int, seed: int) -> None:
    z, y = batch(classes, seed)
    chosen = {"mu": mu, "sigma": sigma, "lam": lam}
    compare(partial(losses.gccs, **chosen), lambda z, y: gccs(z, y, **chosen), z, y)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=8, deadline=None)
@given(L=st.floats(2, 73), seed=SEEDS)
def test_any_loss_is_the_formula(metric: str, L: float, seed: int) -> None:
    z, y = batch(2, seed)
    y[:2] = 0, 1
    compare(
        partial(losses.any_loss, L=L, metric=metric), lambda z, y: any_loss(softmax(z)[:, 1], y, L, metric), z, y, 1e-4
    )

    def over_classes(z: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([any_loss(softmax(z)[:, k], y == k, L, metric) for k in np.unique(y)]))

    z, y = batch(5, seed)
    compare(partial(losses.any_loss_mc, L=L, metric=metric), over_classes, z, y, 1e-4)


@settings(max_examples=20, deadline=None)
@given(lam=st.sampled_from([0.0, -1.0, -0.4, 0.3, 1.0]), classes=st.sampled_from([2, 5]), seed=SEEDS)
def test_ens_loss_is_the_formula(lam: float, classes: int, seed: int) -> None:
    z, y = batch(classes, seed)
    logits = torch.tensor(z, requires_grad=True)
    drawn = torch.randn(12, generator=torch.Generator().manual_seed(seed)).numpy()
    loss = losses.ens_loss if classes == 2 else losses.ens_loss_mc
    value = loss(logits, torch.tensor(y), lam, generator=torch.Generator().manual_seed(seed))
    (got,) = torch.autograd.grad(value.sum(), logits)
    margins, derivatives = ens_loss(z, y, lam, drawn.astype(np.float64))
    np.testing.assert_allclose(value.detach(), derivatives * margins, rtol=1e-4, atol=1e-6)
    others = np.exp(z) * (1 - one_hot(z, y))
    np.testing.assert_allclose(
        got, derivatives[:, None] * (one_hot(z, y) - others / others.sum(1, keepdims=True)), rtol=1e-4, atol=1e-6
    )
    assert (derivatives < 0).all()
    order = np.argsort(margins)
    assert (np.diff(derivatives[order]) >= 0).all(), "the drawn loss is convex"


@pytest.mark.parametrize("name", ["ens_loss", "any_loss"])
def test_published_forms_are_for_two_classes(name: str) -> None:
    function = getattr(losses, name)
    assert "binary" in needs_of(function)
    Loss(function)
    given = {"generator": torch.Generator()} if name == "ens_loss" else {}
    with pytest.raises(ValueError, match=rf"logits \(4, 3\): {name} is for two classes; {name}_mc takes more"):
        function(torch.zeros(4, 3), torch.zeros(4).long(), **given)
    with pytest.raises(ValueError, match="metric=recall: must be accuracy, f1, balanced_accuracy or g_mean"):
        losses.any_loss(torch.zeros(4, 2), torch.zeros(4).long(), metric="recall")


def test_a_perfect_batch_has_no_any_loss() -> None:
    labels = torch.tensor([0, 1, 2, 2])
    for metric in METRICS:
        value = losses.any_loss_mc(torch.eye(3)[labels] * 50, labels, L=73, metric=metric)
        assert value.item() == pytest.approx(0, abs=1e-6)


# --------------------------------------------------------------------------------------------------------- regularisers


def test_penalties_on_weights_by_hand() -> None:
    layer, bias = torch.tensor([[3.0, 4.0], [0.0, 1.0]], requires_grad=True), torch.tensor([-2.0, 0.5])
    assert regularisers.l1([layer, bias], weight=0.1).item() == pytest.approx(0.1 * 10.5)
    value = regularisers.norm([layer, bias], weight=0.5)
    assert value.item() == pytest.approx(0.5 * (5 - 1) ** 2)
    value.backward()
    # 2 * 0.5 * (||w|| - 1) w / ||w||
    torch.testing.assert_close(layer.grad, torch.tensor([[4 * 0.6, 4 * 0.8], [0.0, 0.0]]))
    filters = torch.full((2, 3, 2, 2), 1 / 12**0.5)
    assert regularisers.norm([filters], weight=1).item() == pytest.approx(0, abs=1e-9)


@settings(max_examples=10, deadline=None)
@given(classes=st.sampled_from([2, 7]), seed=SEEDS)
def test_entropy_is_the_formula(classes: int, seed: int) -> None:
    def formula(z: np.ndarray, _: np.ndarray) -> float:
        mean = softmax(z).mean(0)
        return float(2 * (np.log(classes) + (mean * np.log(mean)).sum()))

    z, y = batch(classes, seed)
    compare(lambda logits, _: regularisers.entropy(logits, weight=2), formula, z, y)
    balanced = torch.eye(classes) * 50
    assert regularisers.entropy(balanced, weight=2).item() == pytest.approx(0, abs=1e-5)
    assert regularisers.entropy(balanced[:1], weight=2).item() == pytest.approx(2 * np.log(classes))


def test_entropy_is_finite_at_extreme_logits() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        logits = torch.tensor([[1e4, -1e4, 0.0], [1e4, -1e4, -1e4]], dtype=dtype, requires_grad=True)
        value = regularisers.entropy(logits, weight=1)
        value.backward()
        assert value.isfinite()
        assert logits.grad.isfinite().all()


def test_pgm_drops_the_most_active_features() -> None:
    """p_y is 1, 0 and 1/2: a half, nothing and a quarter of the eight features go."""
    features = torch.tensor([[8.0, 1, 7, 2, 6, 3, 5, 4]]).repeat(3, 1).requires_grad_()
    logits = torch.tensor([[100.0, 0.0], [-100.0, 0.0], [0.0, 0.0]], requires_grad=True)
    kept = regularisers.pgm(features, logits, torch.zeros(3).long(), strength=0.5)
    expected = torch.tensor([[0, 2, 0, 4, 0, 6, 0, 8.0], [8.0, 1, 7, 2, 6, 3, 5, 4], [0, 1, 0, 2, 6, 3, 5, 4]])
    expected[2] /= 0.75
    torch.testing.assert_close(kept, expected)
    kept.sum().backward()
    torch.testing.assert_close(features.grad, (expected != 0) / torch.tensor([[0.5], [1], [0.75]]))
    assert logits.grad is None, "the probability is a constant"
    assert regularisers.pgm(features.bfloat16(), logits, torch.zeros(3).long(), strength=0.5).dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["norm", "l1", "entropy"])
def test_weights_of_penalties(name: str) -> None:
    function = getattr(regularisers, name)
    try_out_regulariser(partial(function, weight=0.0))
    with pytest.raises(ValueError, match="weight=-1: must be a number, at least 0"):
        try_out_regulariser(partial(function, weight=-1))
    for strength in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"strength={strength}"):
            try_out_regulariser(partial(regularisers.pgm, strength=strength))


@pytest.mark.parametrize(
    ("overrides", "weight"),
    [
        (["loss=anl_ce", "dataset=mnist"], 1e-6),
        (["loss=anl_ce", "dataset=cifar10"], 5e-5),
        (["loss=anl_fl", "dataset=cifar100", "protocol=zhou2021"], 5e-7),
        (["loss=nce_amse", "dataset=cifar10"], 5e-5),
        (["loss=nfl_amse", "dataset=cifar100"], 5e-6),
    ],
)
def test_cards_choose_l1_in_place_of_weight_decay(overrides: list[str], weight: float) -> None:
    cfg = compose(overrides)
    assert cfg.regulariser._target_.endswith(".l1")
    assert (cfg.regulariser.weight, cfg.optimizer.weight_decay) == (weight, 0)
    assert hydra.utils.instantiate(cfg.regulariser)([torch.ones(3)]).item() == pytest.approx(3 * weight)
    without = compose([*overrides, "regulariser=none"])
    assert without.regulariser is None
    assert without.optimizer.weight_decay == without.recipe.weight_decay


def test_regularisers_change_a_training(train, tmp_path) -> None:
    """One on the weights, one on the features: the same run ends otherwise; what is wrong with one is one line."""
    common = ["dataset=digits", "epochs=1", "threads=1", "num_trusted=1300", f"results={tmp_path}"]
    for chosen in ("none", "l1", "pgm"):
        own = ["regulariser.weight=0.01"] if chosen == "l1" else []
        done = train(f"regulariser={chosen}", *common, *own)
        assert done.code == 0, done.err
    losses_seen = {tuple(store.load(path)["history"]["train_loss"]) for path in tmp_path.glob("*.json")}
    assert len(losses_seen) == 3
    wrong = train("regulariser=l1", "regulariser.weight=-1", *common)
    assert (wrong.code, wrong.out) == (1, "")
    assert wrong.err.strip() == "error: regulariser.weight=-1: must be a number, at least 0"
