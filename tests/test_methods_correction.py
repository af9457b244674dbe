"""Forward and backward correction and the transition matrix they use: closed forms, files, and the estimate."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from support.configs import composed
from support.shapes import shapes_only, take_two_steps
from support.small_setups import small_setup

from labelnoise.config import identity
from labelnoise.estimates.transition import anchor_estimate, error_of, given_matrix
from labelnoise.experiment.run import compose
from labelnoise.losses import gce
from labelnoise.methods.correction import Backward, Correction, Forward
from labelnoise.training.method import Setup

LABELS = [0, 1, 2, 1, 0, 2, 2, 1]
T = np.array([[0.7, 0.2, 0.1], [0.0, 0.6, 0.4], [0.25, 0.25, 0.5]])
BOTH = pytest.mark.parametrize("method", [Forward, Backward])


def known(labels: list[int] = LABELS, epochs: int = 10) -> Setup:
    return small_setup(labels, epochs=epochs)._replace(transition=torch.from_numpy(T).float())


def make(method: type[Correction], from_setup: Setup, transition: Any = True) -> Correction:
    own = {"clip": 1e-7} if method is Backward else {}
    return method(from_setup, transition=transition, warm_up=0.2, quantile=1.0, **own)


def objective(method: Correction, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    batch = method.train_set.batch(torch.arange(len(labels)))._replace(labels=labels)
    outputs = method.criterion.outputs(method.learner, batch)
    return method.objective(outputs._replace(logits=logits), batch)


@BOTH
def test_with_the_true_matrix_the_minimiser_is_the_clean_one(method: type[Correction]) -> None:
    """The expected loss over an image's noisy labels is smallest at its true distribution, without noise in it."""
    clean = np.array([0.6, 0.3, 0.1])
    noisy = torch.from_numpy(clean @ T).float()
    logits = torch.zeros(1, 3, requires_grad=True)
    made = make(method, known())
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-8)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        risk = (noisy * objective(made, logits.expand(3, 3), torch.arange(3))).sum()
        risk.backward()
        return risk

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(softmax(logits.detach().numpy()[0]), clean, atol=2e-3)


def test_the_backward_loss_is_unbiased() -> None:
    """Its mean over a true class's noisy labels is the loss of the true label."""
    made = make(Backward, known())
    logits = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)).expand(3, 3)
    values = objective(made, logits, torch.arange(3)).detach().numpy()
    np.testing.assert_allclose(T @ values, -log_softmax(logits[0].numpy()), rtol=1e-4)


@BOTH
def test_an_impossible_label_gives_a_finite_gradient(method: type[Correction]) -> None:
    made = make(method, known()._replace(transition=torch.eye(3)))
    logits = torch.tensor([[200.0, -200.0, 0.0]], requires_grad=True)
    objective(made, logits, torch.tensor([1])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_backward_loss_has_a_lower_bound() -> None:
    """Its weights are negative for two labels; a logit without bound gives -log 1e-7 of each and no gradient."""
    made = make(Backward, known())
    logits = torch.tensor([[0.0, 1e4, 0.0]], requires_grad=True)
    value = objective(made, logits, torch.tensor([0])).sum()
    value.backward()
    most = -np.log(1e-7)
    first = np.linalg.inv(T)[0]
    assert float(value.detach()) == pytest.approx(most * (first[0] + first[2]), rel=1e-3)
    assert logits.grad is not None
    assert float(logits.grad.abs().max()) == 0


def test_backward_with_another_loss_clips_its_logits() -> None:
    made = make(Backward, known()._replace(loss=partial(gce, q=0.7)))
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double() * 30
    p = softmax(logits.numpy(), axis=1).clip(1e-7, 1 - 1e-7)
    p /= p.sum(1, keepdims=True)
    expected = (np.linalg.inv(T)[[0, 1, 2, 0]] * (1 - p**0.7) / 0.7).sum(1)
    values = objective(made, logits, torch.tensor([0, 1, 2, 0])).detach().numpy()
    np.testing.assert_allclose(values, expected, rtol=1e-4)


@BOTH
def test_the_matrix_is_estimated_after_the_warm_up(method: type[Correction]) -> None:
    made = make(method, known(), "anchor")
    for made.clock.epoch in range(5):
        probs = softmax(made.predict(made.train_set.plain(torch.arange(8))).detach().double().numpy(), axis=1)
        made.begin_epoch()
        if made.clock.epoch < 2:
            expected = np.eye(3)
        elif made.clock.epoch == 2:
            expected = probs[probs.argmax(axis=0)]
        np.testing.assert_allclose(made.matrix.numpy(), expected, atol=1e-6)
        np.testing.assert_allclose(made.inverse.numpy() @ expected, np.eye(3), atol=1e-2)
        error = made.step(made.feeds()[0]).metrics["transition_error"]
        assert float(error) == pytest.approx(abs(expected - T).sum() / 3, rel=1e-4)
    assert "transition_error" not in make(method, small_setup(LABELS), "anchor").step(made.feeds()[0]).metrics
    assert "transition_error" not in make(method, known()).step(made.feeds()[0]).metrics


def test_anchor_points_at_a_quantile() -> None:
    """Images whose predictions are mixtures of T's rows: the purest image gives the row itself."""
    shares = np.random.default_rng(0).dirichlet([0.3] * 3, size=101)
    shares[:3] = np.eye(3)
    probs = torch.from_numpy(shares @ T)
    pure = torch.from_numpy(np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.0, 0.2, 0.8]]))
    own = torch.cat([pure, torch.full((98, 3), 1 / 3, dtype=torch.float64)])
    assert torch.equal(anchor_estimate(own, 1.0), pure)
    for k in range(3):
        order = np.sort(probs[:, k].numpy())
        assert float(anchor_estimate(probs, 0.97)[k, k]) == order[97]
    assert float(error_of(torch.eye(3), torch.from_numpy(T))) == pytest.approx((0.6 + 0.8 + 1.0) / 3)


