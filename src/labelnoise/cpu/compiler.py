"""Numba, loaded when a kernel is first needed: where its cache lies, how many threads it uses, what it says."""

import functools
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
    """Whether the compiled kernels work here, now ready to run; one warning where Numba is missing or does not work."""
    try:
        _load()
    except Exception as error:  # a missing package, a broken LLVM, no threading layer: the plain path computes the same
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        warnings.warn(f"fused CPU kernels are off, training is slower: {reason}", RuntimeWarning, stacklevel=2)
        return False
    return True


def in_use() -> bool:
    """Whether this process has loaded the compiled kernels; they and plain torch differ by roundings."""
    return usable.cache_info().currsize > 0 and usable()


def use_torch_threads() -> None:
    """Let the kernels that the calling thread starts next use as many threads as torch does."""
    import numba

    config: Any = numba.config
    threads = torch.get_num_threads()
    if threads > config.NUMBA_NUM_THREADS and numba.threading_layer() == "omp":
        config.NUMBA_NUM_THREADS = threads  # only OpenMP's pool grows; the others keep their first size
    numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))


def _load() -> None:
    import numba
    from numba.core import event

    config: Any = numba.config

    # libgomp, which torch has loaded already, so that convolutions and kernels share one pool of threads
    config.THREADING_LAYER_PRIORITY = ["omp", "tbb", "workqueue"]
    asked = config.CACHE_DIR
    config.CACHE_DIR = asked or str(_cache_folder())
    try:
        from labelnoise.cpu import passes, winograd  # noqa: F401 (the folder is read while they are imported)
    finally:
        config.CACHE_DIR = asked
    event.register("numba:compile", _announcement(event.Listener))
    threads = torch.get_num_threads()
    if "NUMBA_NUM_THREADS" not in os.environ:
        config.NUMBA_NUM_THREADS = threads  # by default as many as cores are started, a one-thread run's too
    numba.set_num_threads(min(threads, config.NUMBA_NUM_THREADS))  # starts them
    torch.set_num_threads(threads)  # and has told the OpenMP that both share its own number
    _try_out(passes)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    """Take the plain path in a forked child: Numba would end it, because OpenMP's threads do not survive a fork."""
    global _load
    usable.cache_clear()
    _load = _refuse


def _refuse() -> None:
    raise RuntimeError("this process was forked from one that used them; start it by spawn instead")


def _try_out(module: ModuleType) -> None:
    """Run the smallest kernel, which every path needs, so that what cannot work is found before it matters."""
    parts = torch.zeros(module.PARTS, 2, 1, dtype=torch.float64).numpy()
    table, grads = torch.zeros(7, 1).numpy(), torch.zeros(2, 1).numpy()
    module.coefficients(parts, 1, table, grads[0], grads[1])


def _announcement(listener: type) -> object:
    """A listener that says once that something is being compiled, and is silent when all comes from the cache."""

    class Announcement(listener):
        said = False

        def on_start(self, event: object) -> None:
            if not self.said:
                print("compiling the fused CPU kernels, once for this user (some seconds) ...", file=sys.stderr)
            self.said = True

        def on_end(self, event: object) -> None: ...

    return Announcement()


def _cache_folder() -> Path:
    """The user's cache folder, or where it cannot be written to, one of the user's own among the temporary files."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "labelnoise" / "numba"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # RuntimeError: no home
        return _temporary_folder()


def _temporary_folder() -> Path:
    """The same one in every process, unless someone else made it: code is read from there."""
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
