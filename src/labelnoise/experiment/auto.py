"""`loss.a=auto`: the smallest a that theory calls tolerant of the configured noise, set before the run's id is."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from labelnoise.config.identity import effective, run_id, short_name
from labelnoise.experiment.classes import CLASSES

HAVE_AUTO = ("agce", "aul", "ael")


def settled(cfg: DictConfig) -> tuple[DictConfig, str]:
    """The configuration with auto replaced by a number, and a line that reports it; an empty line if a is not auto.

    Raises:
        ValueError: auto does not apply to the loss, or no a is tolerant of the noise.
    """
    loss: Any = OmegaConf.to_container(cfg.loss, resolve=False) if isinstance(cfg.get("loss"), DictConfig) else {}
    asked, name = loss.get("a"), short_name(str(loss.get("_target_")))
    if asked != "auto":
        if name in HAVE_AUTO and isinstance(asked, str) and not asked.startswith("${"):
            raise ValueError(f"loss.a={asked}: must be a number, or auto")
        return cfg, ""
    from labelnoise.theory.auto import resolve

    noise = short_name(str(cfg.noise._target_))
    if name not in HAVE_AUTO:
        raise ValueError("loss.a=auto: must be a number here; auto is for loss=agce, aul and ael")
    dataset = str(cfg.dataset.name)
    if dataset not in CLASSES:
        raise ValueError(f"loss.a=auto: must be a number for dataset={dataset}; auto is for {', '.join(CLASSES)}")
    q = cfg.loss.get("q")
    if name != "ael" and (isinstance(q, bool) or not isinstance(q, int | float)):
        raise ValueError(f"loss.q={q}: must be a number")
    a, line = resolve(name, q, noise, float(cfg.noise.get("rate", 0.0)), CLASSES[dataset])
    chosen: Any = OmegaConf.merge(cfg, {"loss": {"a": a}})
    return chosen, line


def id_of(cfg: DictConfig) -> str:
    """The id of the run that a composed configuration trains. Raises: ValueError: as `settled` and `effective`."""
    return run_id(effective(settled(cfg)[0]))
