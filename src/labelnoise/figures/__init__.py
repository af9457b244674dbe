"""Figures for a paper, drawn from records with matplotlib: `labelnoise figures NAME`."""
