"""Data sets of feature vectors: arrays of any network's features, tables, and arrays of images, from files."""
