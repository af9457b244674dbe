"""Find the labels of a training set that are probably wrong: rank them, review them on a page, evaluate rankings."""
