"""What makes a CPU step faster without changing a number: the C allocator's setting, fused batch normalisation."""

from labelnoise.kernels.allocator import keep_pages
from labelnoise.kernels.batch_norm import batch_norm_relu

__all__ = ["batch_norm_relu", "keep_pages"]
