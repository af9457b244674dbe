"""Images with the labels they came with: the data sets, their augmentation, and what a method sees of them."""
