"""Make text from a file fit for a message: one line, printable, not too long."""


def plain(text: str, longest: int = 200) -> str:
    """The text in one line without control characters, cut after `longest` characters."""
    line = "".join(c if c.isprintable() else " " for c in text[: 4 * longest])
    line = " ".join(line.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
