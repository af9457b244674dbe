"""Configurations: composing one, checking it before anything is read, and saying in one line what is wrong with it."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import setup_globals
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from labelnoise.experiment.identity import EFFECTIVE, INCIDENTAL

_installed = Path(__file__).parents[1] / "configs"  # in a wheel; in a checkout they stand at the top
CONFIGS = _installed if _installed.is_dir() else Path(__file__).resolve().parents[3] / "configs"

# Keys that exist to be interpolated; they may be left unread, but nothing may be added below them.
DATASET = ("name", "load", "augment")  # what `run` reads of the dataset group
REGIME = ("epochs", "batch_size", "lr", "weight_decay")
# What `run` itself gives to a component when it calls it.
SUPPLIED = {
    "loss": ("logits",),
    "noise": ("facts", "seed"),
    "network": ("num_classes", "channels", "size"),
    "optimizer": ("params",),
    "schedule": ("epoch", "epochs"),
    "method": ("setup",),
    "tracker": ("run_id", "config", "results"),
    "dataset": ("images", "generator"),
}
HELPERS = ("tuned", "tuned_row", "regime", "seed", "focal_detach")


def compose(overrides: list[str]) -> DictConfig:
    """The configuration that `python train.py <overrides>` runs. Reads no data.

    Raises:
        ValueError: an override is wrong; one line says which and what is allowed.
    """
    outer = GlobalHydra.instance().hydra  # a sweeper composes inside hydra.main
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3", job_name="train"):
            return hydra.compose("train", overrides=list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, list(overrides))) from None
    finally:
        GlobalHydra.instance().hydra = outer


def from_yaml(text: str) -> DictConfig:
    """The configuration that `OmegaConf.to_yaml` wrote, as composed: another process runs it."""
    setup_globals()  # ${now:...}, which compose() registers in this process or not
    cfg: Any = OmegaConf.create(text)
    OmegaConf.set_struct(cfg, True)
    return cfg


# --------------------------------------------------------------------------------------------------------- checking


def check(cfg: DictConfig) -> None:
    """Refuse a configuration with a value out of range, a missing value or a key that nothing reads.

    Raises:
        ValueError: names the key, its value and what is allowed.
    """
    if "table" in cfg:
        raise ValueError("table=...: a table is many runs and needs -m, python train.py -m table=...")
    try:
        _check_options(cfg)
        _check_all_read(cfg)
        for where, node in _targets(cfg):
            _check_arguments(where, node)
    except OmegaConfBaseException as error:
        raise ValueError(explain(error, [], cfg)) from None


def _whole(low: int, high: int = 2**32 - 1) -> tuple[Callable[[Any], bool], str]:
    return (
        lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
        f"a whole number, at least {low}" + (f" and at most {high}" if high < 10**6 else " and below 2^32"),
    )


def _number(test: Callable[[float], bool], allowed: str) -> tuple[Callable[[Any], bool], str]:
    return lambda v: isinstance(v, int | float) and not isinstance(v, bool) and test(v), allowed


_SWITCH = (lambda v: isinstance(v, bool), "true or false")
_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "rate": _number(lambda v: 0 <= v <= 1, "a number from 0 to 1"),
    **dict.fromkeys(("seed", "seed_noise", "seed_init", "seed_data", "num_val", "num_trusted"), _whole(0)),
    "epochs": _whole(1),
    "batch_size": _whole(2),
    "eval_every": _whole(1),
    "clip_norm": (
        lambda v: v is None or _number(lambda n: 0 < n < float("inf"), "")[0](v),
        "a number above 0, or null",
    ),
    "precision": (lambda v: v in ("auto", "float32", "bfloat16"), "auto, float32 or bfloat16"),
    "device": (
        lambda v: re.fullmatch(r"auto|cpu|cuda(:(0|[1-9]\d?))?", str(v)) is not None,
        "auto, cpu, cuda or cuda:N",
    ),
    "threads": (lambda v: v == "auto" or _whole(1, 4096)[0](v), "auto or a whole number from 1 to 4096"),
    "data_dir": (lambda v: isinstance(v, str) and v != "", "a folder"),
    "results": (lambda v: isinstance(v, str) and v != "", "a folder"),
    **dict.fromkeys(("force", "save_model", "focal_detach", "compile", "deterministic"), _SWITCH),
}


def _check_options(cfg: DictConfig) -> None:
    for key in EFFECTIVE + INCIDENTAL:
        if key not in cfg:
            raise ValueError(f"{key}: needs a value, {key}=...")
    for name, (good, allowed) in _OPTIONS.items():
        if name in cfg and not good(cfg[name]):
            raise ValueError(f"{name}={cfg[name]}: must be {allowed}")


def _check_all_read(cfg: DictConfig) -> None:
    """Every top-level key is one that `run` reads, or one that some other value interpolates."""
    interpolated = {match.split(".")[0] for match in re.findall(r"\$\{([\w.]+)", OmegaConf.to_yaml(cfg))}
    for key in cfg:
        if key in EFFECTIVE + INCIDENTAL + HELPERS or key in interpolated or OmegaConf.is_missing(cfg, key):
            continue
        fixed = "noise" in cfg and "rate" in cfg.noise
        absent = "noise.rate is given instead" if fixed else "this noise has no rate"
        reason = absent if key == "rate" else f"nothing reads this option{_nearest(key, _OPTIONS)}"
        raise ValueError(f"{key!s}={cfg[key]}: {reason}")
    _check_keys("dataset", cfg.dataset, DATASET)
    _check_keys("regime", cfg.regime, REGIME)
    _check_keys("tuned", cfg.get("tuned", {}), ("loss", "method"))
    for row, values in cfg.get("tuned", {}).get("loss", {}).items():
        _check_keys(f"tuned.loss.{row}", values, tuple(map(str, cfg.loss)))
    if not isinstance(cfg.tuned_row, str):
        raise ValueError(f"tuned_row={cfg.tuned_row}: must be the name of a row of the loss's card")


def _check_keys(where: str, node: Any, known: tuple[str, ...]) -> None:
    for key in node:
        if key not in known:
            raise ValueError(f"{where}.{key!s}={node[key]}: nothing reads this option")


def _targets(node: Any, where: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every node that names a `_target_`, with its dotted path."""
    if not isinstance(node, DictConfig):
        return
    if "_target_" in node:
        yield where, node
    for key in node:
        # Raw: a value that cannot be resolved is reported with its own path when the arguments are checked.
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none():
            yield from _targets(child, f"{where}.{key!s}" if where else str(key))


