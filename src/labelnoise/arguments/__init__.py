"""The allowed values of functions' parameters, from their annotations. Imports nothing from this package."""
