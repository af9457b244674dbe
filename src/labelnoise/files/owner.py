"""The owner of a claim: a process, identified by host, boot, PID namespace, pid and start; and whether it is alive."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from labelnoise.files.schema import Closed, Text


class Owner(Closed):
    """A process. Fields that this system does not provide are None.

    Attributes:
        started: its start, in ticks since the machine's boot; -1 for a zombie.
    """

    host: Text
    boot: Text | None
    namespace: Text | None
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    started: Annotated[int, Field(ge=-1, lt=2**63)] | None

    def on_the_machine_of(self, other: "Owner") -> bool:
        """Whether both have the same host, boot and PID namespace, so that their pids are comparable."""
        return all(getattr(self, key) == getattr(other, key) for key in ("host", "boot", "namespace"))

    def lives(self) -> bool:
        """Whether the process is alive on this machine; a later process with its pid does not count."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # another user's process
        seen = started(self.pid)
        return seen == self.started if None not in (seen, self.started) else seen != -1


def this_process() -> Owner:
    """This process as an owner."""
    pid = os.getpid()
    return Owner(host=os.uname().nodename, boot=boot(), namespace=namespace(), pid=pid, started=started(pid))


def parse(content: bytes) -> Owner | None:
    """The owner that a claim's file names; None if it is not a claim, or was truncated by a crash or a full disk."""
    try:
        return Owner.model_validate_json(content)
    except ValidationError:
        return None


def boot() -> str | None:
    """The id of this boot of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def namespace() -> str | None:
    """The PID namespace of this process; containers have their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def started(pid: int) -> int | None:
    """When a process started, in ticks since the machine's boot; None if /proc does not say; -1 for a zombie."""
    try:
        # the name in brackets may contain anything, so count from the last bracket: state is field 3, start time 22
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if fields[0] in "ZX" else int(fields[19])
