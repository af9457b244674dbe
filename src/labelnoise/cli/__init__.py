"""The command lines: what is typed, and what is said to a mistake."""
