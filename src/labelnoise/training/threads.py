"""The number of CPU threads of a run, and how they wait for each other.

Does not import torch at the top: `wait_briefly` must be called before torch loads its OpenMP runtime.
"""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

WORK_A_THREAD = 4e8  # floating-point operations of a step that justify one more thread: about 2 ms in bfloat16
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_briefly() -> None:
    """Make waiting threads sleep after about 170 µs, unless the user has set this or torch is already loaded.

    Every parallel operation ends by waiting for its slowest thread. GNU's OpenMP, which torch's Linux wheels contain,
    spins for about 5 ms while it waits. Beside another busy process, a spinning thread occupies the core that the
    slowest thread needs, and a step takes ten times as long. All runtimes read OMP_WAIT_POLICY; GNU's also reads
    GOMP_SPINCOUNT, which takes precedence. Neither changes any result.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"], os.environ["GOMP_SPINCOUNT"] = "passive", "10000"


def cores() -> int:
    """The number of cores that this process may use, by its CPU affinity and control groups; at least 1."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.floor(min(usable, quota())))


def auto(work: float, free: float = math.inf) -> int:
    """The value of `threads=auto` for a training step, at least one.

    The limits are one thread per WORK_A_THREAD, the user's OMP_NUM_THREADS, and the free cores: a thread that shares
    its core with another process delays all other threads at the end of every operation.

    Args:
        work: floating-point operations of a step, from `step_work`.
        free: cores not used by other processes, from `load.free_cores`.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    limits = [work / WORK_A_THREAD, free, int(wanted) if wanted.isdecimal() else math.inf, cores()]
    return max(1, round(min(limits)))


def step_work(network: "nn.Module", shape: Sequence[int], batch_size: int) -> float:
    """Floating-point operations of one training step: three times those of a forward pass, to include the gradients.

    Counts convolutions and linear layers in a forward pass of one image in evaluation mode. Draws no random numbers and
    does not change the network.

    Args:
        network: on the CPU.
        shape: (channels, H, W) of an image.
        batch_size: images per step.
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
        # autocast, because the float32 kernels must not be loaded before the number of threads is known
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
    """The CPU limit of this process's control groups (versions 1 and 2) in cores; inf without a limit."""
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
        limits += map(_limit, inside)  # a group's limit also applies to the groups inside it
    return min(limits)


def _limit(folder: Path) -> float:
    """The CPU limit of one control group in cores."""
    try:
        if (folder / "cpu.max").exists():
            allowed, period = (folder / "cpu.max").read_text().split()
        else:
            allowed, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return math.inf if allowed == "max" or int(allowed) < 0 else int(allowed) / int(period)
    except (OSError, ValueError):  # the root has no such file, and a container may hide those of its parents
        return math.inf
