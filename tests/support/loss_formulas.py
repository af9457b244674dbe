"""The formulas of the losses, written once more in float64 numpy from the papers' text, and what to try them with."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import strategies as st

from labelnoise import losses
from labelnoise.losses.base import needs_of

Array = np.ndarray
RCE_ZERO = np.log(1e-4)


class Case(NamedTuple):
    """A formula `(z (B, C), y (B,), **hyper_parameters) -> (B,)` and the hyper-parameters to draw."""

    formula: Callable[..., Array]
    draws: dict[str, st.SearchStrategy[Any]]


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def one_hot(z: Array, y: Array) -> Array:
    return np.eye(z.shape[1])[y]


def at(values: Array, y: Array) -> Array:
    return values[np.arange(len(y)), y]


def of_p(formula: Callable[..., Array]) -> Callable[..., Array]:
    """A formula of p_y alone."""
    return lambda z, y, **h: formula(at(softmax(z), y), **h)


def normalized(values: Array, y: Array) -> Array:
    return at(values, y) / values.sum(1)


def focal_all(z: Array, gamma: float) -> Array:
    p = softmax(z)
    return -((1 - p) ** gamma) * np.log(p)


def nnfl(z: Array, y: Array, gamma: float, min_prob: float) -> Array:
    p = softmax(z)
    largest = -((1 - min_prob) ** gamma) * np.log(min_prob)
    weight = np.minimum((1 - p) ** gamma, (1 - min_prob) ** gamma)
    turned = largest + weight * np.log(np.maximum(p, min_prob))
    return 1 - normalized(turned, y)


def epsilon_softmax(z: Array, m: float) -> Array:
    p = softmax(z)
    return (p + m * np.eye(z.shape[1])[p.argmax(1)]) / (m + 1)


def fl_eps(z: Array, y: Array, m: float, gamma: float, clamp: float = 0.0) -> Array:
    e = np.maximum(at(epsilon_softmax(z, m), y), clamp)
    return -((1 - e) ** gamma) * np.log(e)


def anorm(z: Array, y: Array, a: float, p: float) -> Array:
    return ((np.abs(a * one_hot(z, y) - softmax(z)) ** p).sum(1) - (a - 1) ** p) / p


def ldr_kl(z: Array, y: Array, lam: float, margin: float, normalize: bool) -> Array:
    if normalize:
        z = np.log1p(np.exp(z))
        z = z / z.mean(1, keepdims=True)
    margins = z - at(z, y)[:, None] + margin * (1 - one_hot(z, y))
    return lam * np.log(np.exp(margins / lam).mean(1))


def ce_logitclip(z: Array, y: Array, delta: float, released: bool) -> Array:
    norm = np.sqrt((z**2).sum(1, keepdims=True))
    clipped = np.where(norm > (1 / delta if released else delta), z * delta / norm, z)
    return -np.log(at(softmax(clipped), y))


def kl(p: Array, m: Array) -> Array:
    safe = np.where(p > 0, p, 1)
    return (p * (np.log(safe) - np.log(m))).sum(1)


def js(z: Array, y: Array, pi: float) -> Array:
    p, e = softmax(z), one_hot(z, y)
    m = pi * e + (1 - pi) * p
    return -(pi * kl(e, m) + (1 - pi) * kl(p, m)) / ((1 - pi) * np.log(1 - pi))


def gjs(z: Array, y: Array, pi: float, other_logits: Array) -> Array:
    p, q, e = softmax(z), softmax(other_logits), one_hot(z, y)
    w = (1 - pi) / 2
    m = pi * e + w * p + w * q
    return -(pi * kl(e, m) + w * kl(p, m) + w * kl(q, m)) / ((1 - pi) * np.log(1 - pi))


def bi_tempered(z: Array, y: Array, t1: float, t2: float) -> Array:
    """The normalisation by bisection."""

    def tempered_exp(x: Array) -> Array:
        return np.exp(x) if t2 == 1 else np.maximum(1 + (1 - t2) * x, 0) ** (1 / (1 - t2))

    def tempered_log(x: Array) -> Array:
        return np.log(x) if t1 == 1 else (x ** (1 - t1) - 1) / (1 - t1)

    z = z - z.max(1, keepdims=True)
    low, high = np.zeros((len(z), 1)), np.full((len(z), 1), 1e7)
    for _ in range(120):
        middle = (low + high) / 2
        above = tempered_exp(z - middle).sum(1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    p = tempered_exp(z - low)
    return -tempered_log(at(p, y)) - (1 - (p ** (2 - t1)).sum(1)) / (2 - t1)


def z_loss(z: Array, y: Array, a: float, b: float) -> Array:
    standard = (at(z, y) - z.mean(1)) / np.sqrt(z.var(1) + 1e-6)
    return np.log1p(np.exp(a * (b - standard))) / a


def gambler(z: Array, y: Array, o: float) -> Array:
    p = softmax(z)
    return -np.log(at(p, y) + p[:, -1] / o)


def orthogonal(z: Array, y: Array, beta: float) -> Array:
    cosines = z / np.sqrt((z**2).sum(1, keepdims=True))
    squares = cosines**2 * (1 - one_hot(z, y))
    return 1 - at(cosines, y) + beta * squares.sum(1) / (z.shape[1] - 1)


def ens_loss(z: Array, y: Array, lam: float, drawn: Array) -> tuple[Array, Array]:
    """Margins and derivatives at them, of drawn standard normals (B,)."""
    margins = at(z, y) - np.log((np.exp(z) * (1 - one_hot(z, y))).sum(1))
    with np.errstate(divide="ignore"):
        sizes = np.exp(drawn) if lam == 0 else np.maximum(1 + lam * drawn, 0) ** (1 / lam)
    derivatives = np.empty(len(z))
    derivatives[np.argsort(margins)] = np.sort(np.maximum(-sizes, -1))
    return margins, np.where(margins > 1, derivatives / np.maximum(margins, 1), derivatives) - 1e-6


def any_loss(p: Array, true: Array, L: float, metric: str) -> float:
    """Of probabilities (B,) and truth (B,) of one class."""
    a = 1 / (1 + np.exp(-L * (p - 0.5)))
    tp, fn, fp, tn = (true * a).sum(), (true * (1 - a)).sum(), ((1 - true) * a).sum(), ((1 - true) * (1 - a)).sum()
    return (
        1
        - {
            "accuracy": (tp + tn) / len(p),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "balanced_accuracy": (tp / (tp + fn) + tn / (tn + fp)) / 2,
            "g_mean": np.sqrt(tp / (tp + fn) * tn / (tn + fp)),
        }[metric]
    )


def gccs(z: Array, y: Array, mu: float, sigma: float, lam: float) -> float:
    """Class by class and output by output."""
    of_classes = []
    for label in np.unique(y):
        own, total = z[y == label], 0.0
        for k in range(z.shape[1]):
            mean, target = own[:, k].mean(), mu * (k == label)
            variance = ((own[:, k] - mean) ** 2).mean() + sigma**2 / 1000
            total += np.log(sigma**2 / variance) - 1 + variance / sigma**2 + (mean - target) ** 2 / sigma**2
            total += lam * (((own[:, k] - mean) ** 4).mean() / variance**2 - 3) ** 2
        of_classes.append(total)
    return float(np.mean(of_classes))


def kesl(z: Array, y: Array, lam: float, spread: float, superclass: Array | None = None) -> Array:
    logs, value = np.log(softmax(z)), []
    for row, label in zip(logs, y, strict=True):
        group = np.arange(z.shape[1]) if superclass is None else np.flatnonzero(superclass == superclass[label])
        others = [k for k in group if k != label]
        target = np.zeros(z.shape[1])
        target[others] = spread / max(len(others), 1)
        target[label] = 1 - target.sum()
        value.append(-row[label] - lam * (target * row).sum())
    return np.array(value)


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high)


GAMMA, MIN_PROB = floats(0, 4), floats(1e-8, 1e-3)
CASES: dict[str, Case] = {
    "ce": Case(of_p(lambda p: -np.log(p)), {}),
    "focal": Case(of_p(lambda p, gamma: -((1 - p) ** gamma) * np.log(p)), {"gamma": GAMMA}),
    "mae": Case(lambda z, y: np.abs(softmax(z) - one_hot(z, y)).sum(1), {}),
    "gce": Case(of_p(lambda p, q: (1 - p**q) / q), {"q": floats(0.01, 1)}),
    "rce": Case(lambda z, y: -(softmax(z) * np.log(np.maximum(one_hot(z, y), 1e-4))).sum(1), {}),
    "sce": Case(
        of_p(lambda p, alpha, beta: -alpha * np.log(p) - beta * RCE_ZERO * (1 - p)),
        {"alpha": floats(0, 5), "beta": floats(0, 5)},
    ),
    "nce": Case(lambda z, y: normalized(np.log(softmax(z)), y), {}),
    "nfl": Case(lambda z, y, gamma: normalized(focal_all(z, gamma), y), {"gamma": GAMMA}),
    "ngce": Case(lambda z, y, q: normalized(1 - softmax(z) ** q, y), {"q": floats(0.01, 1)}),
    "agce": Case(
        of_p(lambda p, a, q: ((a + 1) ** q - (a + p) ** q) / q),
        {"a": st.just(0.0) | floats(1e-3, 10), "q": floats(0.05, 4)},
    ),
    "aul": Case(
        of_p(lambda p, a, q: ((a - p) ** q - (a - 1) ** q) / q),
        {"a": st.just(1.0) | floats(1.001, 10), "q": floats(0.05, 4)},
    ),
    "ael": Case(of_p(lambda p, a: np.exp(-p / a)), {"a": floats(0.1, 10)}),
    "anorm": Case(anorm, {"a": st.just(1.0) | floats(1.001, 10), "p": floats(0.2, 3)}),
    "nnce": Case(lambda z, y, min_prob: nnfl(z, y, 0, min_prob), {"min_prob": MIN_PROB}),
    "nnfl": Case(nnfl, {"gamma": GAMMA, "min_prob": MIN_PROB}),
    "ce_eps": Case(
        lambda z, y, m, clamp: -np.log(np.maximum(at(epsilon_softmax(z, m), y), clamp)),
        {"m": floats(0, 1e5), "clamp": st.just(0.0) | floats(1e-9, 1e-7)},
    ),
    "fl_eps": Case(fl_eps, {"m": floats(0, 1e5), "gamma": GAMMA, "clamp": st.just(0.0) | floats(1e-9, 1e-7)}),
    "mse": Case(lambda z, y: ((softmax(z) - one_hot(z, y)) ** 2).sum(1), {}),
    "amse": Case(lambda z, y, a: ((softmax(z) - a * one_hot(z, y)) ** 2).mean(1), {"a": floats(1, 40)}),
    "ldr_kl": Case(ldr_kl, {"lam": floats(0.1, 20), "margin": floats(0, 2), "normalize": st.booleans()}),
    "ce_logitclip": Case(ce_logitclip, {"delta": floats(0.2, 5), "released": st.booleans()}),
    "js": Case(js, {"pi": floats(0.01, 0.99)}),
    "gjs": Case(gjs, {"pi": floats(0.01, 0.99)}),
    "taylor_ce": Case(of_p(lambda p, t: sum((1 - p) ** i / i for i in range(1, t + 1))), {"t": st.integers(1, 8)}),
    "bi_tempered": Case(bi_tempered, {"t1": st.just(1.0) | floats(0, 0.95), "t2": st.just(1.0) | floats(1.05, 4)}),
    "phuber_ce": Case(
        of_p(lambda p, tau: np.where(p > 1 / tau, -np.log(p), np.log(tau) + 1 - tau * p)), {"tau": floats(1.01, 50)}
    ),
    "unhinged": Case(lambda z, y: 1 - at(z, y) + z.mean(1), {}),
    "sgce": Case(lambda z, y, q: ((softmax(z) ** q).mean(1) - at(softmax(z), y) ** q) / q, {"q": floats(0.01, 4)}),
    "comp_sum": Case(
        lambda z, y, tau: of_p(lambda p: -np.log(p) if tau == 1 else (p ** (tau - 1) - 1) / (1 - tau))(z, y),
        {"tau": st.just(1.0) | floats(0, 0.95) | floats(1.05, 4)},
    ),
    "z_loss": Case(z_loss, {"a": floats(0.1, 5), "b": floats(-3, 10)}),
    "gambler": Case(gambler, {"o": floats(1.01, 10)}),
    "orthogonal": Case(orthogonal, {"beta": floats(0, 3)}),
    "kesl": Case(kesl, {"lam": floats(0, 3), "spread": floats(0, 1)}),
}

PARTS = {  # of the sums, where the name does not say so
    "anl_ce": ("nce", "nnce"),
    "anl_fl": ("nfl", "nnfl"),
    "ce_eps_mae": ("ce_eps", "mae"),
    "fl_eps_mae": ("fl_eps", "mae"),
}
BIASED = {"mae_logit_bias": "mae", "gce_logit_bias": "gce"}


def logits_and_labels(classes: int, scale: float, seed: int = 0, batch: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, C), float64, and (B,)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=generator, dtype=torch.float64) * scale
    return logits.requires_grad_(), torch.randint(0, classes, (batch,), generator=generator)


def supplied(loss: Callable[..., Any], batch: int, classes: int, seed: int = 0, scale: float = 1.0) -> dict[str, Any]:
    """What a loss needs beyond logits and labels, as the training step would give it."""
    generator = torch.Generator().manual_seed(seed + 1)
    everything = {
        "features": torch.randn(batch, 16, generator=generator, dtype=torch.float64) * scale,
        "other_logits": torch.randn(batch, classes, generator=generator, dtype=torch.float64) * scale,
        "superclass": torch.arange(classes) % 3,
        "generator": generator,
    }
    return {name: value for name, value in everything.items() if name in needs_of(loss)}


def by_card(name: str, row: str) -> Callable[..., torch.Tensor]:
    """A card's loss with one row of its values, without Hydra."""
    return partial(getattr(losses, name), **losses.published(name, row))
