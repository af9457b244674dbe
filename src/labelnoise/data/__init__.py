"""Images with their given labels: the data sets, their augmentation, and the training set that a method sees."""
