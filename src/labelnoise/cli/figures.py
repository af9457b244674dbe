"""Draw a figure of a paper from records, as PDF and PNG, in the sizes and fonts of a two-column paper.

labelnoise figures accuracy table=digits rows=[ce,mae,nce_agce] columns=[sym_0.2,sym_0.4,sym_0.6]
labelnoise figures memorisation table=cifar10_zhou2021 rows=[ce,nce_agce] column=sym_0.4
labelnoise figures confusion table=digits rows=[ce,mae] column=asym_0.4
labelnoise figures label_precision table=digits rows=ce columns=[sym_0.4,asym_0.4]
labelnoise figures cost table=digits_methods columns=[sym_0.4,asym_0.4]
labelnoise figures risk_coverage table=digits_methods rows=[kd_gambler] column=sym_0.4
labelnoise figures hyper_parameter over=loss.q loss=gce noise.rate=0.4 results=runs only=true
labelnoise figures hyper_parameter over=loss.q table=mine --config-dir DIR metric=val_acc
labelnoise figures a_q loss=agce dataset=digits
labelnoise figures tsne model=runs/0123456789ab.safetensors dataset=digits images=1000

The first six draw cells of a table (default: digits), also one of a folder of your own (--config-dir); further options
apply to every cell, as with `labelnoise table`. Records are read from results= (default: runs) and from the committed
ones. Files are written to out= (default: figures).

hyper_parameter draws accuracy (metric=, default test_acc_last) over any option with numbers, with the standard
deviation over seeds. It takes the records of a table, or all: then only=true leaves the committed ones out, and further
options, named as in `labelnoise summary`, choose some. Each setting of the other options has a line.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.config.groups import SEARCHPATH
from labelnoise.experiment import saved_network
from labelnoise.experiment.assemble import load_noisy
from labelnoise.figures import (
    cost,
    curves,
    embedding,
    hyper_parameter,
    hyper_parameters,
    matrices,
    risk_coverage,
    runs,
    style,
)
from labelnoise.report.collect import default_folder, read_records
from labelnoise.tables.settings import VALIDATION
from labelnoise.tables.table import METRICS, split_arguments

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OF_A_TABLE: dict[str, Callable[[runs.Cells], "Figure"]] = {
    "accuracy": curves.accuracy,
    "memorisation": curves.memorisation,
    "confusion": matrices.confusion,
    "label_precision": matrices.label_precision,
    "cost": cost.cost,
    "risk_coverage": risk_coverage.risk_coverage,
}
NAMES = (*OF_A_TABLE, "hyper_parameter", "a_q", "tsne")
SHOWN = 5  # cells without a record, of those that are named
CHOICES = {"rows": "table.rows", "columns": "table.columns", "column": "table.columns", "seeds": "table.seeds"}


def figures(arguments: list[str]) -> None:
    """Draw one figure and print which files were written.

    Args:
        arguments: NAME first, then options `name=value`; see the top of this file.
    Raises:
        ValueError: a wrong name or option, or no records to draw from.
        OSError: the files cannot be written.
    """
    name, *options = arguments or [""]
    if name not in NAMES:
        raise ValueError(f"{name or 'NAME'}: no such figure; one of {', '.join(NAMES)}")
    for option in options:
        if "=" not in option:
            raise ValueError(f"{option}: not of the form option=value")
    given, options = split_named(options, "out")
    with style.styled():
        figure, file = _draw(name, options)
        written = style.write(figure, Path(given.get("out", "figures")), file)
    print(f"{' and '.join(map(str, written))} written")


def _draw(name: str, options: list[str]) -> "tuple[Figure, str]":
    """The figure and its files' name."""
    if name == "tsne":
        return _tsne(options)
    if name == "hyper_parameter":
        return _hyper_parameter(options)
    if name == "a_q":
        given, others = split_named(options, "loss", "dataset", "results")
        if others:
            raise ValueError(f"{others[0]}: figure a_q takes loss=, dataset=, results= and out=")
        loss, dataset = given.get("loss", "agce"), given.get("dataset", "digits")
        found = read_records(given.get("results", default_folder())).values()
        return hyper_parameters.over_a_and_q(found, loss, dataset), f"a_q_{loss}_{dataset}"
    if not any(option.startswith("table=") for option in options):
        options = ["table=digits", *options]
    cells = _cells(options)
    columns = cells.columns()
    place = f"_{columns[0]}" if len(columns) == 1 else ""
    return OF_A_TABLE[name](cells), f"{name}_{cells.table.name}{place}"


