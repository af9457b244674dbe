"""Networks, one file per family: images in, logits out."""
