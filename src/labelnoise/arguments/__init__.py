"""What the parameters of functions may be, read from their annotations. Imports nothing of this package."""
