"""What methods estimate: how likely a label is right, by mixtures of the losses; the transition matrix of the noise."""
