"""Networks, one family a file: images in, logits out."""
