"""Images in class folders, and in parts such as train/ and test/. Opens no image."""

import os
from pathlib import Path

from labelnoise.data.left_out import ENDINGS, LeftOut, in_short, is_image, named, of_a_tool
from labelnoise.data.listing import Entry, Found, shown
from labelnoise.data.part_names import PARTS, part_of


def from_folders(root: Path) -> Found:
    """The images in class folders `<class>/...`; if there is a training part, in those inside the parts.

    A part is a folder of class folders with a common name of train, val or test in any case, see `part_of`.

    Raises:
        ValueError: one of the class folders has no image, or it is not clear which of its folders are the parts.
    """
    left = LeftOut(root)
    tops = _folders(root, left)
    parts = {path: part_of(path.name) for path in tops if part_of(path.name) and _subfolders(path)}
    if "train" not in parts.values():
        _refuse_parts_without_training(root, tops, parts)
        return Found(_in_classes(root, tops, "", left), left.lines(), _alike(tops))
    for part in PARTS:
        if len(same := [path.name for path in parts if parts[path] == part]) > 1:
            raise ValueError(
                f"data_dir={root}: {named(' and '.join(same))} are both names of the part {part}; keep one"
            )
    entries = []
    for path, part in parts.items():
        entries += _in_classes(root, _folders(path, left), part, left)
    for path in tops:
        if path not in parts:
            known = "has no class folders" if part_of(path.name) else "not a name of train, val or test"
            left.folder(path, f" ({known})")
    return Found(entries, left.lines())


def images_below(folder: Path, left: LeftOut | None = None) -> list[Path]:
    """The image files in a class's folder at any depth, sorted.

    Args:
        left: gets what is left out.
    Raises:
        ValueError: it does not exist or has none.
    """
    left, found, others = left or LeftOut(folder), [], LeftOut(folder)
    for inside, folders, names in os.walk(folder):
        for name in sorted(folders):
            if of_a_tool(name):
                left.folder(Path(inside, name))
            elif Path(inside, name).is_symlink():
                left.link(Path(inside, name))
        folders[:] = [name for name in folders if not of_a_tool(name)]
        for name in names:
            if is_image(name):
                found.append(Path(inside, name))
            else:
                left.file(name)
                others.file(name)
    if not found:
        has = f"; it has {in_short(others.lines())}" if others.lines() else ""
        raise ValueError(f"class {named(folder.name)}: {named(folder)} holds no images ({', '.join(ENDINGS)}){has}")
    return sorted(found)


def _in_classes(root: Path, folders: list[Path], part: str, left: LeftOut) -> list[Entry]:
    return [
        Entry(path.relative_to(root).as_posix(), folder.name, part)
        for folder in folders
        for path in images_below(folder, left)
    ]


def _folders(root: Path, left: LeftOut) -> list[Path]:
    """The folders in a folder, sorted, without those of tools."""
    found = []
    for path in sorted(root.iterdir()):
        if path.is_dir():
            if of_a_tool(path.name):
                left.folder(path)
            else:
                found.append(path)
        elif path.is_symlink() and not path.exists():
            left.link(path)
        elif is_image(path.name):
            left.loose(path)
    return found


def _subfolders(folder: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, sorted, without those of tools."""
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not of_a_tool(path.name)))


def _refuse_parts_without_training(root: Path, tops: list[Path], parts: dict[Path, str]) -> None:
    """Refuse a folder such as test/ beside one that has the same folders and a name that is not known."""
    for part in parts:
        inside = set(_subfolders(part))
        if others := [path.name for path in tops if path not in parts and inside & set(_subfolders(path))]:
            raise ValueError(
                f"data_dir={root}: {named(part.name)} and {named(shown(others))} both have folders called "
                f"{named(shown(sorted(inside)))}, so they look like parts; call the one to train on train"
            )


def _alike(tops: list[Path]) -> tuple[str, ...]:
    """A warning if all class folders have the same folders in them, which may be the classes, or the parts."""
    inside = {_subfolders(path) for path in tops}
    if len(tops) < 2 or len(inside) != 1 or len(names := inside.pop()) < 2:
        return ()
    return (
        f"each of the classes {named(shown(path.name for path in tops))} has the folders {named(shown(names))}, whose "
        "images are taken together; if these are the classes, call the folders above them train, val and test",
    )
