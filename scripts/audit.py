"""Find the labels of a training set that are probably wrong: `labelnoise.audit.command` says how."""

from labelnoise.audit import command
from labelnoise.cli.errors import script

if __name__ == "__main__":
    script(command.audit, command.__doc__)
