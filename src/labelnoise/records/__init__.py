"""The record of a run: its files, its schema, and the environment that it was made in."""
