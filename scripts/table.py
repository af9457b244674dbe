"""`python scripts/table.py`: see labelnoise.tables.show."""

import sys

from labelnoise.cli.errors import check_flags, script
from labelnoise.tables import show


def main(arguments: list[str]) -> None:
    """Refuse what has dashes, then print the table."""
    check_flags(arguments)
    show.show(arguments)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    script(main, show.__doc__)
