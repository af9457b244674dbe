"""Write files atomically."""

import os
import tempfile
from pathlib import Path

from labelnoise.files.reading import check_regular


def write_whole(path: Path, content: bytes, sync: bool = True) -> Path:
    """Write a file completely or not at all; with `sync`, also if the power fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def check_writable(results: str | Path, *names: str) -> None:
    """Refuse a results folder that is not writable, before hours are spent on a run.

    Args:
        names: files to be written there; a folder or device with one of these names is refused.
    Raises:
        ValueError: names the folder or file and the reason.
    """
    try:
        Path(results).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results) as file:
            file.write(b" " * 65536)
    except OSError as error:
        raise ValueError(f"results={results}: cannot be written ({error.strerror})") from None
    for name in names:
        try:
            check_regular(Path(results) / name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise ValueError(f"results={results}: {name} {error}, and the run needs that name; remove it") from None
