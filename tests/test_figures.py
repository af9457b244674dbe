"""Figures from records made up for the test: what is drawn, what is written, and one line for every mistake."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.report_records import made_up

from labelnoise.cli.figures import OF_A_TABLE, figures
from labelnoise.config import identity
from labelnoise.config.comments import comment
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
from labelnoise.networks.cnn import cnn4
from labelnoise.records import store

pytest.importorskip("matplotlib", reason="pip install 'labelnoise[plots]'")
PART = ["table=digits", "rows=[ce,mae]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two losses under one noise, two seeds each, as the digits table has them."""
    made = tmp_path_factory.mktemp("runs")
    for loss in ("ce", "mae"):
        for seed in (1, 2):
            record = made_up(("dataset=digits", f"loss={loss}", "noise=sym", "rate=0.4", f"seed={seed}"))
            if loss == "mae":
                record["metrics"]["risk_coverage"] = [0.1 * seed, 0.4]
            store.write(record, made)
    return made


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the committed records."""
    monkeypatch.setattr(store, "COMMITTED", tmp_path / "none")


def cells_of(folder: Path) -> runs.Cells:
    chosen = ["table=digits", "table.rows=[ce,mae]", "table.columns=[sym_0.4]"]
    return runs.read(chosen, [f"results={folder}"])


@pytest.mark.parametrize("name", OF_A_TABLE)
def test_a_figure_is_a_pdf_and_a_png_of_a_papers_width(name: str, folder: Path, tmp_path: Path, capsys) -> None:
    options = [*PART, "column=sym_0.4", f"results={folder}"]
    figures([name, *options, f"out={tmp_path / 'first'}"])
    stem = f"{name}_digits_sym_0.4"
    assert capsys.readouterr().out == f"{tmp_path}/first/{stem}.pdf and {tmp_path}/first/{stem}.png written\n"
    png, pdf = ((tmp_path / "first" / f"{stem}.{form}").read_bytes() for form in ("png", "pdf"))
    assert int.from_bytes(png[16:20], "big") / 300 in (
        pytest.approx(style.COLUMN, 0.01),
        pytest.approx(style.PAGE, 0.01),
    )
    assert pdf.startswith(b"%PDF")
    assert b"/Type3" not in pdf  # a publisher refuses these fonts


def test_cells_without_a_record_are_named(folder: Path, tmp_path: Path, capsys) -> None:
    options = ["table=digits", "rows=[ce,gce]", "column=sym_0.4", f"results={folder}", f"out={tmp_path}"]
    figures(["memorisation", *options])
    assert capsys.readouterr().out.startswith("not drawn, because there is no record: gce in sym_0.4\n")
    figures(["memorisation", "column=sym_0.4", f"results={folder}", f"out={tmp_path}"])
    first = "focal in sym_0.4, gce in sym_0.4, sce in sym_0.4, nlnl in sym_0.4, rce in sym_0.4 and 10 more\n"
    assert capsys.readouterr().out.startswith(f"not drawn, because there is no record: {first}")


def test_the_same_figure_has_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for out in ("first", "second"):
        figures(["memorisation", *PART, "column=sym_0.4", f"results={folder}", f"out={tmp_path / out}"])
    first, second = (sorted((tmp_path / out).iterdir()) for out in ("first", "second"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_lines_are_the_seeds_means_in_percent(folder: Path) -> None:
    cells = cells_of(folder)
    with style.styled():
        left, right = curves.memorisation(cells).axes
    for axis, name in ((left, "test_acc"), (right, "acc_wrong_given")):
        for row, line in zip(("ce", "mae"), axis.lines, strict=True):
            seeds = [record["history"][name] for record in cells.records[row, "sym_0.4"]]
            assert line.get_label() == row
            np.testing.assert_allclose(line.get_ydata(), 100 * np.mean(seeds, axis=0))
            np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 21))


def test_epochs_that_were_not_evaluated_are_left_out() -> None:
    seeds = [[0.5, None, 0.7], [0.6, None, 0.9]]
    epochs, means, deviations = curves.mean_and_deviation(seeds)
    assert epochs == [1, 3]
    assert means == pytest.approx([55.0, 80.0])
    assert deviations == pytest.approx(np.std([[50, 60], [70, 90]], axis=1, ddof=1).tolist())
    assert curves.mean_and_deviation([[0.5]])[2] == [0.0]


def test_confusion_adds_the_seeds_up(folder: Path) -> None:
    cells = cells_of(folder)
    with style.styled():
        figure = matrices.confusion(cells)
    found = [np.asarray(record["metrics"]["confusion"]) for record in cells.records["mae", "sym_0.4"]]
    summed = sum(found)
    np.testing.assert_allclose(figure.axes[1].images[0].get_array(), summed / summed.sum(axis=1, keepdims=True))


def test_risk_over_coverage_is_the_seeds_mean(folder: Path) -> None:
    """Only of what abstains."""
    (line,) = risk_coverage.risk_coverage(cells_of(folder)).axes[0].lines
    assert (line.get_label(), list(line.get_xdata())) == ("mae", [50, 100])
    assert list(line.get_ydata()) == pytest.approx([15, 40])
    cells = cells_of(folder)
    cells.records.pop(("mae", "sym_0.4"))
    with pytest.raises(ValueError, match=r"no record is of a method that abstains, such as method=kd_gambler$"):
        risk_coverage.risk_coverage(cells)


def test_accuracy_over_cost_is_at_the_cards_cost(tmp_path: Path) -> None:
    """A point for each row, a name beside it, and a line along the best accuracy up to each cost."""
    accuracies = {"erm_ce": 0.8, "co_teaching": 0.97, "divide_mix": 0.9}
    for row, accuracy in accuracies.items():
        record = made_up(("dataset=digits", f"method={row.removesuffix('_ce')}", "noise=sym", "rate=0.4", "seed=1"))
        record["metrics"]["test_acc_last"] = accuracy
        store.write(record, tmp_path)
    chosen = ["table=digits_methods", f"table.rows=[{','.join(accuracies)}]", "table.columns=[sym_0.4]"]
    (axis,) = cost.cost(runs.read(chosen, [f"results={tmp_path}"])).axes
    points = [line for line in axis.lines if line.get_marker() == "o"]
    known = [float(comment("method", row.removesuffix("_ce"))[1]["cost"]) for row in accuracies]
    assert [float(point.get_xdata()[0]) for point in points] == known
    low, high, middle = (float(point.get_ydata()[0]) for point in points)
    assert low < middle < high
    (front,) = [line for line in axis.lines if line.get_drawstyle() == "steps-post"]
    assert list(front.get_xdata()) == known[:2], "divide_mix costs more and is worse"
    assert {text.get_text() for text in axis.texts} == set(accuracies)
    cells = runs.read(chosen, [f"results={tmp_path}"])
    unknown = cells._replace(table=cells.table._replace(rows={"own": ["method=own"]}))
    with pytest.raises(
        ValueError, match=r"^table=digits_methods: no row is of a method whose file has a line `# cost:`"
    ):
        cost.cost(unknown)


def test_names_are_moved_apart_and_keep_their_order() -> None:
    places = {"a": (1.0, 3.0), "b": (1.1, 3.0), "c": (1.0, 3.01), "far": (8.0, 3.0)}
    heights = cost._spread(places)
    assert heights["far"] == 3.0
    assert heights["b"] - heights["a"] > 0.99 * cost.GAP
    assert heights["c"] - heights["b"] > 0.99 * cost.GAP


def test_label_precision_goes_by_the_label_not_the_true_class() -> None:
    counts = np.random.default_rng(0).integers(0, 50, (7, 7))
    counts[:, 3] = 0
    expected = np.diag(counts) / np.maximum(counts.sum(axis=0), 1)
    expected[3] = 1.0
    assert matrices.of_columns(counts.tolist()) == pytest.approx(expected.tolist())


def test_a_and_q_takes_the_largest_group_of_runs_that_are_alike(tmp_path: Path) -> None:
    base = ("dataset=digits", "loss=agce", "noise=sym", "rate=0.4")
    pairs = [(a, q) for a in (1, 2) for q in (0.5, 2)]
    found = [made_up((*base, f"loss.a={a}", f"loss.q={q}", f"seed={s}")) for a, q in pairs for s in (1, 2)]
    found += [made_up((*base, "epochs=3", "loss.a=5"))]  # of other epochs: not alike
    (group,) = hyper_parameters.groups(found).values()
    assert set(group) == set(pairs)
    with style.styled():
        image = hyper_parameters.over_a_and_q(found, "agce", "digits").axes[0].images[0]
    mean = 100 * np.mean([r["metrics"]["test_acc_last"] for r in found[:2]])
    np.testing.assert_allclose(np.asarray(image.get_array()), np.full((2, 2), mean))
    for record in found:
        store.write(record, tmp_path)
    figures(["a_q", f"results={tmp_path}", f"out={tmp_path}"])
    assert (tmp_path / "a_q_agce_digits.pdf").is_file()


def accurate(folder: Path, accuracy: float, rate: float, q: float = 0.7, seed: int = 1, **more: int) -> None:
    """A record of gce with this accuracy; composed once, as that takes long."""
    record = made_up(("dataset=digits", "loss=gce", "noise=sym", "rate=0.4"))
    record["config"] |= dict.fromkeys(("seed_noise", "seed_init", "seed_data"), seed) | more
    record["config"]["noise"]["rate"], record["config"]["loss"]["q"] = rate, q
    record["metrics"] |= {"test_acc_last": accuracy}
    record["history"]["val_acc"] = [accuracy / 2] * 20
    store.write(record | {"run_id": identity.run_id(record["config"])}, folder)


def test_accuracy_over_any_one_option(tmp_path: Path) -> None:
    """A line for each noise rate; points are the seeds' means, bars their deviations; one value alone has no line."""
    qs, seeds = (0.05, 0.5, 0.9), (1, 2, 4)
    found = {(r, q, s): round(r * q + 0.1 * s, 4) for r in (0.2, 0.4) for q in qs[::-1] for s in seeds}
    for (rate, q, seed), accuracy in found.items():
        accurate(tmp_path, accuracy, rate, q, seed)
    accurate(tmp_path, 0.5, 0.2, 0.7)
    accurate(tmp_path, 0.5, 0.6)
    store.write(made_up(("dataset=digits", "loss=ce")), tmp_path)
    records = [store.load(path) for path in sorted(tmp_path.glob("*.json"))]
    first, second = hyper_parameter.lines_over(records, "loss.q", "test_acc_last")
    assert (first.label, second.label) == ("noise.rate=0.2", "noise.rate=0.4")
    assert (list(first.points), first.changing) == ([0.05, 0.5, 0.7, 0.9], [])
    with style.styled():
        (axis,) = hyper_parameter.over_one([first, second], "loss.q", "test_acc_last").axes
    bars = axis.containers[1]
    expected = np.array([[100 * found[0.4, q, seed] for seed in seeds] for q in qs])
    np.testing.assert_allclose(bars.lines[0].get_ydata().astype(float), expected.mean(axis=1))
    ends = [[point[1] for point in segment] for segment in bars.lines[2][0].get_segments()]
    np.testing.assert_allclose(np.diff(ends).ravel(), 2 * expected.std(axis=1, ddof=1))
    assert (axis.get_xscale(), axis.get_xlabel()) == ("linear", "loss.q")
    (held_out,) = (x for x in hyper_parameter.lines_over(records, "loss.q", "val_acc") if x.label == second.label)
    assert sorted(held_out.points[0.5]) == pytest.approx([v / 2 for v in sorted(second.points[0.5])])
    figures(["hyper_parameter", "over=loss.q", "noise.rate=0.4", f"results={tmp_path}", f"out={tmp_path}"])
    assert (tmp_path / "hyper_parameter_loss.q.pdf").is_file()


