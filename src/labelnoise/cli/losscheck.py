"""Print what noise-tolerance theory guarantees for a loss. Takes train's options; docs/theory.md explains the output.

labelnoise losscheck loss=agce loss.a=0.6 loss.q=0.6 dataset=cifar10
labelnoise losscheck loss=agce dataset=cifar10 noise=asym rate=0.4 plot=agce.png   # or --plot: losscheck.png
labelnoise losscheck --all dataset=cifar10                                         # a table of every loss

The last line is one JSON object: symmetric, additive, asymmetry_ratio, critical_ratio (null: never, or no ratio
decides), completely_asymmetric, tolerant (for each noise of the grid) and more; with --all a list of rows.
"""

import io
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.config.groups import choices
from labelnoise.config.identity import short_name
from labelnoise.experiment.classes import num_classes
from labelnoise.files.atomic import write_whole

if TYPE_CHECKING:
    from torch import Tensor

    from labelnoise.theory import Report

FORMATS = (".png", ".svg", ".pdf")
BESIDE = ("ce", "gce", "mae", "nce", "agce", "aul", "ael")  # losses that the figure shows for comparison


def losscheck(arguments: list[str]) -> None:
    """Print the report on `loss=`, for `noise=` too, or with --all the table of every loss; the last line is JSON.

    Args:
        arguments: train.py's overrides; plot=FILE or --plot (losscheck.png) draws the figure.
    Raises:
        ValueError: an option is wrong, or the loss is not a finite per-sample function of (logits, labels).
    """
    ours = ("--plot", "--all")
    overrides = [a for a in arguments if a not in ours and not a.startswith("plot=")]
    plot = next((a.removeprefix("plot=") for a in arguments if a.startswith("plot=")), None)
    if plot is None and "--plot" in arguments:
        plot = "losscheck.png"
    if plot is not None and not plot.endswith(FORMATS):
        raise ValueError(f"plot={plot}: must end in one of {', '.join(FORMATS)}")
    cfg = compose(overrides)
    check(cfg)
    if "--all" in arguments:
        _table(overrides, num_classes(cfg))
    else:
        report = examine(cfg, overrides)
        if plot is not None:
            _draw(plot, cfg, report, overrides)
        print(report)


def examine(cfg: DictConfig, overrides: list[str]) -> "Report":
    """The report on a configuration's loss and, unless the labels are the given ones, on its noise.

    Raises:
        ValueError: as `labelnoise.theory.check`; OSError if the noise must be drawn and its data is missing.
    """
    from labelnoise import theory

    chosen, _ = split_named(overrides, "loss", "noise")  # a composed configuration does not contain their names
    name, classes = chosen.get("loss", "ce"), num_classes(cfg)
    loss = loss_of(cfg, name)
    matrix, drawn = _transition(cfg, classes)
    report = replace(theory.check(loss, classes, matrix), loss=_title(cfg, name))
    if report.transition is None:
        return report
    if not drawn:  # all flipped classes are alike, so the noise's name says more than a class's number
        named = replace(report.transition, noise=chosen.get("noise", "clean"), rate=cfg.noise.rate)
        return replace(report, transition=named, notes=(*report.notes, *_smallest(cfg, report.transition.ratio)))
    note = "this noise: by the realised noise of each class; if it depends on the image, single images may be harder"
    return replace(report, notes=(*report.notes, note))


def _smallest(cfg: DictConfig, ratio: float) -> list[str]:
    """A line on the smallest a that tolerates noise with this w_m / w_n, for losses that have one."""
    from labelnoise.theory.smallest import LOSSES, smallest_in_short

    name = short_name(str(cfg.loss["_target_"]))
    return [smallest_in_short(name, cfg.loss.get("q"), ratio)] if name in LOSSES else []


def loss_of(cfg: DictConfig, name: str) -> Any:
    """The loss of a configuration.

    Raises:
        ValueError: a hyper-parameter is out of range, or the loss takes more than (logits, labels).
    """
    from labelnoise.experiment.components import make_loss

    try:
        return make_loss(cfg)
    except TypeError as error:
        raise ValueError(f"loss={name}: not a function of (logits, labels) alone: {error}") from None


def _title(cfg: DictConfig, name: str) -> str:
    numbers = {key: v for key, v in cfg.loss.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    hyper_parameters = [f"{key!s}={value:g}" for key, value in numbers.items()]
    return f"{name}({', '.join(hyper_parameters)})" if hyper_parameters else name


def _transition(cfg: DictConfig, classes: int) -> "tuple[Tensor | None, bool]":
    """The noise's transition matrix (C, C), or None if the labels are the data set's own, and whether it was drawn."""
    import torch

    from labelnoise.theory.noise_ratios import kind_of, nominal_row

    target, rate = str(cfg.noise["_target_"]), cfg.noise.get("rate")
    if target.endswith("given.given"):
        return None, False
    if rate is not None and kind_of(target):
        row = nominal_row(target, rate, classes)
        return torch.stack([row.roll(c) for c in range(classes)]), False
    from labelnoise.experiment.assemble import load_noisy

    dataset, noisy = load_noisy(cfg)
    counts = torch.zeros(classes, classes, dtype=torch.float64)
    counts.index_put_((dataset.train_labels, noisy), torch.ones(len(noisy), dtype=torch.float64), accumulate=True)
    return counts / counts.sum(dim=1, keepdim=True), True


def _table(overrides: list[str], classes: int) -> None:
    """Every loss, with its values for the data set, as a Markdown table."""
    from labelnoise.theory import properties

    others = [override for override in overrides if not override.startswith("loss")]
    losses = {name: loss_of(compose([*others, f"loss={name}"]), name) for name in choices("loss")}
    found = properties.rows(losses, classes)
    print(properties.markdown(found))
    print(json.dumps([asdict(row) for row in found]))


def _draw(plot: str, cfg: DictConfig, report: "Report", overrides: list[str]) -> None:
    from labelnoise.theory.plots import figure

    others = [override for override in overrides if not override.startswith("loss")]
    losses = {report.loss: loss_of(cfg, report.loss)}
    for name in BESIDE:
        beside = compose([*others, f"loss={name}"])
        losses.setdefault(_title(beside, name), loss_of(beside, name))
    buffer = io.BytesIO()
    figure(losses, report.num_classes).savefig(buffer, format=Path(plot).suffix[1:], dpi=100)
    write_whole(Path(plot), buffer.getvalue())
    print(f"{plot} written")
