"""Worker processes as the driver sees them: started, given a job, listened to, stopped; and how many there are."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from labelnoise.launch.jobs import Job
from labelnoise.training.signals import STOPPED
from labelnoise.training.threads import cores

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")  # NVIDIA's, AMD's, Windows' for its Linux
COMMAND = [sys.executable, "-P", "-m", "labelnoise.launch.worker"]  # -P: this folder's files hide no module


class Worker:
    """One process, at most one job at a time.

    In a process group of its own: Ctrl-C in a terminal reaches the driver alone, which then asks its workers to leave.
    In the driver's session, though: Linux shares processors out by session before it looks at `nice`. It inherits no
    other worker's pipes, so the end of its input tells it for certain that the driver is gone.
    """

    def __init__(self, gpu: str | None = None) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)  # what this process can import, it can
        environment = {**os.environ, "PYTHONPATH": path}
        if gpu is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpu
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            process_group=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._rest = b""
        self.gpu = gpu
        self.ready = False  # has said so, and has no job
        self.job: Job | None = None
        self.leaving = False

    def fileno(self) -> int:
        """For select: readable when there is an answer or when the process has ended."""
        return self._out.fileno()

    def hand(self, job: Job, config: str) -> None:
        """Give it a job; should it be dead, that shows when it is listened to."""
        self.job, self.ready = job, False
        with contextlib.suppress(OSError):
            self._in.write((json.dumps({"config": config, "overrides": job.overrides}) + "\n").encode())
            self._in.flush()

    def answers(self) -> list[dict[str, Any]]:
        """What it has said since last asked."""
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
            return "its process was told to end; the run goes on next time"
        if code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in signal.valid_signals() else f"signal {-code}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"

    @property
    def stopped(self) -> bool:
        """Whether the process has ended because it was asked to."""
        return self._process.poll() in (STOPPED, -signal.SIGTERM)

    def stop(self) -> None:
        """Ask it to save and leave."""
        self.leaving = True
        self._process.terminate()

    def dismiss(self) -> None:
        """No more jobs: it ends by itself."""
        self.leaving = True
        with contextlib.suppress(OSError):
            self._in.close()

    def close(self, wait: float) -> None:
        """See to it that it is gone, after `wait` seconds by force."""
        self.dismiss()
        try:
            self._process.wait(wait)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()


# -------------------------------------------------------------------------------------------------------- how many


def slots(n_jobs: int | str, jobs_per_gpu: int, device: str) -> list[str | None]:
    """One entry for each job that runs at once: the GPU it sees, None on the CPU.

    Args:
        n_jobs: at most so many; auto: jobs_per_gpu on each GPU, and without one, or with device=cpu, one on each core.
        jobs_per_gpu: >= 1.
        device: of the runs; auto, cpu, cuda or cuda:N.
    Raises:
        ValueError: there is no GPU of that number.
    """
    gpus = [] if device == "cpu" else visible_gpus(os.environ)
    if found := re.fullmatch(r"cuda:(\d+)", device):
        if int(found[1]) >= len(gpus):
            raise ValueError(f"device={device}: not there; this machine has {len(gpus)} CUDA devices")
        gpus = [gpus[int(found[1])]]
    if gpus:
        places: list[str | None] = [*gpus] * jobs_per_gpu  # one on each GPU before a second on any
        return places if n_jobs == "auto" else places[: int(n_jobs)]
    return [None] * (cores() if n_jobs == "auto" else int(n_jobs))


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs as CUDA_VISIBLE_DEVICES names them; where it is not set, as nvidia-smi or else torch counts them."""
    if (named := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        names = [name.strip() for name in named.split(",")]
        bad = next((i for i, name in enumerate(names) if not re.fullmatch(r"\d+|(GPU|MIG)-.+", name)), len(names))
        return names[:bad]  # CUDA stops at the first that it does not know
    if shutil.which("nvidia-smi") is not None and (names := _named_by_nvidia_smi(_answer("nvidia-smi", "-L"))):
        return names
    if not any(map(os.path.exists, DRIVERS)):
        return []
    # A container without nvidia-smi, or ROCm. In a process of its own: whoever asks torch here holds a GPU's memory.
    counted = _answer(sys.executable, "-c", "import torch; print(torch.cuda.device_count())").strip()
    return [str(number) for number in range(int(counted))] if counted.isdigit() else []


def _answer(*command: str) -> str:
    """What a command prints; nothing where it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _named_by_nvidia_smi(listed: str) -> list[str]:
    """The names in what `nvidia-smi -L` prints; a GPU that is cut into MIG parts is used by its parts."""
    names: list[str] = []
    for name in re.findall(r"UUID: ((?:GPU|MIG)-[^)]+)\)", listed):
        if name.startswith("MIG") and names and names[-1].startswith("GPU"):
            names.pop()
        names.append(name)
    return names
