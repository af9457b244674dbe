"""What the parts of a run cite: the `# cite:` line of each option's file, whose keys are entries of references.bib."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from labelnoise.config.groups import config_dirs
from labelnoise.files.reading import read_bounded

GROUPS = ("dataset", "noise", "loss", "regulariser", "method", "network", "protocol")  # whose files have the line
LINE = re.compile(r"^# cite: (.+)", re.MULTILINE)
PACKAGE = "labelnoise"  # the key of this package; the rest of the entry is as in CITATION.cff
ENTRY = re.compile(r"^@\w+\{([^,\s]+),\n.*?^\}$", re.MULTILINE | re.DOTALL)
LARGEST = 2**20  # bytes of a file


def keys_of(group: str, option: str, overrides: Sequence[str] = ()) -> list[str] | None:
    """The keys that an option's file names; none for `# cite: none`. None if it has no such line.

    Args:
        overrides: may add folders of options.
    """
    for folder in config_dirs(overrides):
        if (file := folder / group / f"{option}.yaml").is_file():
            found = LINE.search(_text(file))
            return None if found is None else [key for key in re.split(r",\s*", found[1].strip()) if key != "none"]
    return None


def entries(overrides: Sequence[str] = ()) -> dict[str, str]:
    """The BibTeX of every key: from references.bib, and from the file of that name in the user's own folders."""
    files = [folder / "references.bib" for folder in reversed(config_dirs(overrides))]
    return {found[1]: found[0] for file in files if file.is_file() for found in ENTRY.finditer(_text(file))}


def of_options(used: Iterable[tuple[str, str]], overrides: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """The BibTeX entries of some options, each once, in their order; and a line on each option that names none.

    Args:
        used: group and option.
        overrides: may add folders of options.
    """
    known = entries(overrides)
    cited: dict[str, str] = {}
    missing: list[str] = []
    for group, option in used:
        keys = keys_of(group, option, overrides)
        if keys is None:
            missing.append(f"{group}={option}: its file has no line `# cite: KEY` or `# cite: none`")
        for key in keys or ():
            if key in known:
                cited[key] = known[key]
            else:
                missing.append(f"{group}={option}: cites {key}, which no references.bib has")
    return list(cited.values()), missing


def _text(file: Path) -> str:
    return read_bounded(file, LARGEST).decode(errors="replace")
