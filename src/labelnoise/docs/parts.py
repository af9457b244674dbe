"""What a run is made of: losses, methods, data sets, noises, networks and tables, from their files in configs/."""

import inspect
import pkgutil
import re

from omegaconf import OmegaConf

from labelnoise.config.comments import comment
from labelnoise.config.compose import compose
from labelnoise.config.groups import CONFIGS, choices
from labelnoise.docs.options import markdown
from labelnoise.docs.results import NONE, mean_of
from labelnoise.tables.schema import Source
from labelnoise.tables.table import read

COLUMNS = ("sym_0.4", "asym_0.4")  # of the digits tables
TABLES_OF = {"loss": ("digits", "digits_zoo"), "method": ("digits_methods",)}
ROWS = {"erm": "erm_ce", "bootstrap": "bootstrap_soft"}  # where a table calls a method otherwise


def on_digits(group: str, option: str) -> list[str]:
    """The mean accuracies of a loss or a method on digits, one for each of COLUMNS."""
    row = ROWS.get(option, option)
    found = [[mean_of(table, row, column) for table in TABLES_OF[group]] for column in COLUMNS]
    return [next((value for value in values if value != NONE), NONE) for values in found]


def losses() -> str:
    """Every loss: paper, value and state from its card, what theory says with CIFAR-10's values, digits."""
    from labelnoise.experiment.components import make_loss
    from labelnoise.theory import properties

    names = choices("loss")
    tolerance = properties.rows({name: make_loss(compose(["dataset=cifar10", f"loss={name}"])) for name in names})
    lines = []
    for name, row in zip(names, tolerance, strict=True):
        of = comment("loss", name)[1]
        fields = [of.get(field, "-") for field in ("paper", "value", "state")]
        lines.append(
            [f"`{name}`", *fields, row.symmetric, row.asymmetric, row.critical_ratio, *on_digits("loss", name)]
        )
    heads = ["loss", "paper", "value of an image", "state", "symmetric", "asymmetric", "critical ratio"]
    return markdown([*heads, *(f"digits {column}" for column in COLUMNS)], *lines)


def methods() -> str:
    """Every method whose file says what it does."""
    lines = []
    for name in choices("method"):
        of = comment("method", name)[1]
        if "does" in of:
            fields = [of.get(field, "") for field in ("paper", "kind", "state", "needs", "cost")]
            lines.append([f"`{name}`", *fields, *on_digits("method", name), of["does"]])
    heads = ["`method=`", "paper", "kind", "state", "needs", "cost"]
    return markdown([*heads, *(f"digits {column}" for column in COLUMNS), "what it does"], *lines)


def _described(group: str, heads: list[str]) -> str:
    """Every option of a group with its parameters and the text at the top of its file."""
    lines = []
    for name in choices(group):
        text, of = comment(group, name)
        lines.append([f"`{name}`", _parameters(group, name), text + (f" {of['paper']}." if "paper" in of else "")])
    return markdown(heads, *lines)


def _parameters(group: str, option: str) -> str:
    """The options below a group that its file or its function's signature has."""
    content = OmegaConf.to_container(OmegaConf.load(CONFIGS / group / f"{option}.yaml"), resolve=False)
    node = content.get(group, content) if isinstance(content, dict) else {}
    where = f"{group}.load" if group == "dataset" else group
    node = node.get("load", {}) if group == "dataset" else node
    known = inspect.signature(pkgutil.resolve_name(node["_target_"])).parameters
    given = [key for key in node if not key.startswith("_") and key in known and key != "data_dir"]
    return ", ".join("`rate`" if node[key] == "${rate}" else f"`{where}.{key}`" for key in given)


def datasets() -> str:
    """Every data set."""
    return _described("dataset", ["`dataset=`", "options of its own", "what"])


def noises() -> str:
    """Every noise."""
    return _described("noise", ["`noise=`", "options", "what is done to the labels"])


def networks() -> str:
    """Every network."""
    return _described("network", ["`network=`", "options", "what"])


def tables() -> str:
    """Every table: its title, its size and what it costs, from its file."""
    lines = []
    for name in (name for name in choices("table") if name != "none"):
        table, text = read([f"table={name}"]), comment("table", name)[0]
        cost = re.search(r"Cost: (.+?)(?:\. |\.?$)", text)
        size = f"{len(table.rows)} x {len(table.columns)} x {len(table.seeds)}"
        beside = table.published.source if isinstance(table.published, Source) else NONE
        lines.append([f"`{name}`", table.title, size, beside, cost[1] if cost else NONE])
    return markdown(["table", "what", "rows x columns x seeds", "beside numbers of", "cost"], *lines)
