"""Every card's loss: finite at extremes, per sample, as Hydra makes it; names, shapes, ranges and the module form."""

import importlib.resources
import inspect
import math
import pickle
import pkgutil
from functools import partial

import hydra
import pytest
import torch
from conftest import every
from loss_formulas import by_card, supplied

from labelnoise import losses
from labelnoise.experiment.run import compose
from labelnoise.losses.base import Loss, needs, needs_of
from labelnoise.losses.combine import weighted_sum

ROWS = ("default", "mnist", "cifar10", "cifar100")


def logits_and_labels(classes: int, scale: float, seed: int = 0, batch: int = 16):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, generator=generator, dtype=torch.float64) * scale
    return logits.requires_grad_(), torch.randint(0, classes, (batch,), generator=generator)


def width(loss, classes: int) -> int:
    return classes + ("extra_output" in needs_of(loss))


# --------------------------------------------------------------------------------------------------------- every card


@pytest.mark.parametrize("name", every("loss"))
def test_hydra_makes_what_python_has_by_name(name: str) -> None:
    made = hydra.utils.instantiate(compose([f"loss={name}", "dataset=cifar100"]).loss)
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
        with pytest.raises(ValueError, match=said) as error:
            call(**chosen)
        assert ">" in str(error.value), "the message does not say what is allowed"


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


# ---------------------------------------------------------------------------------------------------- names and modules


def test_the_package_lists_every_loss() -> None:
    listed = dir(losses)
    assert {"agce", "nce_agce", "mae_logit_bias", "Loss", "published", *every("loss")} <= set(listed)
    for name in every("loss"):
        function = getattr(losses, name)
        assert function.__name__ == name
        assert (function.__doc__ or "").strip()
        assert pickle.loads(pickle.dumps(function)) is function