def test_what_changes_along_a_line_is_told(tmp_path: Path, capsys) -> None:
    accurate(tmp_path, 0.2, 0.2)
    accurate(tmp_path, 0.4, 0.4)
    options = ["table=digits", "rows=[gce]", "columns=[sym_0.2,sym_0.4,sym_0.6]"]
    figures(["hyper_parameter", "over=rate", *options, f"results={tmp_path}", f"out={tmp_path}"])
    said = capsys.readouterr().out
    assert said.startswith("not drawn, because there is no record: gce in sym_0.6\n")
    assert "change too" not in said
    assert (tmp_path / "hyper_parameter_noise.rate_digits.png").is_file()
    accurate(tmp_path, 0.6, 0.6, epochs=3)
    figures(["hyper_parameter", "over=rate", f"results={tmp_path}", "only=true", f"out={tmp_path}"])
    assert capsys.readouterr().out.startswith("with noise.rate change too: epochs\n")


def test_a_range_of_magnitudes_is_logarithmic_and_lines_have_a_limit(tmp_path: Path) -> None:
    def line(label: str, *values: float) -> hyper_parameter.Line:
        return hyper_parameter.Line(label, {value: [50.0] for value in values}, [])

    with style.styled():
        (axis,) = hyper_parameter.over_one([line("", 1e-4, 1e-2)], "optimizer.lr", "test_acc_best").axes
        assert (axis.get_xscale(), axis.get_ylabel()) == ("log", "test accuracy, best epoch: an oracle (%)")
        (axis,) = hyper_parameter.over_one([line("", 0, 1e-2)], "optimizer.lr", "test_acc_last").axes
        assert axis.get_xscale() == "linear"
        with pytest.raises(
            ValueError, match=r"^over=loss.q: 9 lines, at most 8 can be told apart; .*: 0; 1; .*7; ...$"
        ):
            hyper_parameter.over_one([line(str(i), 1, 2) for i in range(9)], "loss.q", "test_acc_last")


