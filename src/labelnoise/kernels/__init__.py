"""What makes a CPU step faster: the C allocator's setting, fused batch normalisation, quicker convolutions."""

from labelnoise.kernels.allocator import keep_pages
from labelnoise.kernels.batch_norm import batch_norm_relu, batch_norm_relu_evaluated
from labelnoise.kernels.compiler import in_use
from labelnoise.kernels.convolution import convolve3x3

__all__ = ["batch_norm_relu", "batch_norm_relu_evaluated", "convolve3x3", "in_use", "keep_pages"]
