"""Measure the speed of this project's 3x3 convolutions against torch's, in float32 on this CPU. Takes threads=N.

python scripts/bench_convolution.py threads=1

Forward pass and both gradients of 128 images. The two take turns; times are medians in milliseconds.
"""

import statistics
import sys
import time

from labelnoise.cli.errors import guard

LAYERS = ((64, 64, 32), (128, 128, 16), (196, 196, 8), (256, 256, 8), (512, 512, 8), (32, 64, 16), (32, 32, 32))
ROUNDS, IMAGES = 11, 128


def bench(arguments: list[str]) -> None:
    """Print a line for each layer: input and output channels, side of its map, times and ratio."""
    threads = "1"
    for argument in arguments:
        name, _, threads = argument.partition("=")
        if name != "threads" or not threads.isdigit() or int(threads) < 1:
            raise ValueError(f"{argument}: the only option is threads=N, a whole number, at least 1")
    import torch
    from torch.nn.functional import conv2d

    from labelnoise.cpu import convolve3x3
    from labelnoise.training.device import prepare

    prepare("cpu", "float32", int(threads))
    ways = (lambda x, w: conv2d(x, w, padding=1)), (lambda x, w: convolve3x3(x, w, None))
    for channels, width, side in LAYERS:
        shapes = (IMAGES, channels, side, side), (width, channels, 3, 3), (IMAGES, width, side, side)
        x, weight, grad = (torch.randn(shape).contiguous(memory_format=torch.channels_last) for shape in shapes)
        times: list[list[float]] = [[], []]
        for _ in range(ROUNDS + 1):
            for way, seconds in zip(ways, times, strict=True):
                start = time.perf_counter()
                out = way(x.requires_grad_(), weight.requires_grad_())
                torch.autograd.grad(out, (x, weight), grad)
                seconds.append(time.perf_counter() - start)
        torchs, ours = (1000 * statistics.median(seconds[1:]) for seconds in times)
        print(f"{channels} > {width}, {side}x{side}: torch {torchs:.0f}, here {ours:.0f}, ratio {torchs / ours:.1f}")


if __name__ == "__main__":
    guard(lambda: bench(sys.argv[1:]), sys.argv[1:])
