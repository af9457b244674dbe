"""An estimator for scikit-learn: `from labelnoise.sklearn import NoisyLabelClassifier`."""

from labelnoise.sklearn.classifier import NoisyLabelClassifier

__all__ = ["NoisyLabelClassifier"]
