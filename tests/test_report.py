"""The report page without a browser: what it holds, what it leaves out, what no record can make of it."""

import hashlib
import json
import re
from base64 import b64encode
from contextlib import nullcontext
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.data import REPOSITORY
from support.report_records import MARKUP, content_of, made_up, part_of, write_many

from labelnoise.cli.report import report
from labelnoise.config.groups import choices
from labelnoise.config.identity import effective, run_id
from labelnoise.experiment.run import compose
from labelnoise.losses import agce, ce, gce, mae
from labelnoise.records import store
from labelnoise.report import collect, loss_curves, pack, page
from labelnoise.report.commands import command_of
from labelnoise.tables import table
from labelnoise.tables.comparison import Published, Result

READ = table.read
PARTS = {
    choice: READ([choice, "table.rows=[ce,mae]", "table.columns=[clean,sym_0.4]"])
    for choice in ("table=digits", "table=cifar10_zhou2021")
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two tables in part, no committed records and no charts: `make test-browser` has the rest."""
    monkeypatch.setattr(store, "COMMITTED", tmp_path / "none")
    monkeypatch.setattr(collect.table, "read", lambda choice: PARTS.get(choice[0]) or READ(choice))
    tables = [choice.removeprefix("table=") for choice in PARTS]
    ours = set(choices("table"))
    own = lambda found: [*tables, *(name for name in found if name not in ours)]  # noqa: E731
    monkeypatch.setattr(
        collect, "choices", lambda group, more=(): own(choices(group, more)) if group == "table" else choices(group)
    )
    monkeypatch.setattr(
        "labelnoise.cli.report.charting_library", lambda: nullcontext(lambda: "window.vegaEmbed = null;")
    )


def written(tmp_path: Path, *made: dict) -> str:
    for record in made:
        store.write(record, tmp_path / "runs")
    out = tmp_path / "report.html"
    report([f"results={tmp_path / 'runs'}", f"out={out}"])
    return out.read_text()


class Elements(HTMLParser):
    """Every start tag with its attributes, and whether a table holds a text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_a_cell_shows_its_seeds_mean_and_deviation(tmp_path: Path) -> None:
    ours = ("dataset=digits", "loss=mae", "noise=sym", "rate=0.4")
    text = written(tmp_path, *(made_up((*ours, f"seed={seed}")) for seed in (1, 2, 3)))
    data = content_of(text)
    digits = next(table for table in data["tables"] if table["name"] == "digits")
    cell = next(c for c in digits["cells"] if (c["row"], c["column"]) == ("mae", "sym_0.4"))
    values = [100 * made_up((*ours, f"seed={seed}"))["metrics"]["test_acc_last"] for seed in (1, 2, 3)]
    mean = sum(values) / 3
    assert cell["mean"] == pytest.approx(mean)
    assert cell["std"] == pytest.approx((sum((v - mean) ** 2 for v in values) / 2) ** 0.5)
    assert [data["runs"][place]["seeds"] for place in cell["runs"]] == [[s, s, s] for s in (1, 2, 3)]
    assert f"{mean:.2f}" in text  # in the table itself, before any script runs
    assert sum(tag == "table" for tag, _ in Elements(text).tags) == len(data["tables"])


def test_histories_survive_the_packing(tmp_path: Path) -> None:
    record = made_up(("dataset=digits",))
    record["history"]["test_acc"][3] = None
    (run,) = content_of(written(tmp_path, record))["runs"]
    for name in pack.DRAWN:
        values = record["history"][name]
        assert [v if v is None else v / 10_000 for v in run["history"][name]] == pytest.approx(values), name


def test_text_of_a_record_becomes_no_markup(tmp_path: Path) -> None:
    record = made_up(("dataset=digits", "loss=mae", "noise=sym", "rate=0.4", "seed=1"))
    record["environment"] |= {"processor": MARKUP, "commit": MARKUP, "precision": MARKUP}
    record["noise"]["label_hash"] = MARKUP
    text = written(tmp_path, record)
    assert "onerror" not in re.sub(r"&lt;img src=x onerror", "", text)
    scripts = [attributes for tag, attributes in Elements(text).tags if tag == "script"]
    assert [s.get("type") for s in scripts] == [*["text/plain"] * 4, None]  # list, details, losses, charts


def test_the_page_allows_its_own_script_alone_and_names_no_address(tmp_path: Path) -> None:
    text = written(tmp_path, made_up(("dataset=digits",)))
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    allowed = re.search(r"script-src 'sha256-([^']+)' 'unsafe-eval';", text)
    assert allowed is not None
    assert allowed[1] == b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in text
    assert "connect-src" not in text
    assert not re.search(r"(?:src|href)=|https?:|@import|url\(", text)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write", script)


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"history": {"test_acc": ["high"]}}, "is not a whole record"),
        ({"config": {"dataset": "digits"}}, "names no data set"),
        ({"config": {"dataset": {"name": 3}}}, "names no data set"),
        ({"noise": {"realised_rate": 0.2, "transition": [[1, 2]]}}, "has no square matrix as its transition"),
    ],
)
def test_a_broken_record_is_left_out_with_one_line(tmp_path: Path, capsys, broken: dict, reason: str) -> None:
    good = made_up(("dataset=digits",))
    bad = made_up(("dataset=digits", "seed=2")) | broken
    bad["run_id"] = run_id(bad["config"])
    path = tmp_path / "runs" / f"{bad['run_id']}.json"
    path.parent.mkdir()
    path.write_text(json.dumps(bad))
    data = content_of(written(tmp_path, good))
    assert [run["id"] for run in data["runs"]] == [good["run_id"]]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{path} {reason}")
    assert line.endswith("left out")


