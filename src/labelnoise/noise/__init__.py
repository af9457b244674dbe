"""Label noise, one model a file: true labels in, noisy labels out."""
