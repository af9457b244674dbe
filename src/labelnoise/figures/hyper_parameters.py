"""Accuracy over two hyper-parameters of a loss, a and q, as a heat map."""

import json
import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING

from labelnoise.config.naming import component_name
from labelnoise.figures.style import COLUMN, panels
from labelnoise.records.store import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEEDS = ("seed_noise", "seed_init", "seed_data")
FEWEST = 4  # pairs of a and q that make a figure

Group = dict[tuple[float, float], list[float]]


def groups(found: Iterable[Record]) -> dict[str, Group]:
    """Last-epoch accuracies in percent by (a, q), of runs that differ only in a, q and the seeds.

    Returns:
        by the rest of the configuration, as JSON; only groups with at least `FEWEST` pairs of a and q.
    """
    grouped: dict[str, Group] = {}
    for record in found:
        config = record["config"]
        loss = dict(config["loss"]) if isinstance(config.get("loss"), dict) else {}
        a, q, accuracy = loss.pop("a", None), loss.pop("q", None), record["metrics"].get("test_acc_last")
        if not all(isinstance(value, int | float) for value in (a, q, accuracy)):
            continue
        rest = {key: value for key, value in config.items() if key not in SEEDS} | {"loss": loss}
        group = grouped.setdefault(json.dumps(rest, sort_keys=True), {})
        group.setdefault((float(a), float(q)), []).append(100 * accuracy)
    return {key: group for key, group in grouped.items() if len(group) >= FEWEST}


def over_a_and_q(found: Iterable[Record], loss: str, dataset: str) -> "Figure":
    """A heat map of the mean last-epoch accuracy over a and q, of the largest of `groups`.

    Args:
        loss: the function's name. dataset: its name.
    Raises:
        ValueError: no four runs of that loss and data set differ only in a, q and the seeds.
    """
    wanted = [
        r
        for r in found
        if r["config"]["dataset"]["name"] == dataset and component_name(r["config"].get("loss")) == loss
    ]
    by_rest = groups(wanted)
    if not by_rest:
        raise ValueError(
            f"no records: loss={loss} dataset={dataset} needs at least {FEWEST} runs that differ in loss.a and loss.q "
            f"alone; python train.py -m loss={loss} dataset={dataset} loss.a=0.5,1,2 loss.q=0.5,1,2 makes nine"
        )
    rest, group = max(by_rest.items(), key=lambda item: (len(item[1]), item[0]))
    noise = json.loads(rest)["noise"]
    title = f"{loss}, {dataset}, {component_name(noise)}" + (f" {noise['rate']}" if "rate" in noise else "")
    all_a, all_q = sorted({a for a, _ in group}), sorted({q for _, q in group})
    figure, (axis,) = panels(1, COLUMN, 2.3)
    means = [[statistics.fmean(group[a, q]) if (a, q) in group else float("nan") for a in all_a] for q in all_q]
    image = axis.imshow(means, cmap="cividis", origin="lower", aspect="auto")
    axis.set(title=title, xlabel="a", ylabel="q")
    axis.set_xticks(range(len(all_a)), [f"{a:g}" for a in all_a])
    axis.set_yticks(range(len(all_q)), [f"{q:g}" for q in all_q])
    middle = (image.norm.vmin + image.norm.vmax) / 2
    for (a, q), values in group.items():
        mean = statistics.fmean(values)
        colour = "white" if mean < middle else "black"
        axis.text(all_a.index(a), all_q.index(q), f"{mean:.1f}", ha="center", va="center", size=6, color=colour)
    figure.colorbar(image, ax=axis, label="test accuracy (%)")
    return figure
