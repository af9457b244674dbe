"""Text from records and files made safe for the language that it is printed in."""

from labelnoise.files.text import plain

LONGEST = 5000  # characters of one text

_MARKDOWN = str.maketrans({"<": "&lt;", "&": "&amp;", **{c: f"\\{c}" for c in r"\`*_[]|$~"}})
_LATEX = str.maketrans(
    {
        **{c: rf"\{c}" for c in "&%#_{}$"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "−": "$-$"},
    }
)


def markdown(text: str) -> str:
    """For running text and for a cell of a table."""
    return plain(text, LONGEST).translate(_MARKDOWN)


def markdown_code(text: str) -> str:
    """As a code span, between more backticks than the text has in a row; not for a cell of a table."""
    line = plain(text, LONGEST)
    fence = "`"
    while fence in line:
        fence += "`"
    return f"{fence}{line}{fence}" if fence == "`" else f"{fence} {line} {fence}"


def latex(text: str) -> str:
    """For running text, outside of a comment; a comment needs `plain` alone, which leaves it on its line."""
    return plain(text, LONGEST).translate(_LATEX)


def csv_cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    line = plain(text, LONGEST)
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") and not _is_number(line) else line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
