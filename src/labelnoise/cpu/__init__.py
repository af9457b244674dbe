"""Faster training steps on a CPU: a setting of the C allocator, fused batch normalisation, Winograd convolutions."""

from labelnoise.cpu.allocator import keep_pages
from labelnoise.cpu.batch_norm import batch_norm_relu, batch_norm_relu_evaluated
from labelnoise.cpu.compiler import in_use
from labelnoise.cpu.convolution import convolve3x3

__all__ = ["batch_norm_relu", "batch_norm_relu_evaluated", "convolve3x3", "in_use", "keep_pages"]
