"""The speed of a training step against the published code's; each side runs in its own process."""
