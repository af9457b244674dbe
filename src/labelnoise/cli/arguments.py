"""Arguments: a subcommand's own options, Hydra's flags, --config-dir, and a message for options such as --loss=agce."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from labelnoise.arguments.ranges import either
from labelnoise.config.groups import SEARCHPATH, option_names

LONG = {
    **{"-h": "--help", "-m": "--multirun", "-r": "--run", "-c": "--cfg", "-p": "--package"},
    "-sc": "--shell-completion",
}
SWITCHES = ("--help", "--multirun", "--run", "--resolve", "--hydra-help", "--version", "--shell-completion")
VALUED = {
    "--cfg": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--package": (),
}


def split_named(arguments: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """The values of a subcommand's own arguments `name=value`, the last of each name, and all other arguments."""
    own = [argument for argument in arguments if argument.startswith(tuple(f"{name}=" for name in names))]
    return dict(argument.split("=", 1) for argument in own), [a for a in arguments if a not in own]


def check_flags(arguments: Sequence[str], known: Sequence[str] = ()) -> None:
    """Refuse unknown arguments with dashes. For --loss=agce or --epochs 5, the message says how options are written.

    Raises:
        ValueError: an argument with dashes is not one of the known flags.
    """
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if not flag.startswith("-") or flag in known:
            continue
        name = flag.lstrip("-")
        if name.split(".")[0] in option_names():
            raise ValueError(f"{argument}: options have no dashes; write {name}={value or '...'}")
        raise ValueError(f"{argument}: no such flag; options are written name=value, and --help lists them")


def split_flags(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The flags of `train`, by their long names, with their values ("" for a switch), and the overrides.

    Raises:
        ValueError: a flag is unknown, or its value is wrong.
    """
    flags: dict[str, str] = {}
    overrides: list[str] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        if not argument.startswith("-"):
            overrides.append(argument)
            continue
        flag, equals, value = argument.partition("=")
        name = LONG.get(flag, flag)
        if name in SWITCHES:
            if equals:
                raise ValueError(f"{argument}: {flag} takes no value")
            flags[name] = ""
        elif name in VALUED:
            allowed = VALUED[name]
            if not equals:
                takes_next = left and (left[0] in allowed or name != "--info")
                value = left.pop(0) if takes_next else "all" if name == "--info" else ""
            if (allowed and value not in allowed) or value == "":
                raise ValueError(f"{flag}={value}: must be {either(allowed) if allowed else 'a package'}")
            flags[name] = value
        else:
            check_flags([argument])
    for name in ("--package", "--resolve"):
        if name in flags and "--cfg" not in flags:
            raise ValueError(f"{name}: needs --cfg")
    return flags, overrides


def with_config_dirs(arguments: Sequence[str]) -> list[str]:
    """The arguments with every `--config-dir DIR` replaced by Hydra's override for it.

    Raises:
        ValueError: a folder does not exist.
    """
    rest: list[str] = []
    folders: list[Path] = []
    left = list(arguments)
    while left:
        argument = left.pop(0)
        flag, equals, value = argument.partition("=")
        if flag not in ("--config-dir", "-cd"):
            rest.append(argument)
            continue
        value = value if equals or not left else left.pop(0)
        folders.append(Path(value).expanduser())
        if not value or not folders[-1].is_dir():
            raise ValueError(f"--config-dir={value}: there is no such folder")
    if folders:
        quoted = (QuotedString(f"file://{folder.resolve()}", Quote.single).with_quotes() for folder in folders)
        rest.append(f"{SEARCHPATH}[{','.join(quoted)}]")
    return rest
