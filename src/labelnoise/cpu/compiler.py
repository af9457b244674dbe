"""Loads Numba when a kernel is first needed, and sets its cache folder, its number of threads and its messages."""

import functools
import hashlib
import os
import stat
import sys
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


@functools.cache
def usable() -> bool:
    """Load the compiled kernels and return whether they work here. Warns once if Numba is missing or broken."""
    try:
        _load()
    except Exception as error:  # such as a missing package, a broken LLVM or no threading layer: use plain torch
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(f"fused CPU kernels are off, training is slower: {reason}", RuntimeWarning, stacklevel=2)
        return False
    return True


def in_use() -> bool:
    """Whether this process has loaded the compiled kernels. Their results and plain torch's differ by rounding."""
    return usable.cache_info().currsize > 0 and usable()


def use_torch_threads() -> None:
    """Let the kernels that the calling thread starts next use as many threads as torch."""
    import numba

    config: Any = numba.config
    threads = torch.get_num_threads()
    if threads > config.NUMBA_NUM_THREADS and numba.threading_layer() == "omp":
        config.NUMBA_NUM_THREADS = threads  # only OpenMP's pool can grow; the others keep their initial size
    numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))


def _load() -> None:
    import numba
    from numba.core import event

    config: Any = numba.config

    # OpenMP first: it uses the libgomp that torch has loaded, so convolutions and kernels share one thread pool
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    user_folder = config.CACHE_DIR
    config.CACHE_DIR = str((Path(user_folder) if user_folder else cache_folder()) / _version())
    try:
        from labelnoise.cpu import derivatives, passes, winograd  # noqa: F401 (importing them reads CACHE_DIR)
    finally:
        config.CACHE_DIR = user_folder
    event.register("numba:compile", _announcement(event.Listener))
    threads = torch.get_num_threads()
    if "NUMBA_NUM_THREADS" not in os.environ:
        config.NUMBA_NUM_THREADS = threads  # otherwise Numba starts one thread per core even in a one-thread run
    numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))  # starts the threads and changes the shared OpenMP's
    torch.set_num_threads(threads)  # number of threads: restore it
    _try_out(passes)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    """Use plain torch in a forked child: OpenMP's threads do not survive a fork, and Numba would end the process."""
    global _load
    usable.cache_clear()
    _load = _refuse


def _refuse() -> None:
    raise RuntimeError("this process was forked from one that had loaded them; start it by spawn instead")


def _try_out(module: ModuleType) -> None:
    """Run the smallest kernel, so that a broken Numba is found before training starts."""
    parts = torch.zeros(module.PARTS, 2, 1, dtype=torch.float64).numpy()
    table, grads = torch.zeros(7, 1).numpy(), torch.zeros(2, 1).numpy()
    module.coefficients(parts, 1, table, grads[0], grads[1])


def _announcement(listener: type) -> object:
    """A listener that prints one line when the first kernel is compiled, and nothing if all are cached."""

    class Announcement(listener):
        printed = False

        def on_start(self, event: object) -> None:
            if not self.printed:
                print("compiling the fused CPU kernels, once per user (some seconds) ...", file=sys.stderr)
            self.printed = True

        def on_end(self, event: object) -> None: ...

    return Announcement()


def _version() -> str:
    """A hash of the kernels' files. Numba's cache alone notices a change only in the file that calls a function."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def cache_folder() -> Path:
    """The user's cache folder or, if it is not writable, a private folder among the temporary files."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "labelnoise" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home
        return _temporary_folder()


def _temporary_folder() -> Path:
    """The same folder in every process, or a new one if another user owns it: compiled code is loaded from it."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(tempfile.gettempdir()) / f"labelnoise-numba-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == user and not status.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="labelnoise-numba-"))
