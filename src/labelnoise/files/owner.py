"""Who owns a claim: a process by host, boot, namespace (of process numbers), pid and start; and whether it lives."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from labelnoise.files.schema import Closed, Text


class Owner(Closed):
    """A process. What this system does not tell is None.

    Attributes:
        started: in ticks since the machine was; -1 for a zombie.
    """

    host: Text
    boot: Text | None
    namespace: Text | None
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    started: Annotated[int, Field(ge=-1, lt=2**63)] | None

    def on_the_machine_of(self, other: "Owner") -> bool:
        """Whether both process numbers mean the same."""
        return all(getattr(self, key) == getattr(other, key) for key in ("host", "boot", "namespace"))

    def lives(self) -> bool:
        """Whether there is such a process on this machine; a later one with its number does not count."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass  # another user's
        seen = started(self.pid)
        return seen == self.started if None not in (seen, self.started) else seen != -1


def this_process() -> Owner:
    """The owner that this process is."""
    pid = os.getpid()
    return Owner(host=os.uname().nodename, boot=boot(), namespace=namespace(), pid=pid, started=started(pid))


def parse(content: bytes) -> Owner | None:
    """The owner that a claim's file names; None where it was cut short, by a crash or a full disk, or is no claim."""
    try:
        return Owner.model_validate_json(content)
    except ValidationError:
        return None


def boot() -> str | None:
    """The id of this start of the machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def namespace() -> str | None:
    """The namespace that this process's number is from: containers have their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None


def started(pid: int) -> int | None:
    """When a process was started, in ticks since the machine was; None where /proc does not say. A zombie: -1."""
    try:
        # the name in brackets may hold anything, so count from the last bracket: state is field 3, start time 22
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return -1 if fields[0] in "ZX" else int(fields[19])
