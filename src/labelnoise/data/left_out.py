"""What is not read in a folder: folders that tools leave, files that are not images, links. All of it is reported."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

# Formats that Pillow decodes by itself, without another program.
ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"),
    *(".gif", ".jfif", ".jpe", ".jp2", ".avif", ".pbm", ".pnm", ".dib", ".tga"),
)
# Folders of thumbnails, deleted files and copies, in lower case; so are all whose names begin with a dot.
TOOLS = (
    *("__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "@__thumb", "#recycle", "#snapshot", "~snapshot"),
    *("$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "__pycache__"),
)
SHOWN = 8  # kinds of things in a line


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image; hidden files, such as macOS's ._photo.jpg, are none."""
    return name.lower().endswith(ENDINGS) and name[0] != "."


def of_a_tool(name: str) -> bool:
    """Whether a folder is hidden, or one that a tool, a network drive or an archive leaves."""
    return name[0] == "." or name.lower() in TOOLS


class LeftOut:
    """Counts what is left out below a folder.

    Args:
        root: names in the lines are relative to it.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._counts: Counter[tuple[str, str]] = Counter()

    def folder(self, path: Path, reason: str = "") -> None:
        """A folder whose images, at any depth, are not read."""
        if count := sum(name.lower().endswith(ENDINGS) for _, _, names in os.walk(path) for name in names):
            self._counts[f"{{}} in {named(path.relative_to(self._root))}{reason}", "image"] = count

    def link(self, path: Path) -> None:
        """A link that is not followed."""
        self._counts[f"the link {named(path.relative_to(self._root))}", ""] = 1

    def loose(self, path: Path) -> None:
        """An image that is in no class's folder."""
        where = path.parent.relative_to(self._root)
        self._counts[f"{{}} beside the folders of {'data_dir' if where == Path() else named(where)}", "image"] += 1

    def file(self, name: str) -> None:
        """A file in a class's folder that is not read as an image."""
        if name.startswith("._"):
            self._counts["{} ._*", "file"] += 1
        elif name[0] != ".":
            self._counts[f"{{}} {named(Path(name).suffix.lower()) or 'without an ending'}", "file"] += 1

    def unlisted(self, count: int, table: str) -> None:
        """Images beside listed ones that the CSV does not list."""
        if count:
            self._counts[f"{{}} that {named(table)} does not list", "image"] = count

    def lines(self) -> tuple[str, ...]:
        """What is left out, the most first, such as `15 .heic files`."""
        return tuple(text.format(counted(count, noun)) for (text, noun), count in self._counts.most_common())


def counted(count: int, noun: str) -> str:
    """A number with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def in_short(lines: Iterable[str]) -> str:
    """At most some of the lines, joined."""
    whole = list(lines)
    return ", ".join(whole[:SHOWN]) + (f" and {len(whole) - SHOWN:,} more" if len(whole) > SHOWN else "")


def named(path: str | Path) -> str:
    r"""A path for a message: bytes that are not UTF-8 as \xe9, and control characters escaped."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
