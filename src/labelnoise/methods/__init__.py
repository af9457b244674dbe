"""Training methods, one file per paper, on the interface of `labelnoise.training.method`."""
