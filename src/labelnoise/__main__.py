"""`python -m labelnoise`: the command `labelnoise`."""

from labelnoise.cli.main import main

if __name__ == "__main__":
    main()
