"""What can be set and called: the groups, the global options, the subcommands, the Python interface."""

import inspect
import re
from types import ModuleType

import labelnoise
from labelnoise.config.groups import choices
from labelnoise.config.naming import as_yaml
from labelnoise.config.options import BELOW, GROUPS, OPTIONS
from labelnoise.config.subcommands import SUBCOMMANDS
from labelnoise.tables.markdown import bars


def markdown(*rows: list[str]) -> str:
    """A table whose first row is its head."""
    head, *lines = [[_escaped(cell) for cell in row] for row in rows]
    return "\n".join(map(bars, [head, ["---"] * len(head), *lines]))


def _escaped(cell: str) -> str:
    """A bar ends a cell, and `<name>` outside code is a tag."""
    return re.sub(r"(?<![`\w])<[\w/.<>-]+", r"`\g<0>`", cell.replace("|", r"\|"))


def groups() -> str:
    """Every group with its options."""
    rows = []
    for group in GROUPS:
        names = choices(group.name)
        rows.append([f"`{group.name}`", group.help, str(len(names)), ", ".join(f"`{name}`" for name in names)])
    return markdown(["group", "what", "number", "options"], *rows)


def options() -> str:
    """Every global option, and those of a whole group, with its meaning and its default."""
    rows = [[f"`{option.name}`", option.help, f"`{as_yaml(option.default)}`"] for option in (*OPTIONS, *BELOW)]
    return markdown(["option", "meaning", "default"], *rows)


def subcommands() -> str:
    """Every subcommand of `labelnoise` with its help line."""
    rows = [[f"`labelnoise {name}`", subcommand.help] for name, subcommand in SUBCOMMANDS.items()]
    return markdown(["command", "what it does"], *rows)


def interface() -> str:
    """The names of `labelnoise.__all__`: how each is called, and the first line of its docstring."""
    rows = []
    for name in labelnoise.__all__:
        public = getattr(labelnoise, name)
        called = name if isinstance(public, ModuleType) else f"{name}{_signature(public)}"
        rows.append([f"`labelnoise.{called}`", (inspect.getdoc(public) or "").partition("\n")[0]])
    return markdown(["name", "what"], *rows)


def _signature(function: object) -> str:
    """The parameters with their defaults, without annotations; a function among these by its name."""
    return "(" + ", ".join(map(_parameter, inspect.signature(function).parameters.values())) + ")"  # type: ignore[arg-type]


def _parameter(of: inspect.Parameter) -> str:
    plain = str(of.replace(annotation=of.empty, default=of.empty))
    return plain if of.default is of.empty else f"{plain}={getattr(of.default, '__name__', repr(of.default))}"
