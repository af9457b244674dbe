"""The code of a page of the documents, in its order."""

from typing import NamedTuple

from support.data import REPOSITORY


class Block(NamedTuple):
    """Attributes: the paragraph before a block of code, its language (empty for what a command prints), the code."""

    said: str
    language: str
    code: str


def blocks(page: str) -> list[Block]:
    """Every block of code of docs/<page>.md."""
    parts = (REPOSITORY / "docs" / f"{page}.md").read_text().split("```")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return [Block(said.rstrip().rpartition("\n\n")[2], *code.split("\n", 1)) for said, code in pairs]
