"""Where options are found: this package's configs/ and the user's own folders."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from labelnoise.config.options import GROUPS, OPTIONS

_installed = Path(__file__).parents[1] / "configs"  # in a wheel; in a checkout, configs/ is at the top
IN_CHECKOUT = not _installed.is_dir()
CONFIGS = Path(__file__).resolve().parents[3] / "configs" if IN_CHECKOUT else _installed

SEARCHPATH = "hydra.searchpath="


def config_dirs(overrides: Sequence[str] = ()) -> list[Path]:
    """The folders with options: the user's, from `hydra.searchpath=[...]`, and ours."""
    own: list[Path] = []
    for override in overrides:
        if override.startswith(SEARCHPATH):
            try:
                value = OverridesParser.create().parse_override(override).value()
            except HydraException:
                continue
            own += [Path(str(one).removeprefix("file://")) for one in value] if isinstance(value, list) else []
    return [*own, CONFIGS]


def typed(overrides: Sequence[str]) -> list[str]:
    """Overrides as a user types them: a folder of options as `--config-dir=DIR`."""
    folders = [f"--config-dir={folder}" for folder in config_dirs(overrides)[:-1]]
    return [*(override for override in overrides if not override.startswith(SEARCHPATH)), *folders]


def choices(group: str, overrides: Sequence[str] = ()) -> list[str]:
    """The options of a group, by the names of its files.

    Args:
        overrides: may add folders of options.
    """
    return sorted({path.stem for folder in config_dirs(overrides) for path in (folder / group).glob("*.yaml")})


def keys_of(group: str, option: str, overrides: Sequence[str] = ()) -> list[str] | None:
    """The options that a group's option has, as its file lists them; None if there is no such file."""
    for folder in config_dirs(overrides):
        if (file := folder / group / f"{option}.yaml").is_file():
            content = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
            own = content.get(group, content) if isinstance(content, dict) else {}
            return [str(key) for key in own if not str(key).startswith("_")]
    return None


def option_names() -> list[str]:
    """Every global option and every group."""
    return [*(option.name for option in OPTIONS), *(group.name for group in GROUPS)]
