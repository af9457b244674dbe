"""Ways to train, one paper a file, on the interface of `labelnoise.training.method`."""
