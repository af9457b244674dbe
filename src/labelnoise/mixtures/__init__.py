"""Mixtures of two distributions fitted to the losses: how likely each label is right or wrong."""
