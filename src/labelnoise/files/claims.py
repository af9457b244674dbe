"""Claims: at most one living owner for a task in a folder that several processes and machines share.

A claim is a small JSON file that names its owner: host, boot, PID namespace, pid, start time. On the owner's machine,
the owner is dead as soon as its process is, and its claim can be taken over at once. Another machine sees only the
file's modification time, which a living owner renews: after two minutes without a renewal, by the file server's clock,
the owner counts as dead. The local clock is not used, because it may be wrong or be set back.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from labelnoise.files.reading import read_bounded
from labelnoise.files.text import plain

if TYPE_CHECKING:  # slow to import
    from labelnoise.files.owner import Owner

LARGEST = 2**16  # bytes of a claim
BEAT = 20.0  # seconds between renewals
STALE = 120.0  # seconds without a renewal after which an owner on another machine counts as dead

_seen: dict[str, tuple[int, float]] = {}  # claim -> its modification time, and when this process first saw that time


class Claimed(Exception):  # noqa: N818 (it is a state, not an error)
    """A living owner holds the claim; the message names the owner and its host, in one line."""


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold the claim `path` while the block runs, and remove it afterwards if it is still ours.

    Args:
        path: the claim's file; its folder is created.
        what: the claimed task, for the message.
    Raises:
        Claimed: a living owner holds it, possibly this process itself.
        OSError: the folder cannot be written.
    """
    from labelnoise.files.owner import this_process

    path = path.absolute()  # the block may change the working directory
    path.parent.mkdir(parents=True, exist_ok=True)
    content = this_process().model_dump_json().encode()
    _take(path, what, content)
    stop = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, content, stop), daemon=True, name=f"claim {path.stem}")
    heart.start()
    try:
        yield
    finally:
        stop.set()
        with contextlib.suppress(OSError), _locked(path.parent):
            if _read(path) == content:
                path.unlink()


def living(path: Path) -> bool:
    """Whether a living owner holds the claim `path`."""
    if not path.exists():
        return False
    try:
        with tempfile.TemporaryFile(dir=path.parent) as fresh:
            now = os.fstat(fresh.fileno()).st_mtime_ns
    except OSError:  # the folder is not writable for us
        now = time.time_ns()
    return _living(path.absolute(), now) is not None


# ---------------------------------------------------------------------------------------------------- taking a claim


def _take(path: Path, what: str, content: bytes) -> None:
    with _locked(path.parent) as now:
        if (held := _living(path, now)) is not None:
            (owner,) = held
            who = f"process {owner.pid} on {plain(owner.host)}" if owner else "another process"
            raise Claimed(f"{what}: is being run by {who} ({path})")
        path.unlink(missing_ok=True)
        # O_EXCL: on a file system without locks, two processes may reach this line at once.
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            raise Claimed(f"{what}: is being run by another process ({path})") from None
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """Lock the folder against other processes that take or release claims. Yields the file server's time, in ns.

    The lock file is removed after use, so a process that gets the lock checks that the file is still the one it opened.
    """
    path = folder / ".claims.lock"
    while True:
        # Mode 0o666: any user who may write to the folder must be able to lock it.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                    raise
            if not _same_file(handle, path):
                continue
            os.utime(handle)
            try:
                yield os.fstat(handle).st_mtime_ns
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _beat(path: Path, content: bytes, stop: threading.Event) -> None:
    """Renew the claim until `stop` is set or another process owns it."""
    while not stop.wait(BEAT):
        try:
            if read_bounded(path, LARGEST) != content:
                return
            os.utime(path)  # without a time, the file server uses its own clock
        except (FileNotFoundError, ValueError):
            return
        except OSError:
            continue  # the file server may be unreachable for a while


# ----------------------------------------------------------------------------------------------- is the owner alive?


def _living(path: Path, now: int) -> "tuple[Owner | None] | None":
    """The living owner, as (owner,), or (None,) if the file does not name one. None: no claim, or its owner is dead."""
    from labelnoise.files import owner as owners

    try:
        written = path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
    content = _read(path)
    if content is None:
        return None
    owner = owners.parse(content)
    if owner and owner.on_the_machine_of(owners.this_process()):
        if not owner.lives():
            return None
        if owner.started is not None:
            return (owner,)  # without a start time, the pid may have been reused, so the renewals are checked too
    return None if _not_renewed(str(path), written, now) else (owner,)


def _not_renewed(path: str, written: int, now: int) -> bool:
    """Whether the claim has not been renewed for two minutes, by the file server's clock or while this process watched.

    The second test is needed after the server's clock was set back, when the claim's time is in the future.
    """
    if now - written > STALE * 1e9:
        return True
    before, since = _seen.get(path, (None, 0.0))
    if before != written:
        _seen[path] = (written, time.monotonic())
        return False
    return time.monotonic() - since > STALE


def _read(path: Path) -> bytes | None:
    """The content of the claim's file; empty if it is too large or not a regular file; None if it does not exist."""
    try:
        return read_bounded(path, LARGEST)
    except FileNotFoundError:
        return None
    except ValueError:
        return b""
