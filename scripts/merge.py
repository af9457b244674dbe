"""`python scripts/merge.py`: see labelnoise.tables.merge."""

from labelnoise.cli.errors import check_flags, script
from labelnoise.tables import merge


def main(arguments: list[str]) -> None:
    """Refuse what has dashes, then merge."""
    check_flags(arguments)
    merge.merge(arguments)


if __name__ == "__main__":
    script(main, merge.__doc__)
