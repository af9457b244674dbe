"""Where and how to compute: device, precision and threads, set before the first operation."""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from labelnoise.cpu import in_use, keep_pages
from labelnoise.training import threads as cpu_threads
from labelnoise.training.load import Usage, free_cores, usage

# The messages of cuBLAS, cuDNN and CUDA when memory is full, in plain RuntimeErrors.
OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")


class Runtime(NamedTuple):
    """Attributes: device; precision of the networks' arithmetic; CPU threads; the cores' use when it was chosen."""

    device: torch.device
    precision: torch.dtype
    threads: int
    used: Usage | None = None

    def facts(self) -> dict[str, str | int | bool]:
        """The entries for a record's environment; call it after the run."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        precision = str(self.precision).removeprefix("torch.")
        return {"device": name, "precision": precision, "threads": self.threads, "fused_kernels": in_use()}


def prepare(device: str, precision: str, threads: int | str, deterministic: bool = False) -> Runtime:
    """Choose the device and the precision and set the number of threads, which `choose_threads` may raise.

    Args:
        device: auto (a GPU if there is one), cpu, cuda or cuda:N.
        precision: auto (bfloat16 where the device is fast at it), float32 or bfloat16.
        deterministic: on a GPU, use algorithms that repeat bit for bit; else the fastest, including TF32.
        threads: CPU threads; auto is one until `choose_threads` knows the work of a step.
    Raises:
        ValueError: the device does not exist.
    """
    keep_pages()
    count = 1 if threads == "auto" else int(threads)
    torch.set_num_threads(count)
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = ("cuda" if available else "cpu") if device == "auto" else device
    chosen = torch.device("cuda:0" if name == "cuda" else name)
    if chosen.type == "cuda" and chosen.index >= available:
        raise ValueError(
            f"device={device}: not there; this machine has {available} CUDA devices (device=cpu always works)"
        )
    if chosen.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs to be deterministic
        torch.cuda.set_device(chosen)  # for graph capture and for random numbers drawn without a device
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.benchmark = not deterministic
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
        torch.cuda.empty_cache()  # of an earlier run in this process: `memory_full` reports this run only
        torch.cuda.reset_peak_memory_stats(chosen)
    if precision == "auto":
        precision = "bfloat16" if _fast_bfloat16(chosen) else "float32"
    return Runtime(chosen, getattr(torch, precision), count, usage())


def choose_threads(
    runtime: Runtime,
    asked: int | str,
    network: nn.Module,
    shape: Sequence[int],
    batch_size: int,
    before: int | None = None,
    say: Callable[[str], object] = print,
) -> Runtime:
    """The runtime with its final number of threads, set before the first step and kept for the whole run.

    A CPU run repeats bit for bit only with the same number of threads. So a run that resumes uses its checkpoint's
    number if this machine has enough cores. If it has not, or another number is requested, one line is printed.

    Args:
        asked: auto, or the number that `prepare` has set.
        network: the work of its training steps determines auto; on a GPU, auto is one.
        shape: (channels, H, W) of an image.
        batch_size: images per step.
        before: the number of threads in the checkpoint from which the run resumes.
        say: prints that line.
    """
    count = runtime.threads
    if runtime.device.type == "cpu" and asked == "auto":
        if before is not None and before <= cpu_threads.cores():
            count = before
        else:
            count = _auto_threads(cpu_threads.step_work(network, shape, batch_size), runtime.used, say)
    if runtime.device.type == "cpu" and before not in (None, count):
        say(f"threads={count}, but the checkpoint was computed with {before}: the record will differ by rounding")
    torch.set_num_threads(count)
    return runtime._replace(threads=count)


def _auto_threads(work: float, used: Usage | None, say: Callable[[str], object]) -> int:
    """The value of `threads=auto` now. Prints one line if other processes reduce it."""
    most = cpu_threads.auto(work)
    if most == 1:
        return 1
    free = free_cores(used)
    count = cpu_threads.auto(work, free)
    if count < most:
        cores = cpu_threads.cores()
        busy = f"{max(0.0, cores - free):.1f} of {cores} cores"
        say(f"threads={count}: other processes keep {busy} busy (threads={most} if idle)")
    return count


@contextlib.contextmanager
def report_full_memory(device: torch.device) -> Iterator[None]:
    """A context manager that reports full GPU memory in one line.

    Raises:
        MemoryError: replaces the error of torch, cuBLAS, cuDNN or CUDA.
    """
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is a subclass; the libraries raise plain RuntimeErrors
        if not isinstance(error, torch.OutOfMemoryError) and not any(word in str(error) for word in OUT_OF_MEMORY):
            raise
        raise MemoryError(memory_full(device)) from None


def memory_full(device: torch.device) -> str:
    """The message for full GPU memory: how much this run needs, and how many such runs fit side by side."""
    gib, context = 2**30, 2**29  # memory of a process before its first tensor: about half a GiB
    need = torch.cuda.max_memory_reserved(device) + context
    total = torch.cuda.mem_get_info(device)[1]
    fit = total // need
    advice = f"at most {fit} such runs fit side by side" if fit > 1 else "give it the whole GPU or a smaller batch_size"
    return f"the GPU's memory is full: this run needs over {need / gib:.1f} of {total / gib:.1f} GiB; {advice}"


def compiler_works(device: torch.device) -> bool:
    """Whether torch.compile works for this device. If not, warns once with the reason."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except Exception as error:  # no C++ compiler, no Triton, an unsupported Python: each raises its own
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        warnings.warn(f"compile=true: no compiler works here, running eagerly ({reason})", RuntimeWarning, stacklevel=2)
        return False
    return True


def _fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 beats float32 there: GPU tensor cores, AMX, or AVX-512 with bfloat16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)
