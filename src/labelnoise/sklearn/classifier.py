"""A classifier for scikit-learn that is trained on labels some of which may be wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from labelnoise.experiment.estimator import MakeMethod, configured
from labelnoise.losses.base import of_label
from labelnoise.training.loop import start_epoch
from labelnoise.training.method import Method

TOGETHER = 4096  # samples at once, outside training
FEW, SMALL, LARGE = 10_000, 32, 128  # batch_size="auto": up to FEW samples SMALL, else LARGE
DENSE = (np.float64, np.float32)


class NoisyLabelClassifier(ClassifierMixin, BaseEstimator):
    """A robust loss or method on feature vectors.

    Columns are standardised by the training data's mean and deviation (sparse ones by the deviation alone), and trained
    on in float32, with Adam and a cosine schedule; nothing is written, and on a CPU the same random_state gives the
    same result. Predictions are those of the network that `save_model=true` would save.

    Args:
        loss: a loss by its name in docs/losses.md.
        method: a method by its name in docs/methods.md; one that needs neither images nor samples with true labels.
        network: linear, mlp, or a function `(num_classes, columns, 1) -> torch.nn.Module`.
        epochs: passes over the data, at least 1.
        batch_size: samples a step, at least 2; "auto": 32, or 128 for more than 10,000 samples.
        learning_rate: of Adam, > 0.
        options: further options as on the command line, such as ("loss.q=0.5", "method.lam=3").
        standardise: whether columns are standardised.
        random_state: of the network's first weights and the order; as in scikit-learn.
        verbose: prints each epoch's mean loss if above 0.
    Attributes:
        classes_: (C,), the labels, sorted.
        label_quality_: (N,), 0 to 1: the logistic function of z_y - max_{k != y} z_k, the logits' margin of the given
            label, averaged over the second half of the epochs. Small where the label is likely to be wrong.
        suspected_: (N,), bool: whether this is below 1/2, so that another class was predicted on average.
        network_: the trained network.
        n_features_in_, feature_names_in_: as in scikit-learn.
    Source of the label quality: Pleiss et al. 2020, arXiv:2001.10528, the area under the margin, of predictions between
        epochs.
    """

    def __init__(
        self,
        loss: str = "nce_agce",
        method: str = "erm",
        network: Any = "linear",
        epochs: int = 30,
        batch_size: int | str = "auto",
        learning_rate: float = 0.01,
        options: Sequence[str] = (),
        standardise: bool = True,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.loss, self.method, self.network = loss, method, network
        self.epochs, self.batch_size, self.learning_rate = epochs, batch_size, learning_rate
        self.options, self.standardise, self.random_state, self.verbose = options, standardise, random_state, verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X: Any, y: Any) -> "NoisyLabelClassifier":
        """Train on samples (N, D), dense or sparse, and labels (N,) of any type.

        Raises:
            ValueError: a parameter, name or option is wrong; X or y is not as scikit-learn demands; or y has one class.
        """
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=list(DENSE))
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y: has one class, {self.classes_[0]}, must have at least two classes")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._scaler = StandardScaler(with_mean=not issparse(X)).fit(X) if self.standardise else None
        labels = torch.from_numpy(codes.astype(np.int64))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            make_method = configured(self, X.shape[1])
            self._train(self._samples(X, torch.float32), labels, make_method, seed)
        return self

    def _samples(self, X: Any, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
        """A function index (B,) -> standardised samples (B, D); sparse ones stay sparse until then."""
        scaled = X if self._scaler is None else self._scaler.transform(X)
        if issparse(scaled):
            return lambda index: torch.from_numpy(scaled[index.numpy()].toarray()).to(dtype)
        return torch.tensor(scaled, dtype=dtype).__getitem__

    def _train(self, samples: Callable[[Tensor], Tensor], labels: Tensor, make_method: MakeMethod, seed: int) -> None:
        size: Any = self.batch_size
        if size == "auto":
            size = SMALL if len(labels) <= FEW else LARGE
        method = make_method(samples, labels, len(self.classes_), self.epochs, size, seed)
        margins, first = torch.zeros(len(labels), dtype=torch.float64), self.epochs // 2
        for epoch in range(self.epochs):
            losses = []
            for feed in start_epoch(method, epoch):
                losses.append(method.step(feed).loss)
                if method.clock.steps is not None:
                    method.clock.steps.add_(1)
            mean = float(torch.stack(losses).mean())
            if not np.isfinite(mean):
                raise ValueError(f"learning_rate={self.learning_rate}: the loss is not finite in epoch {epoch + 1}")
            if self.verbose:
                print(f"epoch {epoch + 1}/{self.epochs}  loss {mean:.4f}")
            if epoch >= first:
                margins += self._margins(method, samples, labels)
        method.clock.epoch = self.epochs
        self.label_quality_ = torch.sigmoid(margins / (self.epochs - first)).numpy()
        self.suspected_ = self.label_quality_ < 0.5
        self.network_: nn.Module = method.network.double().eval()

    @staticmethod
    @torch.no_grad()
    def _margins(method: Method, samples: Callable[[Tensor], Tensor], labels: Tensor) -> Tensor:
        """z_y - max_{k != y} z_k of all samples (N,), float64."""
        method.eval()
        parts = []
        for index in torch.arange(len(labels)).split(TOGETHER):
            logits, given = method.predict(samples(index)).double(), labels[index]
            others = logits.scatter(1, given[:, None], -torch.inf)
            parts.append(of_label(logits, given) - others.amax(dim=1))
        return torch.cat(parts)

    @torch.no_grad()
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class (N, C), in the order of `classes_`; in float64, so that one sample's does not
        depend on the others."""
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=list(DENSE), reset=False)
        samples = self._samples(X, torch.float64)
        logits = [self.network_(samples(index)) for index in torch.arange(X.shape[0]).split(TOGETHER)]
        return torch.cat(logits)[:, : len(self.classes_)].softmax(dim=1).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each sample (N,)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]