def test_names_come_from_all_alone() -> None:
    """`losses.log` is not math's, and no name stands in two modules: a run's id has the function's name only."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(losses.__path__):
        content = importlib.import_module(f"labelnoise.losses.{module.name}")
        for name in content.__all__:
            assert name not in found, f"{name} is in {found[name]} and {module.name}"
            assert getattr(content, name).__module__ == content.__name__
            found[name] = module.name
    for name in ("log", "Tensor", "of_label", "in_range", "inspect", "nosuch", "l1"):
        with pytest.raises(AttributeError, match=f"no loss '{name}'"):
            getattr(losses, name)


def test_sums_say_their_hyper_parameters() -> None:
    parameters = inspect.signature(losses.ce_eps_mae).parameters
    assert list(parameters) == ["logits", "labels", "alpha", "beta", "m", "clamp"]
    assert parameters["clamp"].default == 0.0
    assert parameters["m"].default is inspect.Parameter.empty
    assert "epsilon-softmax" in losses.ce_eps_mae.__doc__


def test_published_values_are_the_cards() -> None:
    assert losses.published("agce", "cifar10") == {"a": 0.6, "q": 0.6}
    assert losses.published("nce_agce", "cifar100") == {"alpha": 10.0, "beta": 0.1, "a": 1.8, "q": 3.0}
    assert losses.published("ce", "cifar10") == {}
    losses.published("agce", "cifar10")["a"] = 5
    assert losses.published("agce", "cifar10")["a"] == 0.6
    with pytest.raises(ValueError, match=r"loss=agcee: no such loss; one of .*agce"):
        losses.published("agcee", "cifar10")
    with pytest.raises(ValueError, match=r"dataset=svhn: the card of agce has no such row; one of default, mnist"):
        losses.published("agce", "svhn")


PUBLISHED = {  # loss -> values for CIFAR-10 and CIFAR-100, from the papers' released configurations
    "anl_ce": [{"alpha": 5, "beta": 5}, {"alpha": 10, "beta": 1}],
    "anl_fl": [{"alpha": 5, "beta": 5, "gamma": 0.5}, {"alpha": 10, "beta": 1, "gamma": 0.5}],
    "ce_eps_mae": [{"alpha": 0.01, "beta": 5, "m": 1e5}, {"alpha": 0.03, "beta": 1, "m": 1e4}],
    "fl_eps_mae": [
        {"alpha": 0.01, "beta": 5, "m": 1e5, "gamma": 0.1},
        {"alpha": 0.03, "beta": 1, "m": 1e4, "gamma": 0.1},
    ],
    "nce_amse": [{"alpha": 1, "beta": 1, "a": 30}, {"alpha": 5, "beta": 1, "a": 20}],
    "nfl_amse": [{"alpha": 1, "beta": 1, "a": 30, "gamma": 0.5}, {"alpha": 5, "beta": 1, "a": 20, "gamma": 0.5}],
    "ldr_kl": [{"lam": 10, "margin": 0.1}, {"lam": 1, "margin": 0.1}],
    "ce_logitclip": [{"delta": 1}, {"delta": 0.5}],
    "js": [{"pi": 0.7}, {"pi": 0.3}],
    "phuber_ce": [{"tau": 2}, {"tau": 10}],
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_cards_hold_the_published_values(name: str) -> None:
    assert [losses.published(name, row) for row in ("cifar10", "cifar100")] == PUBLISHED[name]
    assert losses.published(name, "default") == losses.published(name, "cifar10")


def test_module_form() -> None:
    logits, labels = logits_and_labels(10, 2.0)
    values = losses.agce(logits, labels, a=0.6, q=0.6)
    assert losses.Loss is Loss
    torch.testing.assert_close(Loss(losses.agce, a=0.6, q=0.6)(logits, labels), values.mean())
    torch.testing.assert_close(Loss(losses.agce, "sum", a=0.6, q=0.6)(logits, labels), values.sum())
    torch.testing.assert_close(Loss(losses.agce, reduction="none", a=0.6, q=0.6)(logits, labels), values)
    assert repr(Loss(losses.agce, a=0.6, q=0.6)) == "Loss(agce, reduction=mean, a=0.6, q=0.6)"
    copied = pickle.loads(pickle.dumps(Loss(losses.nce_agce, **losses.published("nce_agce", "mnist"))))
    assert copied(logits, labels).isfinite()


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("agce", {"a": 1, "q": 1, "foo": 1}, "foo=1: agce has no such hyper-parameter; it has a, q"),
        ("agce", {"a": 1}, "q: agce needs a value, q=..."),
        ("ce", {"a": 1}, "a=1: ce has no such hyper-parameter; it has none"),
        ("agce", {"a": "1", "q": 1}, "a=1: must be a number"),
        ("nce_agce", {"alpha": 1, "beta": 1, "a": 1}, "q: nce_agce needs a value, q=..."),
        ("nce_agce", {"alpha": 1, "beta": 1, "a": 1, "q": 1, "gamma": 1}, "gamma=1: nce_agce has no such"),
        ("agce", {"reduction": "median", "a": 1, "q": 1}, "reduction=median: must be mean, sum or none"),
    ],
)
def test_a_module_is_refused_when_it_is_made(name: str, given: dict, said: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011
        Loss(getattr(losses, name), **given)
    assert str(error.value).startswith(said)


def test_making_a_module_draws_nothing_and_takes_anyones_function() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    Loss(losses.nlnl)
    assert torch.equal(torch.rand(1), expected)

    def for_seven_classes(logits, labels, weight):
        return logits @ torch.ones(7) * weight + labels

    assert Loss(for_seven_classes, weight=2)(torch.ones(4, 7), torch.zeros(4).long()) == 14


def test_needs_are_seen_through_partials_and_sums() -> None:
    @needs("features", "batch")
    def of_features(logits, labels, *, features):
        return features.mean() + 0 * logits.sum(1)

    made = partial(weighted_sum, first=losses.ce, second=partial(of_features), alpha=1.0, beta=2.0)
    assert needs_of(made) == {"features", "batch"}
    assert needs_of(partial(losses.agce, a=1, q=1)) == needs_of(losses.nce_agce) == frozenset()
    assert needs_of(Loss(losses.ce)) == frozenset()
    logits, labels = logits_and_labels(3, 1.0)
    features = torch.ones(16, 5)
    torch.testing.assert_close(made(logits, labels, features=features), losses.ce(logits, labels) + 2)
    with pytest.raises(ValueError, match=r"needs\('feature'\): must be one of features"):
        needs("feature")


def test_other_logits_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"logits \(2, 3\) and other_logits \(2, 4\)"):
        losses.gjs(torch.zeros(2, 3), torch.tensor([0, 1]), 0.5, other_logits=torch.zeros(2, 4))


def test_kesl_shares_within_the_superclass() -> None:
    """Two superclasses, one of them a class alone: by hand."""
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64)).expand(2, 4)
    labels, superclass = torch.tensor([0, 3]), torch.tensor([7, 7, 7, 2])
    value = losses.kesl(logits, labels, lam=1, spread=0.5, superclass=superclass)
    two = math.log(2)
    expected = [two + 0.5 * two + 0.5 * (2 * two + 3 * two) / 2, 3 * two + 3 * two]
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))


def test_types_are_shipped() -> None:
    assert (importlib.resources.files("labelnoise") / "py.typed").is_file()
