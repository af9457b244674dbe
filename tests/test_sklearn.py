"""The estimator: scikit-learn's own checks, and what it finds in noisy labels."""

import pickle

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from labelnoise.sklearn import NoisyLabelClassifier

pytestmark = pytest.mark.usefixtures("one_thread")


@parametrize_with_checks([NoisyLabelClassifier()])
def test_scikit_learns_checks(estimator, check) -> None:
    check(estimator)


@pytest.fixture(scope="module")
def noisy_digits() -> tuple[np.ndarray, ...]:
    """Pixels; 40% of the training labels, which are words, are another digit's: X, given, whether wrong; test X, y."""
    X, y = load_digits(return_X_y=True)
    train, test, truth, right = train_test_split(X, y, random_state=0, stratify=y)
    random = np.random.RandomState(0)
    wrong = random.rand(len(truth)) < 0.4
    given = np.where(wrong, (truth + random.randint(1, 10, len(truth))) % 10, truth)
    words = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    return train, words[given], wrong, test, words[right]


def test_a_robust_loss_beats_logistic_regression_and_finds_the_wrong_labels(noisy_digits) -> None:
    train, given, wrong, test, right = noisy_digits
    robust = NoisyLabelClassifier(random_state=0).fit(train, given)
    usual = LogisticRegression(max_iter=500).fit(train / 16, given)
    assert robust.score(test, right) > usual.score(test, right) + 0.05
    assert list(robust.classes_) == sorted(set(given))
    assert average_precision_score(wrong, -robust.label_quality_) > 0.98
    assert (robust.suspected_ == wrong).mean() > 0.95
    np.testing.assert_array_equal(robust.suspected_, robust.label_quality_ < 0.5)
    np.testing.assert_allclose(robust.predict_proba(test).sum(axis=1), 1)


@pytest.mark.parametrize("chosen", [{"method": "elr", "loss": "ce"}, {"method": "divide_mix", "loss": "ce"}])
@pytest.mark.parametrize("network", ["linear", "mlp"])
def test_methods(chosen: dict[str, str], network: str, noisy_digits) -> None:
    train, given, _, test, right = noisy_digits
    made = NoisyLabelClassifier(**chosen, network=network, epochs=10, random_state=0).fit(train, given)
    assert made.score(test, right) > 0.85


def test_options_reach_loss_and_method(noisy_digits) -> None:
    train, given, _, test, _ = noisy_digits
    common = {"loss": "gce", "epochs": 2, "random_state": 0}
    usual, other, same = (
        NoisyLabelClassifier(**common, options=options).fit(train, given).predict_proba(test)
        for options in ((), ("loss.q=0.1",), ("loss.q=0.7",))
    )
    assert not np.allclose(usual, other)
    np.testing.assert_array_equal(usual, same)  # the card's value


def test_sparse_samples_are_taken_as_dense_ones_that_are_scaled(noisy_digits) -> None:
    train, given, _, test, _ = noisy_digits
    made = NoisyLabelClassifier(epochs=2, standardise=False, random_state=0)
    dense = clone(made).fit(train, given).predict_proba(test)
    np.testing.assert_allclose(made.fit(csr_matrix(train), given).predict_proba(csr_matrix(test)), dense)


def test_in_scikit_learn(noisy_digits) -> None:
    """Pipelines, out-of-fold probabilities, a search over parameters, pickles; torch's own generator stays."""
    train, given, wrong, test, _ = noisy_digits
    before = torch.get_rng_state()
    piped = make_pipeline(MinMaxScaler(), NoisyLabelClassifier(epochs=5, random_state=0))
    out_of_fold = cross_val_predict(piped, train, given, cv=3, method="predict_proba")
    codes = np.unique(given, return_inverse=True)[1]
    assert average_precision_score(wrong, -out_of_fold[np.arange(len(codes)), codes]) > 0.9
    search = GridSearchCV(NoisyLabelClassifier(epochs=2, random_state=0), {"loss": ["ce", "gce"]}, cv=2)
    search.fit(train, given)
    assert set(search.best_params_) == {"loss"}
    assert torch.equal(torch.get_rng_state(), before)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(test), search.predict(test))


def test_with_cleanlab(noisy_digits) -> None:
    cleanlab = pytest.importorskip("cleanlab.classification", reason="pip install 'labelnoise[audit]'")
    train, given, wrong, test, right = noisy_digits
    codes = np.unique(given, return_inverse=True)[1]
    found = cleanlab.CleanLearning(NoisyLabelClassifier(epochs=5, random_state=0), cv_n_folds=3).fit(train, codes)
    assert (found.predict(test) == np.unique(right, return_inverse=True)[1]).mean() > 0.9
    assert (found.get_label_issues()["is_label_issue"].to_numpy() == wrong).mean() > 0.85


def test_own_network_and_verbose(noisy_digits, capsys) -> None:
    train, given, _, test, right = noisy_digits
    asked = []

    def network(outputs: int, columns: int, size: int) -> nn.Module:
        asked.append((outputs, columns, size))
        return nn.Sequential(nn.Linear(columns, 32), nn.ReLU(), nn.Linear(32, outputs))

    made = NoisyLabelClassifier(network=network, epochs=3, random_state=0, verbose=1).fit(train, given)
    assert made.score(test, right) > 0.7
    assert set(asked) == {(10, 64, 1)}
    assert [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()] == [f"epoch {k}/3" for k in (1, 2, 3)]
    NoisyLabelClassifier(epochs=1).fit(train, given)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"loss": "nope"}, r"^loss=nope: no such option"),
        ({"method": "nope"}, r"^method=nope: no such option"),
        ({"network": "cnn4"}, r"^network='cnn4': must be linear, mlp, or a function that makes one$"),
        ({"epochs": 0}, r"^epochs=0: must be a whole number, at least 1$"),
        ({"batch_size": "small"}, r"^batch_size='small': must be a whole number, at least 2$"),
        ({"learning_rate": -1}, r"^learning_rate=-1: must be a number above 0$"),
        (
            {"learning_rate": 1e37, "loss": "ce", "epochs": 20},
            r"^learning_rate=1e\+37: the loss is not finite",
        ),
        ({"options": ["loss.q=2"], "loss": "gce"}, r"^loss\.q=2(\.0)?: must be"),
        ({"method": "l2rw"}, r"^method=l2rw: needs samples with true labels, which fit\(X, y\) does not have$"),
        ({"method": "rcal"}, r"^method=rcal: needs strong views of images, which samples do not have$"),
        ({"method": "kd_at", "loss": "ce"}, r"^method=kd_at: needs feature maps of one size"),
    ],
)
def test_a_mistake_is_one_line(parameters: dict[str, object], said: str) -> None:
    X, y = np.random.RandomState(0).randn(40, 3), np.arange(40) % 2
    with pytest.raises(ValueError, match=said):
        NoisyLabelClassifier(**({"epochs": 3, "random_state": 0} | parameters)).fit(X, y)


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^y: has one class, a, must have at least two classes$"):
        NoisyLabelClassifier().fit(np.zeros((4, 2)), ["a"] * 4)
