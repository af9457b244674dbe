"""`python scripts/summary.py`: see labelnoise.tables.summary."""

import sys

from labelnoise.cli.errors import check_flags, script
from labelnoise.tables import summary


def main(arguments: list[str]) -> None:
    """Refuse what has dashes, then print the summary."""
    check_flags(arguments)
    summary.summary(arguments)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    script(main, summary.__doc__)