def _check_arguments(where: str, node: DictConfig) -> None:
    """The keys of a node are parameters of what it names, and numbers where those are numbers."""
    try:
        target = hydra.utils.get_object(node["_target_"])
    except Exception as error:
        raise ValueError(f"{where}._target_={node['_target_']}: no such function ({type(error).__name__})") from None
    parameters = inspect.signature(target).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    hints = _hints(target)
    for key in node:
        if key in ("_target_", "_partial_"):
            continue
        value = node[key]  # raises where it is missing or cannot be resolved
        if (
            (key not in parameters and not takes_any)
            or key in SUPPLIED[where.split(".")[0]]
            or str(key).startswith("_")
        ):
            raise ValueError(f"{where}.{key!s}={value}: no such option{_nearest(key, parameters)}")
        if key in hints and (kind := _wrong_kind(_types(hints[str(key)]), value)):
            raise ValueError(f"{where}.{key!s}={value}: must be {kind}")


def _hints(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError):
        return {}


def _types(hint: Any) -> set[Any]:
    """The plain types that a hint allows."""
    if get_origin(hint) is Union or type(hint).__name__ == "UnionType":
        return set().union(*(_types(h) for h in get_args(hint)))
    return {get_origin(hint) or hint}


def _wrong_kind(types: set[Any], value: Any) -> str:
    """What a parameter of these types must be, if `value` is not; else nothing."""
    if Any in types or (value is None and type(None) in types):
        return ""
    if isinstance(value, bool) and bool in types:
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool) and types & {int, float}:
        return "" if float in types or isinstance(value, int) else "a whole number"
    kinds: list[tuple[set[Any], Any, str]] = [
        ({str}, str, "text"),
        ({list, tuple, Sequence}, ListConfig, "a list, such as [1,2]"),
        ({Callable}, DictConfig, "a component with a _target_"),
        ({bool}, (), "true or false"),
        ({int, float}, (), "a number"),
    ]
    known = [(accepted, kind) for wanted, accepted, kind in kinds if types & wanted]
    return "" if not known or any(isinstance(value, accepted) for accepted, _ in known) else known[-1][1]


def _nearest(name: Any, known: Any) -> str:
    near = difflib.get_close_matches(str(name), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


# --------------------------------------------------------------------------------------------------------- explaining


def explain(error: Exception, overrides: list[str], cfg: DictConfig | None = None) -> str:
    """One line for a user: which option, its value, what is allowed. Hydra's own answers run over many lines."""
    text = str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, MissingConfigException) and (
        found := re.search(r"Could not find '([^'\n]+)/([^'/\n]*)'", first)
    ):
        group, option = found.groups()
        if group.startswith("hydra/"):  # plugins have theirs elsewhere
            return f"{group}={option}: no such option"
        return f"{group}={option}: no such option; one of {', '.join(options(group))}"
    if found := re.search(r"Ambiguous value for argument '(.+)'", first):
        return f"{found.group(1)}: several values need -m, python train.py -m {found.group(1)}"
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not of the form option=value"
    if isinstance(error, ConfigCompositionException) and (found := re.search(r"Could not override '([^']+)'", text)):
        key = found.group(1)
        given = next((o for o in overrides if o.lstrip("+~").split("=")[0].split("@")[0] == key), key)
        if key == "rate":
            noise = next((o for o in reversed(overrides) if o.startswith("noise=")), "noise=clean")
            return f"{given}: {noise} has no rate; choose a noise that has one, such as noise=sym"
        return f"{given}: no such option{'' if '.' in key else _nearest(key, option_names())}"
    if isinstance(error, MissingMandatoryValue | InterpolationResolutionError):
        return _unresolved(error, first, cfg)
    return first


def _unresolved(error: OmegaConfBaseException, first: str, cfg: DictConfig | None) -> str:
    key = error.full_key or (re.findall(r"[\w.]+$", first) or ["?"])[0]
    if "tuned." in first and cfg is not None:
        card = cfg.get("tuned", {}).get("loss", {})
        return (
            f"{key}: this loss has no value for dataset={cfg.dataset.name} (its card has {', '.join(map(str, card))}); "
            f"give {key}=..."
        )
    if cfg is not None and OmegaConf.is_missing(cfg, "rate") and key.endswith("rate"):
        return "rate: this noise needs one, such as rate=0.4"
    return f"{key}: needs a value, {key}=..." if "issing mandatory value" in first else f"{key}: {first}"


def _groups() -> list[str]:
    return sorted(path.name for path in CONFIGS.iterdir() if path.is_dir() and path.name != "hydra")


def option_names() -> list[str]:
    """Every global option and every group."""
    return [*_OPTIONS, *_groups()]


def options(group: str) -> list[str]:
    """The options of a configuration group, by the names of its files."""
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))
