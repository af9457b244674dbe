"""Hydra's package line: without it, what a file of a group sets is below that group, wherever it was meant to be."""

import re
from collections.abc import Sequence
from itertools import takewhile

from labelnoise.config.groups import config_dirs

LINE = "# @package _global_"
ABOVE = ("tuned", "tuned_row", "tuned_kind", "recipe")  # keys of the whole configuration, never of a component


def refuse_without(group: str, option: str, overrides: Sequence[str]) -> None:
    """Refuse an option whose file sets keys of the whole configuration, but has no package line.

    Args:
        overrides: may add folders of options.
    Raises:
        ValueError: names the file, the keys and the line.
    """
    files = (folder / group / f"{option}.yaml" for folder in config_dirs(overrides))
    path = next((file for file in files if file.is_file()), None)
    if path is None or group == "table":  # a table's file is not composed
        return
    lines = path.read_text(errors="replace").splitlines()
    if any("@package" in line for line in takewhile(lambda line: not line.strip() or line.startswith("#"), lines)):
        return
    keys = [found[1] for line in lines if (found := re.match(r"(\w+):", line)) and found[1] != "defaults"]
    if meant := [key for key in keys if key in (group, *ABOVE) or group == "protocol"]:
        names = " and ".join(", ".join(meant).rsplit(", ", 1))
        reason = f"without it {names} would be options below {group}"
        raise ValueError(f"{path}: its first line must be {LINE}, because {reason}")
