"""Many runs at once: the driver, its long-lived worker processes, and SLURM."""
