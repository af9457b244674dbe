"""How fast a training step is, beside the published code's: both sides, each in its own process."""
