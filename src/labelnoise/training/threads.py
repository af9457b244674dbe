"""How many CPU threads a run computes with, and how they wait for each other.

Imports no torch at the top: `wait_briefly` must be called before torch loads its OpenMP runtime.
"""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

WORK_A_THREAD = 4e8  # floating-point operations of a training step that repay one more thread: some 2 ms of bfloat16
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_briefly() -> None:
    """Let a thread that waits for the others sleep after some 170 µs, where neither the user nor torch came first.

    Every parallel operation ends by waiting for its slowest thread. GNU's OpenMP, which torch's Linux wheels bring,
    spins for some 5 ms while it waits. Beside another busy process it thereby takes the core that the slowest thread
    needs, and a step takes ten times as long. OMP_WAIT_POLICY is every runtime's; GOMP_SPINCOUNT is GNU's own and
    precedes it. No result depends on either.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"] = "passive", "10000"


def cores() -> int:
    """How many cores this process may use: of its affinity, and within the limit of its control groups; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(usable, quota())))


def auto(work: float, free: float = math.inf) -> int:
    """The number of threads that `threads=auto` is for a training step, at least one.

    At most one for each WORK_A_THREAD, as many as the user's OMP_NUM_THREADS, and as many as there are free cores: a
    thread that has to share its core with another process holds all the others up at the end of every operation.

    Args:
        work: floating-point operations of a step, from `step_work`.
        free: cores that other processes leave free, from `load.free_cores`.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    limits = [work / WORK_A_THREAD, free, int(wanted) if wanted.isdecimal() else math.inf, cores()]
    return max(1, round(min(limits)))


def step_work(network: "nn.Module", shape: Sequence[int], batch_size: int) -> float:
    """Floating-point operations of one training step: three times those of a forward pass, one for each gradient.

    Convolutions and linear layers are counted, in one forward pass of one image in evaluation mode. It draws no random
    number and leaves the network as it was.

    Args:
        network: on the CPU.
        shape: (channels, H, W) of an image.
        batch_size: images of a step.
    """
    import torch
    from torch import nn

    total = 0

    def count(module: Any, _: Any, output: "Tensor") -> None:
        nonlocal total
        total += 2 * output.numel() * module.weight[0].numel()

    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    modes = [(module, module.training) for module in network.modules()]
    try:
        # by autocast, so that no convolution of ours starts its kernels before the number of threads stands
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            network.eval()(torch.zeros(1, *shape))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return 3.0 * batch_size * total


def quota(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:  # paths for the tests
    """Cores' worth of time that this process's control groups allow (versions 1 and 2), inf without a limit."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    limits = [math.inf]
    for line in lines:
        controllers, path = line.split(":", 2)[1:]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / "cpu" if controllers else root
        folder = top / path.lstrip("/")
        inside = [parent for parent in (folder, *folder.parents) if parent.is_relative_to(top)]
        limits += map(_limit, inside)  # a parent's limit holds for all below it
    return min(limits)


def _limit(folder: Path) -> float:
    """What one control group allows."""
    try:
        if (folder / "cpu.max").exists():
            allowed, period = (folder / "cpu.max").read_text().split()
        else:
            allowed, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return math.inf if allowed == "max" or int(allowed) < 0 else int(allowed) / int(period)
    except (OSError, ValueError):  # the root has no such file, a container may hide its parents'
        return math.inf
