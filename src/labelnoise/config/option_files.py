"""Option files as Hydra reads them, but with YAML's parser in C, which is ten times as fast, and each state once."""

import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.plugins.config_source import ConfigSource
from omegaconf._utils import get_yaml_loader
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

Tree = dict[str, Any]

_Rules: Any = get_yaml_loader()  # what is a number, and that no key stands twice
_Loader: Any = _Rules

if yaml.__with_libyaml__:
    from yaml.cyaml import CParser

    class _InC(CParser, _Rules):
        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)

    _Loader = _InC


class OptionFile(NamedTuple):
    """A file of options.

    Attributes: content, without the defaults; package, as in its first line, None for that of its group; defaults.
    """

    content: Tree
    package: str | None
    defaults: list[Any]


def option_file(path: str, folders: tuple[Path, ...]) -> OptionFile | None:
    """The file `<path>.yaml` of the first folder that has it; None if none has.

    Raises: OSError, UnicodeError, YAMLError, ValueError, AttributeError: it is not a file of options.
    """
    for folder in folders:
        file = f"{folder}/{path}.yaml"
        try:
            return _read(file, os.stat(file).st_mtime_ns)  # noqa: PTH116  # pathlib is slow
        except FileNotFoundError:
            continue
    return None


@cache
def _read(file: str, _changed: int) -> OptionFile:
    text = Path(file).read_text(encoding="utf-8")
    content = yaml.load(text, _Loader)  # a safe loader, with OmegaConf's rules
    package = ConfigSource._get_header_dict(text[:512])["package"]
    return OptionFile(content, package, content.pop("defaults", []))
