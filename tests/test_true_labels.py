"""True labels cannot leak: where they are permuted behind the noisy ones' back, diagnostics change and nothing else.

Held fixed are only the truth that a run declares: that of its trusted images, and the noise's transition matrix for a
method that `assumes` it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from support.configs import chosen, composed, every
from support.permuted_truth import COMMON, HELD_OUT, SEED, TRUSTED, holds, outcome, parts, permuted, same, small

from labelnoise.data.dataset import Dataset
from labelnoise.data.split import split
from labelnoise.experiment.assemble import Assembled, assemble
from labelnoise.experiment.components import Components, make_loss
from labelnoise.training.device import prepare
from labelnoise.training.diagnose import OF_COLUMN

CHOICES = [(group, name) for group in ("method", "loss", "regulariser") for name in every(group)]
GIVEN = [f"method={name} method.transition=true" for name in ("forward", "backward")]
GIVEN += ["method=co_teaching", "method=p_diff batch_size=2"]  # p_diff selects from its 101st step on
GIVEN += ["method._target_=support.toy_methods.Assuming"]


@pytest.mark.parametrize(("group", "option"), CHOICES)
def test_the_truth_decides_nothing(group: str, option: str) -> None:
    assert holds(chosen(group, option, *COMMON, num_trusted=TRUSTED))


@pytest.mark.parametrize("choice", GIVEN)
def test_a_method_that_is_told_the_matrix_is_told_no_more(choice: str) -> None:
    cfg = composed(*COMMON, *choice.split())
    learned = outcome(cfg, small()[0])
    assert same(learned, outcome(cfg, permuted(fix_matrix=True)))
    assert not same(learned, outcome(cfg, permuted(fix_matrix=False))), "it does use the matrix"


@pytest.mark.parametrize("choice", ["forward", "backward"])
def test_the_error_of_an_estimated_matrix_is_only_reported(choice: str) -> None:
    cfg = composed(*COMMON, f"method={choice}")
    one, other = (outcome(cfg, dataset) for dataset in (small()[0], permuted(fix_matrix=False)))
    assert same(one, other)
    errors = (found.history["transition_error"] for found in (one, other))
    assert all(a != b for a, b in zip(*errors, strict=True))


@pytest.mark.parametrize(
    ("method", "columns"),
    [("erm", ("predicted",)), ("co_teaching", ("predicted", "selected")), ("refinery", ("predicted", "target"))],
)
def test_diagnostics_see_that_the_truth_is_another(method: str, columns: tuple[str, ...]) -> None:
    cfg = composed(*COMMON, f"method={method}")
    a, b = (outcome(cfg, dataset).history for dataset in (small()[0], permuted(fix_matrix=True)))
    for column in columns:
        assert any(a[name] != b[name] for name in OF_COLUMN[column]), column


# ---------------------------------------------------------------------------------------------- what the test must find


def validated_by_truth(cfg: DictConfig, dataset: Dataset, *rest: Any, **more: Any) -> Assembled:
    """`assemble`, with the true labels of the held-out images."""
    method, evaluation = assemble(cfg, dataset, *rest, **more)
    true = dataset.true_labels[parts(dataset.true_labels)[1]]
    return Assembled(method, evaluation._replace(val=evaluation.val._replace(labels=true)))


def trained_on_truth(*rest: Any, **more: Any) -> Assembled:
    """`assemble`, with the true label of one training image."""
    made = assemble(*rest, **more)
    wrong = (made.method.train_set.labels != made.evaluation.truth).nonzero()[-1]
    made.method.train_set.labels[wrong] = made.evaluation.truth[wrong]
    return made


@pytest.mark.parametrize("leaky", [validated_by_truth, trained_on_truth])
def test_a_leak_is_found(leaky: Callable[..., Assembled]) -> None:
    assert not holds(composed(*COMMON), leaky)


def toy(name: str) -> DictConfig:
    return composed(*COMMON, f"method._target_=support.toy_methods.{name}")


def test_a_method_that_reads_the_truth_is_found() -> None:
    assert not holds(toy("Peeking"))


def test_a_matrix_is_refused_to_a_method_that_does_not_declare_it() -> None:
    with pytest.raises(ValueError, match=r'setup\.transition: .* needs assumes = frozenset\({"transition"}\)'):
        outcome(toy("Undeclared"), small()[0])


@pytest.mark.parametrize("trusted", [0, TRUSTED])
def test_validation_uses_the_noisy_labels(trusted: int) -> None:
    cfg = composed(*COMMON, f"num_trusted={trusted}")
    dataset, labels = small()
    made = assemble(cfg, dataset, labels, Components(make_loss(cfg), prepare("cpu", "float32", 1)))
    held_out = split(dataset.true_labels, HELD_OUT, trusted, SEED)[1]
    assert torch.equal(made.evaluation.val.images, dataset.train_images[held_out])
    assert torch.equal(made.evaluation.val.labels, labels[held_out])
    assert int((labels[held_out] != dataset.true_labels[held_out]).sum()) > HELD_OUT // 4, "else the test shows nothing"


def test_labels_decide_the_split_only_as_far_as_trusted_images_need_them() -> None:
    generator = torch.Generator().manual_seed(0)
    one, two = torch.randint(0, 10, (2, 500), generator=generator)
    for seed in range(5):
        assert all(map(torch.equal, split(one, 100, 0, seed), split(two, 100, 0, seed)))
        order = np.random.RandomState(seed).permutation(500)
        parts = split(one, 100, 53, seed)
        last = max(np.flatnonzero(np.isin(order, parts[2])))
        other = one.clone()
        other[order[last + 1 :]] = two[order[last + 1 :]]
        assert all(map(torch.equal, parts, split(other, 100, 53, seed)))
        other[order[: last + 1]] = two[order[: last + 1]]
        assert not torch.equal(parts[2], split(other, 100, 53, seed)[2])
