"""`labelnoise audit` from a checkout; --help says what it does."""

from labelnoise.cli.main import script

if __name__ == "__main__":
    script("audit")
