"""Every card's loss: finite at extremes, per sample, as Hydra makes it, and what every loss refuses."""

from functools import partial

import hydra
import pytest
import torch
from support.configs import chosen, every
from support.loss_formulas import by_card, logits_and_labels, supplied

from labelnoise import losses
from labelnoise.experiment.run import compose
from labelnoise.losses import Loss
from labelnoise.losses.base import needs_of
from labelnoise.losses.combine import weighted_sum

ROWS = ("default", "mnist", "cifar10", "cifar100")


def width(loss, classes: int) -> int:
    return classes + ("extra_output" in needs_of(loss))


# --------------------------------------------------------------------------------------------------------- every card


@pytest.mark.parametrize("name", every("loss"))
def test_hydra_makes_what_python_has_by_name(name: str) -> None:
    made = hydra.utils.instantiate(chosen("loss", name, "dataset=cifar100").loss)
    named = by_card(name, "cifar100")
    assert needs_of(made) == needs_of(named)
    logits, labels = logits_and_labels(width(named, 12), 3.0)
    labels = labels % 12
    values = []
    for loss in (made, named):
        torch.manual_seed(3)
        values.append(loss(logits, labels, **supplied(named, 16, 12)))
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("name", every("loss"))
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("classes", [2, 10])
def test_finite_at_extreme_logits(name: str, dtype: torch.dtype, classes: int) -> None:
    """Value and gradient, for every row of the card."""
    rows = {str(values): values for values in (losses.published(name, row) for row in ROWS)}
    for values in rows.values():
        _assert_finite(partial(getattr(losses, name), **values), dtype, classes)


EDGES = [
    *(("agce", {"a": 0, "q": q}) for q in (0.1, 0.5, 1.0, 2.0)),
    *(("aul", {"a": 1, "q": q}) for q in (0.1, 0.5, 1.0, 2.0)),
    *(("anorm", {"a": 1, "p": p}) for p in (0.1, 0.5, 1.0, 2.0)),
    *(("comp_sum", {"tau": tau}) for tau in (1, 1.2, 2, 3)),
    *(("bi_tempered", {"t1": t1, "t2": t2}) for t1 in (0, 0.5, 1) for t2 in (1, 1.2, 4)),
    *(("ldr_kl", {"lam": lam, "margin": 0.1, "normalize": n}) for lam in (0.1, 10) for n in (False, True)),
    *(("ce_eps", {"m": m, "clamp": clamp}) for m in (0, 1e5) for clamp in (0, 1e-8)),
    *(("fl_eps", {"m": m, "gamma": gamma, "clamp": 1e-8}) for m in (0, 1e5) for gamma in (0, 0.1, 2)),
    *(("ce_logitclip", {"delta": d, "released": r}) for d in (0.5, 2.5) for r in (False, True)),
    *((name, {"pi": pi}) for name in ("js", "gjs") for pi in (1e-3, 0.5, 0.999)),
    *(("nnfl", {"gamma": gamma, "min_prob": 1e-8}) for gamma in (0, 0.5, 5)),
    *(("ens_loss_mc", {"lam": lam}) for lam in (-1, 0, 1)),
    *(
        ("any_loss_mc", {"L": L, "metric": m})
        for L in (2, 73)
        for m in ("accuracy", "f1", "balanced_accuracy", "g_mean")
    ),
    ("gccs", {"mu": 70, "sigma": 0.1, "lam": 1}),
    ("orthogonal", {"beta": 10}),
    ("gambler", {"o": 1.01}),
    ("ael", {"a": 1e-3}),
    ("focal", {"gamma": 0}),
    ("nfl", {"gamma": 5}),
    ("amse", {"a": 1}),
    ("phuber_ce", {"tau": 100}),
    ("taylor_ce", {"t": 40}),
    ("z_loss", {"a": 20, "b": 10}),
    *(("sgce", {"q": q}) for q in (1e-6, 0.7, 1, 5)),
    ("kesl", {"lam": 1, "spread": 1}),
]