def test_a_matrix_from_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "t.npy", T)
    (tmp_path / "t.json").write_text(json.dumps(T.tolist()))
    for name in ("t.npy", "t.json"):
        matrix = given_matrix(str(tmp_path / name), None, 3)
        assert matrix is not None
        np.testing.assert_allclose(matrix.numpy(), T, rtol=1e-6)


def test_the_content_of_a_matrix_names_its_run(tmp_path: Path) -> None:
    path = tmp_path / "t.npy"

    def run_id() -> str:
        cfg = compose(["dataset=digits", "method=forward", f"method.transition={path}"])
        return identity.run_id(identity.effective(cfg))

    np.save(path, T)
    first = run_id()
    np.save(path, np.eye(3))
    assert run_id() != first
    path.unlink()
    with pytest.raises(ValueError, match=r"method\.transition=.*t\.npy: cannot be read"):
        run_id()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "no such file"),
        ("[[1, 0], [0, 1]]", r"has shape \(2, 2\), must be \(3, 3\)"),
        ("[[1, 0, 0], [0, 1, 0], [0.5, 0.2, 0.2]]", "must have rows of probabilities that sum to 1"),
        ("[[2, -1, 0], [0, 1, 0], [0, 0, 1]]", "must have rows of probabilities that sum to 1"),
        ("[[NaN, 1, 0], [0, 1, 0], [0, 0, 1]]", "must have rows of probabilities that sum to 1"),
        ('{"a": 1}', "cannot be read as a matrix"),
        ("[[1, 0, 0], [0, 1]]", "cannot be read as a matrix"),
        ("no json", "cannot be read as a matrix"),
    ],
)
def test_a_bad_matrix_is_refused_in_one_line(content: str | None, line: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=rf"method\.transition=.*t\.json: {line}") as refused:
        given_matrix(str(path), None, 3)
    assert "\n" not in str(refused.value)


def test_other_words_are_refused() -> None:
    for word in ("false", False, "anchors", "t.txt"):
        with pytest.raises(ValueError, match=f"method.transition={str(word).lower()}: must be true, anchor or a file"):
            given_matrix(word, None, 3)
    with pytest.raises(ValueError, match=r"method\.transition=true: this data set has no true labels"):
        given_matrix(True, None, 3)


@pytest.mark.parametrize("loss", ["gce", "nce_agce"])
@pytest.mark.parametrize("name", ["forward", "backward"])
def test_any_loss_is_corrected_without_waiting(name: str, loss: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(composed("dataset=digits", f"method={name}", f"loss={loss}"), 1, 8)
