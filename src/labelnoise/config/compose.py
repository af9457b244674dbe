"""Composing a configuration from overrides such as loss=agce or epochs=5. Reads no data."""

import contextlib
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, Quote, QuotedString, RangeSweep
from hydra.core.utils import setup_globals
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from labelnoise.config import tuned  # noqa: F401  # registers ${row:...}, also in worker processes
from labelnoise.config.explain import explain, several_values
from labelnoise.config.groups import CONFIGS, choices
from labelnoise.config.options import GROUPS, NO_PATHS, names_a_path
from labelnoise.config.package_line import refuse_without
from labelnoise.config.renamed import refuse_old

SECONDS = 10.0  # processor time for composing or resolving one configuration, which takes some hundredths
AGAIN = 0.5  # then every so many seconds: Python drops what a signal raises inside a destructor
NAME = re.compile(r"[+~]{0,2}[\w/.@:$-]+")  # the beginning of an override
PLAIN_PATH = re.compile(r"(/|\./|\.\./)?[a-z_][\w./-]*|\.\.?|/", re.ASCII | re.IGNORECASE)  # needs no quotes
QUOTED = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""")  # has its own
SWEEP = re.compile(r"(choice|shuffle|sort|glob|tag)\(.*\)", re.DOTALL)
# What Hydra and OmegaConf raise for a user's mistakes in an override or a file.
MISTAKES = (
    *(HydraException, OmegaConfBaseException, YAMLError, RecursionError),
    *(ValueError, TypeError, AttributeError, AssertionError, LookupError, UnicodeError),
)


def compose(overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run of `labelnoise train` with these overrides.

    Args:
        overrides: as on the command line; `hydra.searchpath=[folder]` adds a folder of the user's own options.
    Raises:
        ValueError: an override is wrong; one line says which and what is allowed.
    """
    return _composed(overrides, with_hydra=False)


def chosen_options(overrides: Sequence[str]) -> dict[str, str]:
    """The option of each group in the configuration that these overrides compose. Args, raises: as `compose`."""
    choices_of_hydra = _composed(overrides, with_hydra=True).hydra.runtime.choices
    return {group.name: str(choices_of_hydra[group.name]) for group in GROUPS}


def _composed(overrides: Sequence[str], with_hydra: bool) -> DictConfig:
    written = prepared(overrides)
    outer = GlobalHydra.instance().hydra  # a sweeper composes inside hydra.main
    GlobalHydra.instance().clear()
    try:
        with deadline(), hydra.initialize_config_dir(str(CONFIGS), version_base="1.3", job_name="train"):
            return hydra.compose("train", overrides=written, return_hydra_config=with_hydra)
    except MISTAKES as error:
        raise ValueError(explain(error, list(overrides))) from None
    finally:
        GlobalHydra.instance().hydra = outer


def from_yaml(text: str) -> DictConfig:
    """The composed configuration from the YAML that another process wrote with `OmegaConf.to_yaml`."""
    setup_globals()  # registers ${now:...}; this process may not have called compose()
    cfg: Any = OmegaConf.create(text)
    OmegaConf.set_struct(cfg, True)
    return cfg


@contextlib.contextmanager
def deadline(seconds: float | None = None) -> Iterator[None]:
    """Refuse values that refer to each other so often that resolving them would take minutes.

    Args:
        seconds: of processor time, so that a busy machine does not matter; default: SECONDS.
    Raises:
        ValueError: the time is over. There is no limit outside the main thread.
    """

    def over(*_: object) -> None:
        raise ValueError("a value of the configuration refers to others so often that it cannot be resolved")

    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds or SECONDS, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def prepared(overrides: Sequence[str], several: bool = False) -> list[str]:
    """The overrides in Hydra's form: paths quoted, every choice of a group checked.

    Hydra composes a sweep once without what is swept, to configure itself. There the options of a swept group, such as
    loss.q with loss=gce,agce, would be unknown, so they are handed over as sweeps of one value (`as_typed` undoes it).
    With a table, whose rows and columns choose the options, so are those of every group.

    Args:
        several: whether an override may give several values, as with -m.
    Raises:
        ValueError: one cannot be parsed, chooses an option that its group does not have, or gives several values.
    """
    refuse_old(overrides)
    written = [_quoted(override, several) for override in overrides]
    parser = OverridesParser.create()
    swept: set[str] = set()
    for given, override in zip(overrides, written, strict=True):
        try:
            (parsed,) = parser.parse_overrides([override]) if NAME.match(override) else [None]
        except (HydraException, RecursionError) as error:
            raise ValueError(explain(error, [given])) from None
        except ValueError:  # Python's own limit
            raise ValueError(f"{given[:80]}...: has too many digits for a number") from None
        if parsed is None:
            raise ValueError(explain(OverrideParseException(given, ""), [given]))
        if parsed.is_sweep_override() and not several:
            raise ValueError(several_values(given))
        _check_choice(parsed, given, overrides)
        if parsed.is_sweep_override():
            swept.add(parsed.key_or_group)
    if several and any(override.startswith("table=") and override != "table=none" for override in overrides):
        swept |= {known.name for known in GROUPS} - {"table"}
    return [_with_its_group(override, swept) for override in written]


