"""Many runs on this machine: worker processes that take one job after another, and the driver that hands them out."""
