"""Features of any data set's images from a pretrained network, as a file for dataset=features."""
