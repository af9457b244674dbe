"""Losses from Python: names, published values, the module form, and what a loss says that it needs."""

import importlib.resources
import inspect
import math
import pickle
import pkgutil
from functools import partial

import pytest
import torch
from support.configs import every
from support.loss_formulas import logits_and_labels
from torch._subclasses.fake_tensor import FakeTensorMode

from labelnoise import losses
from labelnoise.losses import Loss
from labelnoise.losses.base import needs, needs_of
from labelnoise.losses.combine import weighted_sum


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
    for name in ("log", "Tensor", "of_label", "checked", "inspect", "nosuch", "l1"):
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
    assert losses.published("ce_logitclip", "cifar10", "asym", 0.4) == {"delta": 2.5}
    assert losses.published("taylor_ce", "cifar10") == {"t": 2}, "a card with a default alone"
    with pytest.raises(ValueError, match=r"noise=pairflip: must be one of sym, asym, instance, human, or None"):
        losses.published("agce", "cifar10", "pairflip")


PUBLISHED = {  # loss -> values for clean CIFAR-10 and CIFAR-100, from the papers' released configurations
    "anl_ce": [{"alpha": 5, "beta": 5}, {"alpha": 10, "beta": 1}],
    "anl_fl": [{"alpha": 5, "beta": 5, "gamma": 0.5}, {"alpha": 10, "beta": 1, "gamma": 0.5}],
    "ce_eps_mae": [{"alpha": 0.01, "beta": 5, "m": 1e5}, {"alpha": 0.1, "beta": 1, "m": 1e4}],
    "fl_eps_mae": [
        {"alpha": 0.01, "beta": 5, "m": 1e5, "gamma": 0.1},
        {"alpha": 0.1, "beta": 1, "m": 1e4, "gamma": 0.1},
    ],
    "nce_amse": [{"alpha": 1, "beta": 1, "a": 30}, {"alpha": 5, "beta": 1, "a": 20}],
    "nfl_amse": [{"alpha": 1, "beta": 1, "a": 30, "gamma": 0.5}, {"alpha": 5, "beta": 1, "a": 20, "gamma": 0.5}],
    "ldr_kl": [{"lam": 10, "margin": 0.1}, {"lam": 1, "margin": 0.1}],
    "ce_logitclip": [{"delta": 1}, {"delta": 0.5}],
    "js": [{"pi": 0.1}, {"pi": 0.1}],
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


def test_a_loss_checks_its_ranges_on_shapes_alone_and_compiled() -> None:
    """As one graph, whatever its hyper-parameters are; a wrong one is refused there too."""
    for mode in (torch.device("meta"), FakeTensorMode()):
        with mode:
            empty = torch.empty(4, 3), torch.empty(4, dtype=torch.long)
            assert losses.agce(*empty, a=0.5, q=2).shape == (4,)
            with pytest.raises(ValueError, match=r"^q=0: must be a number above 0$"):
                losses.agce(*empty, a=0.5, q=0)
    logits, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    whole = torch.compile(losses.agce, backend="eager", fullgraph=True)
    for a in (0.1, 1):
        torch.testing.assert_close(whole(logits, labels, a=a, q=0.5), losses.agce(logits, labels, a=a, q=0.5))
    with pytest.raises(ValueError, match=r"^a=-1: must be a number, at least 0$"):
        torch.compile(losses.agce, backend="eager")(logits, labels, a=-1, q=1.0)
