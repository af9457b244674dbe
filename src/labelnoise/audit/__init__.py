"""Which labels of a training set are probably wrong: a ranking, a page to decide on, and how good such rankings are."""
