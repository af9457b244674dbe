"""The loop that trains: a learner's step, a method's interface, evaluation, devices, checkpoints."""
