"""Figures for a paper, drawn from records with matplotlib: `scripts/figures.py NAME`."""