def _cells(options: list[str]) -> runs.Cells:
    """The records of the part of a table that the options choose; prints which cells have none."""
    typed = dict[str, str]()
    for place, option in enumerate(options):
        key, _, value = option.partition("=")
        if key in CHOICES:
            typed[CHOICES[key]] = key
            options[place] = f"{CHOICES[key]}={value if value.startswith('[') else f'[{value}]'}"
    try:
        cells = runs.read(*split_arguments(options))
    except ValueError as error:
        full, equals, rest = str(error).partition("=")
        raise ValueError(f"{typed.get(full, full)}{equals}{rest}") from None
    if missing := cells.missing():
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        print(f"not drawn, because there is no record: {', '.join(missing[:SHOWN])}{more}")
    return cells


def _hyper_parameter(options: list[str]) -> "tuple[Figure, str]":
    given, options = split_named(options, "over", "metric")
    option = {"rate": "noise.rate"}.get(given.get("over", ""), given.get("over", ""))
    metric, known = given.get("metric", METRICS[0]), (VALIDATION, *METRICS)
    if not option:
        raise ValueError("over: needs an option, such as over=loss.q")
    if metric not in known:
        raise ValueError(f"metric={metric}: must be one of {', '.join(known)}")
    name = f"hyper_parameter_{option}"
    if any(o.startswith("table=") for o in options):
        cells = _cells(options)
        found, name = [record for seeds in cells.records.values() for record in seeds], f"{name}_{cells.table.name}"
    else:
        where, others = split_named([o for o in options if not o.startswith(SEARCHPATH)], "results", "only")
        if part := next((o for o in others if o.partition("=")[0] in CHOICES or o.startswith("table.")), None):
            raise ValueError(f"{part}: chooses part of a table, and needs table=NAME")
        if where.get("only", "false") not in ("true", "false"):
            raise ValueError(f"only={where['only']}: must be true or false")
        records = read_records(where.get("results", default_folder()), where.get("only") == "true")
        found = hyper_parameter.chosen(list(records.values()), dict(o.split("=", 1) for o in others))
    lines = hyper_parameter.lines_over(found, option, metric)
    for line in lines:
        if line.changing:
            print(f"with {option}{' of ' if line.label else ''}{line.label} change too: {', '.join(line.changing)}")
    return hyper_parameter.over_one(lines, option, metric), name


def _tsne(options: list[str]) -> "tuple[Figure, str]":
    given, overrides = split_named(options, "model", "images")
    path, asked = given.get("model"), given.get("images", "2000")
    if not path:
        raise ValueError("model: needs a value, model=<results>/<run_id>.safetensors")
    if not asked.isdecimal() or int(asked) < 1:
        raise ValueError(f"images={asked}: must be a whole number, at least 1")
    cfg = compose(overrides)
    check(cfg)
    saved = saved_network.read(path)
    dataset, _ = load_noisy(cfg)
    about = saved.about
    if list(dataset.train_images.shape[1:]) != about.shape or list(dataset.classes) != about.classes:
        raise ValueError(f"dataset={dataset.name}: other images or classes than model={path} was trained on")
    images, labels = dataset.test_images[: int(asked)], dataset.test_labels[: int(asked)]
    found = embedding.features(saved_network.build(saved, path), images, about.mean, about.std)
    return embedding.tsne(found, labels, list(dataset.classes)), f"tsne_{about.run_id}"