def test_tsne_of_a_saved_network(tmp_path: Path, digits) -> None:
    shape = list(digits.train_images.shape[1:])
    network = cnn4(10, shape[0], shape[-1]).eval()
    about = {"network": {"_target_": "cnn4"}, "shape": shape, "classes": list(digits.classes)}
    facts = {key: json.dumps(value) for key, value in (about | {"mean": digits.mean, "std": digits.std}).items()}
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    model = tmp_path / "0123456789ab.safetensors"
    save_file(weights, model, {**facts, "run_id": "0123456789ab"})
    images = digits.test_images[:20]
    seen = embedding.features(network, images, digits.mean, digits.std)
    from labelnoise.data.train_set import normalise

    mean, std = (torch.tensor(v)[:, None, None] for v in (digits.mean, digits.std))
    with torch.no_grad():
        torch.testing.assert_close(network.head(seen), network(normalise(images, mean, std)))
    figures(["tsne", f"model={model}", "dataset=digits", "images=120", f"out={tmp_path}"])
    assert (tmp_path / "tsne_0123456789ab.png").is_file()
    with pytest.raises(ValueError, match=r"^images=20: t-SNE needs more than 90 images$"):
        figures(["tsne", f"model={model}", "dataset=digits", "images=20", f"out={tmp_path}"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], r"^NAME: no such figure; one of accuracy, .*, risk_coverage, hyper_parameter, a_q, tsne$"),
        (["loss_curves"], r"^loss_curves: no such figure; one of accuracy"),
        (["accuracy", "digits"], r"^digits: not of the form option=value$"),
        (["accuracy", "table=nothing"], r"^table=nothing: no such option"),
        (["accuracy", "rows=[nothing]"], r"^rows=nothing: table=digits has no such row; one of ce, "),
        (["memorisation", "column=nothing"], r"^column=nothing: table=digits has no such column; one of clean, "),
        (["accuracy", "table.rows=[nothing]"], r"^table.rows=nothing: table=digits has no such row"),
        (["memorisation", "rows=[gce]", "column=sym_0.4"], r"^no records: none of the 3 runs .* python train.py -m"),
        (["hyper_parameter"], r"^over: needs an option, such as over=loss.q$"),
        (["hyper_parameter", "over=loss.q", "metric=acc"], r"^metric=acc: must be one of val_acc, test_acc_last"),
        (["hyper_parameter", "over=loss.q", "only=yes"], r"^only=yes: must be true or false$"),
        (["hyper_parameter", "over=loss.q", "loss=gce"], r"^loss=gce: no such records, of 4$"),
        (["hyper_parameter", "over=loss.q"], r"^over=loss.q: no record has this option, with a number, and test_acc_l"),
        (["hyper_parameter", "over=seed_init"], r"these 4 records: none$"),
        (["hyper_parameter", "over=epochs"], r"^over=epochs: has only one value where all else is the same; "),
        (["hyper_parameter", "over=epochs", "rows=[gce]"], r"^rows=\[gce\]: chooses part of a table, and needs table="),
        (
            ["hyper_parameter", "over=epochs", "table=digits", "rows=[gce]", "column=sym_0.4"],
            r"^no records: none of the 3 runs",
        ),
        (["a_q", "loss=agce"], r"^no records: loss=agce dataset=digits needs at least 4 runs"),
        (["a_q", "epochs=3"], r"^epochs=3: figure a_q takes loss=, dataset=, results= and out=$"),
        (["tsne"], r"^model: needs a value"),
        (["tsne", "model=x", "images=many"], r"^images=many: must be a whole number"),
        (["tsne", "model=nowhere.safetensors", "dataset=digits"], r"^model=nowhere.safetensors: no such file$"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    arguments: list[str], said: str, folder: Path, tmp_path: Path
) -> None:
    extra = [f"results={folder}", f"out={tmp_path / 'out'}"] if arguments else []
    with pytest.raises(ValueError, match=said) as error:
        figures([*arguments, *extra])
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_several_columns_are_refused_where_one_is_drawn(folder: Path, tmp_path: Path) -> None:
    store.write(made_up(("dataset=digits", "loss=ce", "noise=sym", "rate=0.6", "seed=1")), tmp_path)
    store.write(made_up(("dataset=digits", "loss=ce", "noise=sym", "rate=0.4", "seed=1")), tmp_path)
    cells = runs.read(["table=digits", "table.rows=[ce]", "table.columns=[sym_0.4,sym_0.6]"], [f"results={tmp_path}"])
    for draw in (curves.memorisation, matrices.confusion):
        with pytest.raises(ValueError, match=r"^columns=sym_0.4,sym_0.6: .* is drawn for one, such as column=sym_0.4$"):
            draw(cells)