def test_truth_may_be_unknown(tmp_path: Path) -> None:
    record = made_up(("dataset=digits", "loss=mae", "noise=clean", "seed=1"))
    record["noise"] |= {"realised_rate": None, "transition": None}
    record["history"] |= {"acc_wrong_given": None, "acc_wrong_true": None}
    del record["metrics"]["confusion"]
    data = content_of(written(tmp_path, record))
    assert (data["runs"][0]["noise"]["transition"], data["runs"][0]["confusion"]) == (None, None)


def test_every_run_has_its_own_details(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several parts, each of runs that follow each other in the list."""
    monkeypatch.setattr(pack, "TOGETHER", 4)
    write_many(tmp_path / "runs", 10, epochs=5)
    text = written(tmp_path)
    assert text.count('id="details-') == 3
    for run in content_of(text)["runs"]:
        record = store.load(tmp_path / "runs" / f"{run['id']}.json")
        assert run["noise"] == record["noise"]
        assert run["config"]["loss._target_"] == record["config"]["loss"]["_target_"]
        assert run["seeds"] == [record["config"]["seed_init"]] * 3
        assert run["own"] == {"seconds": record["environment"]["seconds"], "finished": "2026-01-01T00:00:00Z"}


def test_what_is_read_at_once_is_small(tmp_path: Path) -> None:
    """20,000 runs: the list of them is under 1 MB, whatever the details take."""
    write_many(tmp_path / "runs", 50, epochs=5)
    few = len(part_of(written(tmp_path), "data"))
    write_many(tmp_path / "runs", 250, epochs=5)
    assert (len(part_of(written(tmp_path), "data")) - few) / 200 * 20_000 < 1_000_000


def test_a_mistake_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    with pytest.raises(
        ValueError, match=r"^epochs=3: the report takes results=DIR, only=true, table=NAME and out=FILE$"
    ):
        report(["epochs=3", f"out={out}"])
    with pytest.raises(ValueError, match=r"^only=yes: must be true or false$"):
        report(["only=yes", f"out={out}"])
    with pytest.raises(ValueError, match=r"^table=nothing: no such option; one of "):
        report(["table=nothing", f"results={tmp_path}", f"out={out}"])
    with pytest.raises(ValueError, match=r"^results=\S+nowhere: no such folder$"):
        report([f"results={tmp_path}/nowhere", f"out={out}"])
    assert not out.exists()


def test_the_committed_records_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    committed, own = made_up(("dataset=digits",)), made_up(("dataset=digits", "seed=2"))
    store.write(committed, tmp_path / "committed")
    monkeypatch.setattr(store, "COMMITTED", tmp_path / "committed")
    ids = {run["id"] for run in content_of(written(tmp_path, own))["runs"]}
    assert ids == {committed["run_id"], own["run_id"]}
    report([f"results={tmp_path / 'runs'}", "only=true", f"out={tmp_path / 'only.html'}"])
    (run,) = content_of((tmp_path / "only.html").read_text())["runs"]
    assert run["id"] == own["run_id"]


def test_one_table(tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    store.write(made_up(("dataset=digits",)), tmp_path / "runs")
    report([f"results={tmp_path / 'runs'}", "table=digits", f"out={out}"])
    assert [table["name"] for table in content_of(out.read_text())["tables"]] == ["digits"]


def test_a_thousand_cifar_runs_stay_under_five_megabytes(tmp_path: Path) -> None:
    write_many(tmp_path / "runs", 20, epochs=120)
    few = len(written(tmp_path))
    write_many(tmp_path / "runs", 60, epochs=120)
    per_run = (len(written(tmp_path)) - few) / 40
    the_rest = 800_000  # Vega, Vega-Lite and Vega-Embed, compressed, and the other tables
    assert few + the_rest + 980 * per_run < 5_000_000


OF_A_COMMAND = [
    ("dataset=digits", "loss=agce", "noise=sym", "rate=0.4"),
    ("dataset=cifar10", "protocol=zhou2021", "loss=focal", "noise=asym_zhou2021", "rate=0.3", "seed_noise=123"),
    ("dataset=mnist", "loss=nce_agce", "loss.q=0.5", "noise=pairflip", "rate=0.3", "epochs=10", "clip_norm=null"),
    ("dataset=cifar100", "network=preact_resnet18", "optimizer=adamw", "schedule=multistep", "loss=ce", "noise=clean"),
    ("dataset=digits", "network=timm", "network.model=vit_tiny_patch16_224", "num_val=100", "compile=true"),
    ("dataset=digits", "noise=human", "noise.labels=worse"),
]


@pytest.mark.parametrize("overrides", OF_A_COMMAND, ids=" ".join)
def test_the_command_repeats_the_run(overrides: tuple[str, ...]) -> None:
    record = made_up(overrides)
    command = command_of(record)
    assert command is not None
    assert run_id(effective(compose([o for o in command if not o.startswith("threads=")]))) == record["run_id"]


def test_no_command_where_none_repeats_the_run() -> None:
    record = made_up(("dataset=digits",))
    for change in ({"epochs": 7}, {"loss": {"_target_": "mine.loss"}}, {"noise": None}, {"dataset": {"name": "../x"}}):
        assert command_of(record | {"config": record["config"] | change}) is None, change  # the id is another run's


def test_losses_are_shown_by_their_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    """At p = 0.51, by hand; weights are beside cross-entropy's, |dL/dz_y| / (1 - p)."""
    monkeypatch.setattr(loss_curves, "choices", lambda group: ["ce", "mae", "gce", "agce", "nlnl"])
    shown = loss_curves.losses()
    place, p = shown["p"].index(0.51), 0.51
    by_hand = {
        ce: (0.6733445533, 1.0),
        mae: (2 * (1 - p), 2 * p),
        gce: ((1 - p**0.7) / 0.7, p**0.7),
        agce: ((1.6**0.6 - (0.6 + p) ** 0.6) / 0.6, p * (0.6 + p) ** -0.4),
    }
    for loss, (value, weight) in by_hand.items():
        curve = shown["losses"][loss.__name__]
        assert curve["value"][place] == pytest.approx(value, abs=2e-5), loss
        assert curve["weight"][place] == pytest.approx(weight, abs=2e-5), loss
    assert shown["losses"]["agce"]["parameters"] == "a 0.6, q 0.6"
    verdicts = {name: [yes for yes, _ in one.get("tolerant", [])] for name, one in shown["losses"].items()}
    assert all(verdicts["mae"])
    assert not any(verdicts["ce"])
    agce_under = dict(zip(shown["noises"], verdicts["agce"], strict=True))
    # its critical ratio is (1.6 / 0.6)^0.4 = 1.48: below 60 : 40, above 55 : 45
    assert agce_under == {noise: noise != "pairflip_0.45" for noise in shown["noises"]}
    assert "at random" in shown["losses"]["nlnl"]["reason"]
    text = loss_curves.as_json()
    assert json.loads(text) == json.loads(json.dumps(shown))
    assert [line[:4] for line in text.splitlines()][1:3] == ['"ce"', '"mae']


def test_maps_over_a_and_q_are_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """AGCE's critical ratio is ((a + 1) / a)^(1 - q) for q <= 1, and 1 above (Zhou et al. 2021, arXiv:2106.03110)."""
    monkeypatch.setattr(loss_curves, "choices", lambda group: [])
    agce_map = loss_curves.losses()["maps"][0]
    for q, line in zip(agce_map["q"], agce_map["critical"], strict=True):
        expected = [((a + 1) / a) ** max(1 - q, 0) for a in agce_map["a"]]
        assert line == pytest.approx(expected, rel=1e-3), q


@pytest.mark.parametrize(
    ("mean", "published", "best", "expected"),
    [
        (None, 70.0, None, ""),
        (70.4, 70.0, None, "z"),
        (71.0, 70.0, None, "p1"),
        (66.0, 70.0, None, "m2"),
        (60.0, 70.0, None, "m3"),
        (60.0, None, None, ""),
        (90.0, None, 90.5, "q0"),
        (90.0, None, 95.0, "q2"),
        (40.0, None, 95.0, "q5"),
    ],
)
def test_shade(mean: float | None, published: float | None, best: float | None, expected: str) -> None:
    values = () if mean is None else (mean,)
    theirs = None if published is None else Published(published, 0.1, 3)
    assert page.shade(Result("row", "column", values, (), theirs), best) == expected


def test_only_what_may_have_a_record_is_composed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[tuple[str, list[str], list[str]]] = []
    monkeypatch.setattr(collect.table, "cells", lambda t, _: composed.append((t.name, [*t.rows], [*t.columns])) or [])
    written(tmp_path, made_up(("dataset=cifar100",)))
    assert composed == []
    written(tmp_path, made_up(("dataset=cifar10", "loss=mae", "noise=sym_zhou2021", "rate=0.4")))
    assert composed == [("cifar10_zhou2021", ["ce", "mae"], ["clean", "sym_0.4"])]


def test_no_committed_cell_is_out_of_reach() -> None:
    """Every row and column of the digits table, whose records are all committed."""
    folder = REPOSITORY / "results" / "runs"
    there = {store.load(path)["config"]["dataset"]["name"] for path in folder.glob("*.json")}
    whole = READ(["table=digits"])
    assert collect.with_records(whole, there) == whole
