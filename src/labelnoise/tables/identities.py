"""What overrides come to: the text that names their run, composed, or from a cache in the user's cache folder."""

import hashlib
import json
import os
from importlib.metadata import version
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException

from labelnoise.experiment import identity, options
from labelnoise.experiment.auto import settled
from labelnoise.experiment.compose import compose
from labelnoise.experiment.explain import explain
from labelnoise.experiment.groups import CONFIGS
from labelnoise.files import atomic

Overrides = tuple[str, ...]

KEPT = 8  # caches of other states of configs/ that are left in the folder


class Identities:
    """`identity.identity` of the configurations that overrides compose, for many that differ little.

    The cache is for one state of configs/, identity.py and options.py. Without a folder that can be written to there is
    none.
    What depends on more than the overrides (a file's content, an environment variable, further configs) is never kept.
    """

    def __init__(self) -> None:
        state = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
        for path in [Path(identity.__file__), Path(options.__file__), *sorted(CONFIGS.rglob("*.yaml"))]:
            state.update(path.parent.name.encode() + b"/" + path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        self._path: Path | None = None
        try:
            base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
            self._path = base / "labelnoise" / "tables" / f"{state.hexdigest()[:16]}.json"
        except RuntimeError:  # no home
            pass
        self._known = self._read()
        self._new: dict[str, str] = {}

    def of(self, overrides: Overrides) -> str:
        """The identity of the run that these overrides compose.

        Raises:
            ValueError: an override is wrong, or a value is missing.
        """
        known = self._known.get("\n".join(overrides))
        if isinstance(known, str):
            return known
        cfg = compose(list(overrides))
        try:
            text = identity.identity(identity.effective(settled(cfg)[0]))
        except OmegaConfBaseException as error:
            raise ValueError(explain(error, list(overrides), cfg)) from None
        elsewhere = any("${" in o or o.lstrip("+~").startswith("hydra") for o in overrides)
        if not elsewhere and "sha256:" not in text:
            self._new["\n".join(overrides)] = text
        return text

    def keep(self) -> None:
        """Write what was composed to the cache."""
        if not self._new or self._path is None:
            return
        try:
            atomic.write_whole(self._path, json.dumps({**self._read(), **self._new}).encode())
            for old in sorted(self._path.parent.glob("*.json"), key=lambda p: -p.stat().st_mtime)[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError:
            pass

    def _read(self) -> dict[str, str]:
        try:
            content = json.loads(self._path.read_text()) if self._path else {}
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}
