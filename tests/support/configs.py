"""Composed configurations, each once for all tests that only read it."""

import functools
import re

from omegaconf import DictConfig, OmegaConf

from labelnoise.config.compose import compose
from labelnoise.config.groups import CONFIGS, choices

# What a method is told that needs the share of wrong labels, where a test has no true labels.
TOLD = {
    **{name: ["method.forget_rate=0.2"] for name in ("co_teaching", "co_teaching_plus", "jocor")},
    "p_diff": ["method.rate=0.2"],
}


@functools.cache
def composed(*overrides: str) -> DictConfig:
    """`compose(overrides)`, once for all tests that only read it; composing takes a tenth of a second."""
    cfg = compose(overrides)
    OmegaConf.set_readonly(cfg, True)
    return cfg


def chosen(group: str, option: str, *overrides: str, **values: object) -> DictConfig:
    """`compose([*overrides, f"{group}={option}"])` with these values at the root, such as a folder or a seed.

    Composed once for all options: an option's file is merged as Hydra merges it, in a twentieth of the time, and
    test_configs.py compares. `overrides` choose no other option of the group and set nothing in it.
    """
    file = CONFIGS / group / f"{option}.yaml"
    content = OmegaConf.load(file)
    if "defaults" in content:  # merges other files too
        cfg = with_values(composed(*overrides, f"{group}={option}"))
    else:
        cfg = with_values(composed(*overrides))
        OmegaConf.set_struct(cfg, False)
        if "# @package _global_" in file.read_text():
            cfg.merge_with(content)
        else:
            cfg[group] = content
        OmegaConf.set_struct(cfg, True)
    return with_values(cfg, **values)


def with_values(cfg: DictConfig, **values: object) -> DictConfig:
    """A copy of a composed configuration with other values at its root: what refers to them follows."""
    cfg = cfg.copy()
    OmegaConf.set_readonly(cfg, False)
    for key, value in values.items():
        cfg[key] = value
    return cfg


def every(group: str) -> list[str]:
    """The options of a group, for parametrize."""
    return choices(group)


# The methods that train two networks one after the other, and refuse a run of one epoch.
TWO_TRAININGS = {
    name
    for name in every("method")
    if re.search(r"\n  (first|benchmark|contrast): [\d.]+", (CONFIGS / "method" / f"{name}.yaml").read_text())
}

# The methods that train on images with true labels beside the others.
TRUSTING = {name for name in every("method") if "\nnum_trusted:" in (CONFIGS / "method" / f"{name}.yaml").read_text()}
