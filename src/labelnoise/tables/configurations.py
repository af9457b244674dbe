"""The effective configurations of overrides, composed or read from a cache in the user's cache folder."""

import contextlib
import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pydantic_core
from omegaconf.errors import OmegaConfBaseException
from platformdirs import user_cache_path

from labelnoise.config import identity, options
from labelnoise.config.compose import compose
from labelnoise.config.explain import explain
from labelnoise.config.groups import CONFIGS
from labelnoise.files import atomic
from labelnoise.files.reading import read_bounded

Overrides = tuple[str, ...]

KEPT = 8  # cache files kept in the folder; each holds for one state of configs/
LARGEST = 2**26  # bytes; a larger cache is not read


class Configurations:
    """`identity.effective` for many similar sets of overrides.

    The cache holds for one state of configs/, identity.py and options.py. Without a writable folder there is none.
    Configurations that depend on more than the overrides (a file's content, an environment variable, further configs)
    are never cached.
    """

    def __init__(self) -> None:
        state = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
        sources = (Path(__file__), Path(identity.__file__), Path(options.__file__))
        for path in [*sources, *sorted(CONFIGS.rglob("*.yaml"))]:
            state.update(path.parent.name.encode() + b"/" + path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        self._path = user_cache_path("labelnoise") / "tables" / f"{state.hexdigest()[:16]}.json"
        self._known = self._read()
        self._new: dict[str, dict[str, Any]] = {}

    def of(self, overrides: Overrides) -> dict[str, Any]:
        """The effective configuration that these overrides compose.

        Raises:
            ValueError: an override is wrong, or a value is missing.
        """
        known = self._known.get("\n".join(overrides))
        if isinstance(known, dict):
            return known
        cfg = compose(list(overrides))
        try:
            config = identity.effective(cfg)
        except OmegaConfBaseException as error:
            raise ValueError(explain(error, list(overrides), cfg)) from None
        external = any("${" in o or o.lstrip("+~").startswith("hydra") for o in overrides)
        if not external and "sha256:" not in identity.identity(config):
            self._new["\n".join(overrides)] = config
        return config

    def keep(self) -> None:
        """Write the newly composed configurations to the cache."""
        if not self._new:
            return
        with contextlib.suppress(OSError):
            atomic.write_whole(self._path, json.dumps({**self._read(), **self._new}).encode())
            for old in sorted(self._path.parent.glob("*.json"), key=lambda p: -p.stat().st_mtime)[KEPT:]:
                old.unlink(missing_ok=True)

    def _read(self) -> dict[str, Any]:
        try:
            content = pydantic_core.from_json(read_bounded(self._path, LARGEST))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
