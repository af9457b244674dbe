"""Train with noisy labels: robust losses, label noise, methods, and a complete record of every run."""

__version__ = "0.1.0"
