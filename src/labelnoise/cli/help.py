"""The text of `train --help`: every group with its options, every global option with its default and meaning."""

import textwrap
from collections.abc import Iterable, Sequence

from labelnoise.config.groups import choices
from labelnoise.config.naming import as_yaml
from labelnoise.config.options import BELOW, GROUPS, OPTIONS

WIDTH = 120


def train_help(overrides: Sequence[str] = ()) -> str:
    """The help of `train`.

    Args:
        overrides: may add folders of options.
    """
    groups = ((group.name, ", ".join(choices(group.name, overrides))) for group in GROUPS)
    options = ((option.name, f"{option.help} [{as_yaml(option.default)}]") for option in (*OPTIONS, *BELOW))
    return f"""labelnoise: training with noisy labels

  python train.py loss=agce noise=asym rate=0.4
  python train.py -m loss=ce,gce,agce noise=sym rate=0.4 seed=1,2,3 dataset=digits

Groups (group=option)

{columns(groups)}

Global options (name=value) [default]

{columns(options)}

${{recipe.epochs}} is the value of the data set's recipe. Every value below a group is an option too: optimizer.lr=0.1,
loss.q=0.5. `--cfg job` prints the whole configuration, `--config-dir DIR` adds a folder of your own options, -m runs
each of several comma-separated values."""


def columns(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, the second one wrapped."""
    pairs = list(rows)
    width = max(len(name) for name, _ in pairs) + 4
    return "\n".join(
        textwrap.fill(
            text, WIDTH, initial_indent=f"  {name}".ljust(width), subsequent_indent=" " * width, break_on_hyphens=False
        )
        for name, text in pairs
    )
