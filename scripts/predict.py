"""`python scripts/predict.py`: see labelnoise.experiment.predict."""

from labelnoise.cli.errors import check_flags, script
from labelnoise.experiment import predict


def main(arguments: list[str]) -> None:
    """Refuse what has dashes, then predict."""
    check_flags(arguments)
    predict.predict(arguments)


if __name__ == "__main__":
    script(main, predict.__doc__)
