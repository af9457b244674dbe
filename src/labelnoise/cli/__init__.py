"""The command line: its arguments, and its answers to mistakes."""
