"""Label noise, one model per file: true labels in, noisy labels out."""
