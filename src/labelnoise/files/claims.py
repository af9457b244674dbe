"""Claims: one living owner for a piece of work in a folder that several processes and machines share.

A claim is a small JSON file that names its owner: host, boot, namespace (of process numbers), pid, started. On its own
machine an owner is dead as soon as its process is, and a dead owner's claim is taken over at once. From another machine
only the file's modification time is seen, which a living owner renews: one left alone for two minutes, by the file
server's clock, is dead. This machine's clock does not count: it may be wrong or be set back.
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

if TYPE_CHECKING:  # its schema takes a while to import
    from labelnoise.files.owner import Owner

LARGEST = 2**16  # bytes of a claim
BEAT = 20.0  # seconds between two renewals
STALE = 120.0  # seconds without one after which an owner elsewhere counts as dead

_seen: dict[str, tuple[int, float]] = {}  # claim -> its time when last looked at, and since when it has stood there


class Claimed(Exception):  # noqa: N818 (it is a state, not an error)
    """A living owner holds the claim; the text says who and where, in one line."""


@contextlib.contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Hold the claim `path` while the block runs, and remove it afterwards if it is still ours.

    Args:
        path: the claim's file; its folder is made.
        what: the work it stands for, for the message.
    Raises:
        Claimed: a living owner has it, this process among them.
        OSError: the folder cannot be written.
    """
    from labelnoise.files.owner import this_process

    path = path.absolute()  # the block may change the folder
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
    except OSError:  # a folder that only others write
        now = time.time_ns()
    return _living(path.absolute(), now) is not None


# ---------------------------------------------------------------------------------------------------------- taking


def _take(path: Path, what: str, content: bytes) -> None:
    with _locked(path.parent) as now:
        if (held := _living(path, now)) is not None:
            (owner,) = held
            who = f"process {owner.pid} on {plain(owner.host)}" if owner else "another process"
            raise Claimed(f"{what}: is being run by {who} ({path})")
        path.unlink(missing_ok=True)
        # Exclusive: where a file system has no locks, two may still come here at once when there was no claim.
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
    """Alone among all who take or leave claims in the folder; gives the file server's time in nanoseconds.

    The lock file goes away with its last user; so whoever gets the lock looks whether the file still stands there.
    """
    path = folder / ".claims.lock"
    while True:
        # for every user who may write to the folder, whatever became of who made it
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
    """Renew the claim until told to stop, or until it is another's."""
    while not stop.wait(BEAT):
        try:
            if read_bounded(path, LARGEST) != content:
                return
            os.utime(path)  # no time given: the file server writes its own
        except (FileNotFoundError, ValueError):
            return
        except OSError:
            continue  # a file server that is away for a while


# --------------------------------------------------------------------------------------------------------- judging


def _living(path: Path, now: int) -> "tuple[Owner | None] | None":
    """Who holds the claim, (None,) where the file does not say; None where nobody does or its owner is dead."""
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
            return (owner,)  # without a start time a later process may have the number, so the heartbeat counts too
    return None if _left_alone(str(path), written, now) else (owner,)


def _left_alone(path: str, written: int, now: int) -> bool:
    """Whether the claim was not renewed for two minutes: by the file server's clock, or before our eyes.

    The second is for a server's clock that was set back: the time of such a claim lies in the future.
    """
    if now - written > STALE * 1e9:
        return True
    before, since = _seen.get(path, (None, 0.0))
    if before != written:
        _seen[path] = (written, time.monotonic())
        return False
    return time.monotonic() - since > STALE


def _read(path: Path) -> bytes | None:
    """What the claim's file holds; nothing where it is too large or no file. None: it is not there."""
    try:
        return read_bounded(path, LARGEST)
    except FileNotFoundError:
        return None
    except ValueError:
        return b""
