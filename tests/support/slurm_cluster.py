"""A SLURM cluster of one node for tests: its own configuration, keys, state and ports, all in one temporary folder.

Accounting (sacct) is left out on purpose: it is the harder case, in which nothing says that a job has died.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdSpoolDir={folder}/slurmd
StateSaveLocation={folder}/slurmctld
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,sched_interval=5,requeue_setup_env_fail
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
JobRequeue=1
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
{more}
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=5
PartitionName=high Nodes={host} MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> list[str]:
    """The programs of SLURM that are not found."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


@contextlib.contextmanager
def cluster(more: str = "") -> Iterator[dict[str, str]]:
    """The environment variables with which SLURM's commands reach a fresh cluster; all of it is stopped at the end.

    Args:
        more: further lines of slurm.conf.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # short: a socket's name may have 107 characters
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str, ready: Callable[[], bool]) -> None:
        with (folder / f"{command[0]}.out").open("wb") as out:
            daemon = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        daemons.append(daemon)
        until(ready, f"{command[0]}: {folder}", 300)

    try:
        folder.chmod(0o755)
        (folder / "slurmctld").mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(host=host, folder=folder, ports=_free_ports(2), more=more))
        variables = {**os.environ, "PATH": PATH, "SLURM_CONF": str(configuration)}
        start(
            *("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket"),
            *(f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")),
            ready=(folder / "munge.socket").exists,
        )
        start("slurmctld", "-D", ready=lambda: _said(variables, "scontrol", "ping", word="UP"))
        start("slurmd", "-D", "-N", host, ready=lambda: _said(variables, "sinfo", "-h", "-o", "%T", word="idle"))
        yield {"SLURM_CONF": str(configuration), "PATH": PATH}
    finally:
        with contextlib.suppress(Exception):
            subprocess.run(["scancel", "--user=root"], env=variables, timeout=300, check=False)
            until(lambda: not _output(variables, "squeue", "-h"), "jobs ended", 300)
        for daemon in reversed(daemons):
            _stop(daemon)
        shutil.rmtree(folder, ignore_errors=True)


def until(ready: Callable[[], Any], what: str, seconds: float) -> Any:
    """Wait until the condition holds and return its value."""
    end = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.2)
    return found


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    for kind in (signal.SIGTERM, signal.SIGKILL):
        daemon.send_signal(kind)
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(20)
            return


def _output(variables: dict[str, str], *command: str) -> str:
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300).stdout


def _said(variables: dict[str, str], *command: str, word: str) -> bool:
    return word in _output(variables, *command)


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
