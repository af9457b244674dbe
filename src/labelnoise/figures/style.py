"""Style figures for a two-column paper and write them as PDF and PNG. matplotlib is imported only when needed."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.files.atomic import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.25, 6.75  # inches: the width of one and of both columns in ICML's template; IEEE's is a little wider
# Okabe and Ito's colours, which colour-blind readers can tell apart; dashes are for print without colour.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f")
DASHES = ("-", "--", "-.", ":")
SETTINGS: Any = {
    "font.family": "serif",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "lines.linewidth": 1.1,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # fonts that publishers accept and a reader can search
    "svg.fonttype": "none",
    "figure.constrained_layout.use": True,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """The settings above while the block draws and writes.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError("figures need matplotlib: pip install 'labelnoise[plots]'") from None
    with matplotlib.rc_context(SETTINGS):
        yield


def panels(count: int, width: float, height: float, share_y: bool = True) -> "tuple[Figure, list[Any]]":
    """A figure with `count` panels side by side, sizes in inches, and the axes of each panel."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(1, count, squeeze=False, sharey=share_y)[0])


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of the index-th line."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": DASHES[index % len(DASHES)]}


def write(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write `<folder>/<name>.pdf` and `.png` (300 dpi); the same figure gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    for form, facts in (("pdf", {"CreationDate": None}), ("png", {})):
        content = io.BytesIO()
        figure.savefig(content, format=form, dpi=300, metadata=facts)
        written.append(write_whole(folder / f"{name}.{form}", content.getvalue()))
    return written
