"""What overrides come to: the text that names their run, composed, or from a cache in the user's cache folder."""

import copy
import hashlib
import json
import os
import re
from importlib.metadata import version
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from labelnoise import records
from labelnoise.config import CONFIGS, compose, explain, options

Overrides = tuple[str, ...]

KEPT = 8  # caches of other states of configs/ that are left in the folder


class Identities:
    """`records.identity` of the configurations that overrides compose, for many that differ little.

    The cache is for one state of configs/ and of records.py. Without a folder that can be written to there is none.
    What depends on more than the overrides (a file's content, an environment variable, further configs) is never kept.
    """

    def __init__(self) -> None:
        state = hashlib.sha256(f"{version('hydra-core')} {version('omegaconf')}".encode())
        for path in [Path(records.__file__), *sorted(CONFIGS.rglob("*.yaml"))]:
            state.update(path.parent.name.encode() + b"/" + path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        self._path: Path | None = None
        try:
            base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
            self._path = base / "labelnoise" / "tables" / f"{state.hexdigest()[:16]}.json"
        except RuntimeError:  # no home
            pass
        self._known = self._read()
        self._new: dict[str, str] = {}
        self._bases: dict[Overrides, DictConfig] = {}

    def of(self, overrides: Overrides) -> str:
        """The identity of the run that these overrides compose.

        Raises:
            ValueError: an override is wrong, or a value is missing.
        """
        known = self._known.get("\n".join(overrides))
        if isinstance(known, str):
            return known
        cfg = self._compose(overrides)
        try:
            text = records.identity(records.effective(cfg))
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
            records.write_whole(self._path, json.dumps({**self._read(), **self._new}).encode())
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

    def _compose(self, overrides: Overrides) -> DictConfig:
        """As `compose`, which spends its time on the groups: plain values are set on a copy, as Hydra sets them."""
        values = [o for o in overrides if _is_plain(o)]
        groups = tuple(o for o in overrides if not _is_plain(o))
        if not all(re.fullmatch(r"\w+=\w+", o) for o in groups):
            return compose(list(overrides))
        if groups not in self._bases:
            try:
                self._bases[groups] = compose(list(groups))
            except ValueError:
                return compose(list(overrides))  # its message knows all of them
        cfg = copy.deepcopy(self._bases[groups])
        try:
            for override in OverridesParser.create().parse_overrides(values):
                OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
        except Exception:
            return compose(list(overrides))
        return cfg


def _is_plain(override: str) -> bool:
    """Whether it sets one value and chooses no option of a group: rate=0.4, loss.q=0.5."""
    key, _, value = override.partition("=")
    return bool(re.fullmatch(r"\w+(\.\w+)*", key) and re.fullmatch(r"[\w.+-]+", value)) and not options(key)
