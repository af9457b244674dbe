"""Worker processes from the driver's side: start, assign a job, read answers, stop; and how many to run."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from subprocess import PIPE
from typing import Any

from labelnoise.launch.jobs import Job
from labelnoise.training.signals import STOPPED
from labelnoise.training.threads import cores

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA, AMD, WSL
COMMAND = [sys.executable, "-P", "-m", "labelnoise.launch.worker"]  # -P: files in the current folder shadow no module


class Worker:
    """One process with at most one job at a time.

    It has its own process group, so that Ctrl-C in a terminal reaches the driver alone, which then stops its workers.
    It stays in the driver's session, because Linux divides CPU time by session before it considers `nice`. It inherits
    no other worker's pipes, so the end of its input always means that the driver is gone.
    """

    def __init__(self, gpu: str | None = None) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)  # it can import whatever this process can
        environment = {**os.environ, "PYTHONPATH": path}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._process = subprocess.Popen(COMMAND, stdin=PIPE, stdout=PIPE, env=environment, process_group=0)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._rest = b""
        self.gpu = gpu
        self.ready = False  # it has reported that it is ready, and has no job
        self.job: Job | None = None
        self.leaving = False

    def fileno(self) -> int:
        """For select(): readable when there is an answer or when the process has ended."""
        return self._out.fileno()

    def assign(self, job: Job, config: str) -> None:
        """Send it a job. If the process is dead, `ended` reports it."""
        self.job, self.ready = job, False
        with contextlib.suppress(OSError):
            self._in.write((json.dumps({"config": config, "overrides": job.overrides}) + "\n").encode())
            self._in.flush()

    def answers(self) -> list[dict[str, Any]]:
        """Its answers since the last call."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._out.fileno(), 65536):
                self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        return [json.loads(line) for line in lines]

    def ended(self) -> str | None:
        """How the process ended, in words; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code == STOPPED:
            return "its process was asked to stop; the run resumes next time"
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"

    @property
    def stopped(self) -> bool:
        """Whether the process has ended because it was asked to stop."""
        return self._process.poll() in (STOPPED, -signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to save and exit."""
        self.leaving = True
        self._process.terminate()

    def dismiss(self) -> None:
        """Close its input: it exits when its job is done."""
        self.leaving = True
        with contextlib.suppress(OSError):
            self._in.close()

    def close(self, wait: float) -> None:
        """Wait for it to exit; kill it after `wait` seconds."""
        self.dismiss()
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


def slots(n_jobs: int | str, jobs_per_gpu: int, device: str) -> list[str | None]:
    """One entry for each job that may run at once: the GPU that it sees, or None on the CPU.

    Args:
        n_jobs: the most jobs at once. auto: jobs_per_gpu on each GPU; without a GPU, or with device=cpu, one a core.
        jobs_per_gpu: >= 1.
        device: of the runs; auto, cpu, cuda or cuda:N.
    Raises:
        ValueError: there is no GPU with that number.
    """
    gpus = [] if device == "cpu" else visible_gpus(os.environ)
    if found := re.fullmatch(r"cuda:(\d+)", device):
        if int(found[1]) >= len(gpus):
            raise ValueError(f"device={device}: not there; this machine has {len(gpus)} CUDA devices")
        gpus = [gpus[int(found[1])]]
    if gpus:
        places: list[str | None] = [*gpus] * jobs_per_gpu  # one job on each GPU before a second on any
        return places if n_jobs == "auto" else places[: int(n_jobs)]
    return [None] * (cores() if n_jobs == "auto" else int(n_jobs))


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs in CUDA_VISIBLE_DEVICES; if it is not set, those that nvidia-smi or else torch finds."""
    if (named := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in named.split(",")]
        bad = next((i for i, name in enumerate(names) if not re.fullmatch(r"\d+|(GPU|MIG)-.+", name)), len(names))
        return names[:bad]  # CUDA ignores the first unknown name and all after it
    if shutil.which("nvidia-smi") is not None and (names := named_by_nvidia_smi(_answer("nvidia-smi", "-L"))):
        return names
    if not any(map(os.path.exists, DRIVERS)):
        return []
    # A container without nvidia-smi, or ROCm. In a separate process, because asking torch takes GPU memory.
    counted = _answer(sys.executable, "-c", "import torch; print(torch.cuda.device_count())").strip()
    return [str(number) for number in range(int(counted))] if counted.isdigit() else []


def _answer(*command: str) -> str:
    """A command's output; empty if it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def named_by_nvidia_smi(listed: str) -> list[str]:
    """The names in the output of `nvidia-smi -L`; for a GPU with MIG instances, the instances."""
    names: list[str] = []
    for name in re.findall(r"UUID: ((?:GPU|MIG)-[^)]+)\)", listed):
        if name.startswith("MIG") and names and names[-1].startswith("GPU"):
            names.pop()
        names.append(name)
    return names
