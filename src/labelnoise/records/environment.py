"""The environment of a run: commit, versions, processor. No host name, user name or folder."""

import contextlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
DECIDING = ("src", "configs", "scripts", "train.py", "pyproject.toml")  # what a record depends on


def this_environment() -> dict[str, Any]:
    """The environment of this process: commit, versions, processor. No host name, user name or folder."""
    names = ("labelnoise", "torch", "torchvision", "numpy", "hydra-core", "timm")
    return {
        **_commit(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in names},
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
    }


def _commit() -> dict[str, Any]:
    """The commit of this checkout and whether its code or configurations have changes; outside a checkout,
    LABELNOISE_COMMIT and null."""
    if (REPOSITORY / "src" / "labelnoise").is_dir():

        def git(*words: str) -> str:
            done = subprocess.run(
                ["git", "-C", str(REPOSITORY), *words], capture_output=True, text=True, check=True, timeout=20
            )
            return done.stdout.strip()

        with contextlib.suppress(OSError, subprocess.SubprocessError):
            # Only there can a change affect a record; a figure or an audit written beside them cannot.
            changes = git("status", "--porcelain", "--untracked-files=all", "--", *DECIDING)
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(changes)}
    return {"commit": os.environ.get("LABELNOISE_COMMIT"), "dirty": None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    with contextlib.suppress(OSError):
        if found := re.search(r"^model name.*?:(.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()