def _with_its_group(override: str, swept: set[str]) -> str:
    """An option of a swept group as a sweep of one value; any other as it is."""
    name, equals, value = override.partition("=")
    group = name.lstrip("+").partition(".")[0]
    ours = group in swept and name not in swept and group in [known.name for known in GROUPS]
    return f"{name}=choice({value or QuotedString('', Quote.single).with_quotes()})" if ours and equals else override


def as_typed(override: Override) -> str:
    """An override as typed; a sweep of one value, which `prepared` makes, without the `choice()` around it."""
    line = str(override.input_line)
    value = override.value()
    name, sweep, inner = line.partition("=choice(")
    return f"{name}={inner[:-1]}" if sweep and isinstance(value, ChoiceSweep) and len(value.list) == 1 else line


def _quoted(override: str, several: bool) -> str:
    """An override of a path with its value quoted, so that it may contain any characters, and with ~ expanded.

    Unchanged are values in quotes of their own, and those in brackets, which Hydra reads as lists and mappings. With
    `several`, a comma separates paths, and Hydra's sweeps such as choice(a,b) are unchanged.
    """
    name, equals, value = override.partition("=")
    key = name.lstrip("+")
    if not equals or not names_a_path(key, value) or value == "null" or QUOTED.fullmatch(value):
        return override
    if (value[:1] + value[-1:] in ("[]", "{}")) or value.lower() in NO_PATHS.get(key, ()):
        return override
    parts = value.split(",") if several else [value]
    if several and (SWEEP.fullmatch(value) or (len(parts) > 1 and ("" in parts or value[0] in "'\""))):
        return override
    return f"{name}={','.join(map(_quoted_path, parts))}"


def _quoted_path(path: str) -> str:
    if PLAIN_PATH.fullmatch(path) and path.lower() not in ("true", "false", "nan", "inf"):
        return path
    with contextlib.suppress(RuntimeError):  # no such user
        path = str(Path(path).expanduser()) if path.startswith("~") else path
    return QuotedString(path, Quote.single).with_quotes()


def _check_choice(override: Override, given: str, overrides: Sequence[str]) -> None:
    """Refuse a value that is not an option of its group, such as a list, a path or null, even if Hydra accepts it, and
    an option whose file lacks the package line that it needs."""
    group, value, key = override.key_or_group, override.value(), given.partition("=")[0]
    if group not in [known.name for known in GROUPS] or override.is_delete():
        return
    if isinstance(value, RangeSweep | IntervalSweep | Glob):
        raise ValueError(f"{given}: several options are written one by one, {key}=a,b")
    if isinstance(value, list):
        names = ",".join(str(one) for one in value if not isinstance(one, list | dict))
        raise ValueError(f"{given}: takes one option, not a list; several runs are {key}={names or 'a,b'} with -m")
    known = choices(group, overrides)
    wanted = value.list if isinstance(value, ChoiceSweep) else [value]
    for one in wanted:
        text = one.text if isinstance(one, QuotedString) else one
        if text not in known:
            shown = given if len(wanted) == 1 else f"{key}={text}"
            raise ValueError(f"{shown}: no such option; one of {', '.join(known)}")
        refuse_without(group, text, overrides)
