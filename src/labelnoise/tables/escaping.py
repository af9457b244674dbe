"""Escape text from records and files for the format that it is printed in."""

import re

from labelnoise.files.text import plain

LONGEST = 5000  # characters of one text

_FORMULA = re.compile(r"(\$[^$]+\$)")
_MARKDOWN = str.maketrans({"<": "&lt;", "&": "&amp;", **{c: f"\\{c}" for c in r"\`*_[]|$~"}})
_LATEX = str.maketrans(
    {
        **{c: rf"\{c}" for c in "&%#_{}$"},
        **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "±": r"$\pm$", "−": "$-$", "²": "$^2$"},
        **{"†": r"$^{\dagger}$", "‡": r"$^{\ddagger}$"},
    }
)


def markdown(text: str) -> str:
    """Escaped for running text and table cells."""
    return plain(text, LONGEST).translate(_MARKDOWN)


def markdown_code(text: str) -> str:
    """A code span, fenced by more backticks than any run of them in the text. Not for table cells."""
    line = plain(text, LONGEST)
    fence = "`"
    while fence in line:
        fence += "`"
    return f"{fence}{line}{fence}" if fence == "`" else f"{fence} {line} {fence}"


def latex(text: str) -> str:
    """Escaped for running text. In a comment `plain` is enough: it keeps the text on one line."""
    return plain(text, LONGEST).translate(_LATEX)


def latex_with_formulas(text: str) -> str:
    """Escaped but for formulas, which are between dollar signs: for the names and the caption of a table's file."""
    parts = _FORMULA.split(plain(text, LONGEST))
    return "".join(part if _FORMULA.fullmatch(part) else part.translate(_LATEX) for part in parts)


def csv_cell(text: str) -> str:
    """Text that no spreadsheet reads as a formula."""
    line = plain(text, LONGEST)
    return f"'{line}" if line[:1] in ("=", "+", "-", "@") and not _is_number(line) else line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