@pytest.mark.parametrize(("name", "values"), EDGES, ids=lambda v: str(v))
def test_finite_at_the_edges_of_the_ranges(name: str, values: dict) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        for classes in (2, 10):
            _assert_finite(partial(getattr(losses, name), **values), dtype, classes)


def _assert_finite(loss, dtype: torch.dtype, classes: int) -> None:
    logits = torch.full((6, width(loss, classes)), -1e4)
    logits[0], logits[1, 0], logits[2, 1], logits[3] = 0, 1e4, 1e4, 1e4
    logits[4, :2], logits[5] = 1e4, torch.linspace(-1e4, 1e4, logits.shape[1])
    for y in range(2):
        z = logits.to(dtype).requires_grad_()
        given = supplied(loss, 6, classes, scale=1e4)
        given = {k: v.to(dtype) if k in ("features", "other_logits") else v for k, v in given.items()}
        value = loss(z, torch.full((6,), y), **given)
        assert value.dtype == torch.float32
        assert value.isfinite().all(), value
        value.sum().backward()
        assert z.grad.isfinite().all(), z.grad


@pytest.mark.parametrize("name", every("loss"))
def test_per_sample_shape_and_independence(name: str) -> None:
    """(B, C), (B,) -> (B,), and no image's value depends on the others in the batch, unless its needs say so."""
    loss = by_card(name, "cifar10")
    logits, labels = logits_and_labels(width(loss, 10), 3.0)
    labels = labels % 10
    given = supplied(loss, 16, 10)
    torch.manual_seed(3)
    together = loss(logits, labels, **given)
    if "batch" in needs_of(loss):
        assert together.shape in ((), (16,))
        return
    assert together.shape == (16,)
    if name != "nlnl":  # it draws
        of_images = [k for k in given if k in ("features", "other_logits")]
        alone = [
            loss(logits[i : i + 1], labels[i : i + 1], **given | {k: given[k][i : i + 1] for k in of_images})
            for i in range(16)
        ]
        torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("name", ["focal", "nfl", "nfl_agce", "anl_fl", "nfl_amse", "fl_eps_mae"])
def test_detach_follows_the_protocol(name: str) -> None:
    for protocol in ("none", "zhou2021"):
        loss = compose([f"loss={name}", f"protocol={protocol}"]).loss
        assert loss.get("first", loss).detach is (protocol == "zhou2021")


# ------------------------------------------------------------------------------------------------------------- refusals

RANGES = [
    ("agce", {"a": -0.1, "q": 1.0}, "a=-0.1"),
    ("agce", {"a": 1.0, "q": 0.0}, "q=0.0"),
    ("agce", {"a": float("nan"), "q": 1.0}, "a=nan"),
    ("aul", {"a": 0.99, "q": 1.0}, "a=0.99"),
    ("aul", {"a": 2.0, "q": -1.0}, "q=-1.0"),
    ("ael", {"a": 0.0}, "a=0.0"),
    ("anorm", {"a": 0.9, "p": 1}, "a=0.9"),
    ("anorm", {"a": 2, "p": 0}, "p=0"),
    ("gce", {"q": 0.0}, "q=0.0"),
    ("gce", {"q": 1.1}, "q=1.1"),
    ("ngce", {"q": 0.0}, "q=0.0"),
    ("sgce", {"q": 0.0}, "q=0.0"),
    ("focal", {"gamma": -1.0}, "gamma=-1.0"),
    ("nfl", {"gamma": -1.0}, "gamma=-1.0"),
    ("nnce", {"min_prob": 0}, "min_prob=0"),
    ("nnfl", {"gamma": -1}, "gamma=-1"),
    ("sce", {"alpha": -1.0, "beta": 1.0}, "alpha=-1.0"),
    ("sce", {"alpha": 1.0, "beta": -1.0}, "beta=-1.0"),
    ("mae", {"scale": 0.0}, "scale=0.0"),
    ("amse", {"a": 0.5}, "a=0.5"),
    ("ce_eps", {"m": -1}, "m=-1"),
    ("ce_eps", {"m": 1, "clamp": 1}, "clamp=1"),
    ("fl_eps", {"m": 1, "gamma": -1}, "gamma=-1"),
    ("ldr_kl", {"lam": 0, "margin": 0}, "lam=0"),
    ("ldr_kl", {"lam": 1, "margin": -1}, "margin=-1"),
    ("ce_logitclip", {"delta": 0}, "delta=0"),
    ("js", {"pi": 0}, "pi=0"),
    ("js", {"pi": 1}, "pi=1"),
    ("taylor_ce", {"t": 0}, "t=0"),
    ("taylor_ce", {"t": 1.5}, "t=1.5"),
    ("bi_tempered", {"t1": 1.1, "t2": 1}, "t1=1.1"),
    ("bi_tempered", {"t1": 1, "t2": 0.9}, "t2=0.9"),
    ("phuber_ce", {"tau": 1}, "tau=1"),
    ("comp_sum", {"tau": -1}, "tau=-1"),
    ("z_loss", {"a": 0, "b": 1}, "a=0"),
    ("kesl", {"lam": -1, "spread": 0}, "lam=-1"),
    ("kesl", {"lam": 1, "spread": 2}, "spread=2"),
    ("gambler", {"o": 1}, "o=1"),
    ("orthogonal", {"beta": -1}, "beta=-1"),
    ("mae_logit_bias", {"bias": -1}, "bias=-1"),
    ("nce_agce", {"alpha": -1, "beta": 1, "a": 1, "q": 1}, "alpha=-1"),
]


