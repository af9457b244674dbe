"""The training loop, the interface of a method, learners, evaluation, devices and checkpoints."""