@pytest.mark.parametrize(("name", "chosen", "said"), RANGES)
def test_ranges(name: str, chosen: dict, said: str) -> None:
    """When it is called, and when the module is made."""
    function = getattr(losses, name)
    for call in (partial(function, torch.zeros(2, 3), torch.tensor([0, 1])), partial(Loss, function)):
        with pytest.raises(ValueError, match=f"^{said}: must be a (whole )?number(,| above| from)"):
            call(**chosen)


WRONG = [
    ((8, 10), (4,), torch.float32, torch.int64, r"logits \(8, 10\) and labels \(4,\)"),
    ((8, 10), (8, 1), torch.float32, torch.int64, r"labels \(8, 1\)"),
    ((8, 10), (8, 10), torch.float32, torch.int64, r"labels \(8, 10\)"),
    ((8,), (8,), torch.float32, torch.int64, r"logits \(8,\)"),
    ((8, 10, 4), (8,), torch.float32, torch.int64, r"logits \(8, 10, 4\)"),
    ((8, 1), (8,), torch.float32, torch.int64, r"logits \(8, 1\)"),
    ((8, 10), (8,), torch.int64, torch.int64, r"logits \(8, 10\) torch.int64"),
    ((8, 10), (8,), torch.float32, torch.float32, "labels torch.float32"),
    ((8, 10), (8,), torch.float32, torch.int32, "labels torch.int32"),
]


@pytest.mark.parametrize(("shape", "of_labels", "dtype", "type_of_labels", "said"), WRONG)
def test_wrong_shapes_and_types_are_refused_by_every_loss(shape, of_labels, dtype, type_of_labels, said) -> None:
    logits, labels = torch.zeros(shape, dtype=dtype), torch.zeros(of_labels, dtype=type_of_labels)
    for name in every("loss"):
        loss = by_card(name, "cifar10")
        given = supplied(loss, 8, 10)
        if "other_logits" in given:
            given["other_logits"] = logits
        for call in (loss, Loss(getattr(losses, name), **losses.published(name, "cifar10"))):
            with pytest.raises(ValueError, match=said):
                call(logits, labels, **given)


def test_a_hyper_parameter_that_no_part_has_is_refused() -> None:
    for call in (partial(weighted_sum, first=losses.ce, second=losses.mae), partial(losses.nce_mae)):
        with pytest.raises(ValueError, match="zz=1: no such hyper-parameter"):
            call(torch.zeros(1, 3), torch.tensor([0]), alpha=1, beta=1, zz=1)
