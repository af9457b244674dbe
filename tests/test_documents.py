"""The documents: their generated parts are up to date, their commands, links and examples work as written."""

import re
import shlex
import statistics
from pathlib import Path

import pytest
import torch
from support.configs import every
from support.data import REPOSITORY

from labelnoise.config.check import check
from labelnoise.config.comments import comment
from labelnoise.config.compose import compose, prepared
from labelnoise.config.subcommands import SUBCOMMANDS
from labelnoise.docs.pages import PART, documents
from labelnoise.docs.results import chosen
from labelnoise.records import store
from labelnoise.tables import table as tables
from labelnoise.training.diagnose import OF_COLUMN

PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
README = PAGES[0].read_text()


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands(start: str) -> list[list[str]]:
    """Arguments of every command line of the documents' shell blocks that starts so; comments cut off."""
    lines = "\n".join(block for path in PAGES for block in blocks(path.read_text(), "bash")).replace("\\\n", " ")
    found = [shlex.split(line, comments=True) for line in lines.splitlines() if line.startswith(f"{start} ")]
    return list(dict.fromkeys(tuple(words[len(start.split()) :]) for words in found))


@pytest.mark.committed
def test_regenerating_changes_nothing() -> None:
    old = [name(path) for path, text in documents() if path.read_text() != text]
    assert not old, f"{', '.join(old)} are out of date; this command writes them: labelnoise docs"


@pytest.mark.parametrize(
    "overrides", [*commands("python train.py"), *commands("labelnoise train")], ids=lambda words: " ".join(words)
)
def test_train_commands_compose(overrides: tuple[str, ...]) -> None:
    """Every value of every multirun command too. What names a folder or a file of the reader's is only parsed."""
    given = [word for word in overrides if "=" in word and not word.startswith("-")]
    if "--config-dir" in overrides:
        return  # test_own_folder.py and test_own_method.py have such folders
    if any(word in " ".join(given) for word in ("PATH", "FILE", "noise.path", "<")):
        prepared(given, several="-m" in overrides)
        return
    if any(o.startswith("table=") for o in given):
        choice, extra = tables.split_arguments(given)
        table = tables.read(choice)
        first = {kind: dict(list(getattr(table, kind).items())[:1]) for kind in ("rows", "columns")}
        assert tables.cells(table._replace(**first), extra)
        return
    for override in given:
        option, _, values = override.partition("=")
        for value in values.split(","):
            others = [o.split(",")[0] for o in given if not o.startswith(f"{option}=")]
            cfg = compose([*others, f"{option}={value}"])
            if "teacher" not in override:
                check(cfg)


def test_subcommands_and_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    text = "\n".join(block for path in PAGES for block in blocks(path.read_text(), "bash"))
    targets, subcommands = (set(re.findall(rf"^{start} ([a-z-]+)", text, re.M)) for start in ("make", "labelnoise"))
    assert len(targets) > 4
    assert len(subcommands) > 7
    assert not {target for target in targets if not re.search(rf"^{target}:", makefile, re.M)}
    assert not subcommands - SUBCOMMANDS.keys()


def test_ci_calls_the_readmes_test_command() -> None:
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert "make test" in README
    assert "\nmake test\n" in ci
    assert "\nmake check\n" in ci


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) <= 190
    index = (REPOSITORY / "docs" / "README.md").read_text()
    assert "(docs/README.md)" in README
    for path in sorted((REPOSITORY / "docs").glob("*.md")):
        assert path.name == "README.md" or f"({path.name})" in index, f"{path.name} is not in docs/README.md"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path: Path) -> None:
    """Files, and headings in them."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{target} in {name(path)}"
        if heading:
            found = re.findall(r"^#+ (.+)$", there.read_text(), re.M)
            slugs = {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in found}
            assert heading in slugs, f"{target} in {name(path)}"


def test_every_quantity_of_the_history_is_explained() -> None:
    """Those of the training loop, and those that a method's steps report."""
    explained = set(re.findall(r"`(\w+)`", (REPOSITORY / "docs" / "running.md").read_text()))
    folders = (REPOSITORY / "src" / "labelnoise" / package for package in ("methods", "meta_learning", "distillation"))
    source = "".join(path.read_text() for folder in folders for path in folder.glob("*.py"))
    reported = re.findall(r"metrics(?: = \{|\[)\"(\w+)\"", source)
    assert len(reported) == source.count("metrics[") + source.count("metrics = {") >= 4
    others = ("train_loss", "test_acc", "val_acc", "stage", "clean_auc", "proposed_acc")
    assert {*reported, *others, *(name for names in OF_COLUMN.values() for name in names)} <= explained


@pytest.mark.committed
def test_a_record_that_is_named_is_committed() -> None:
    named = {run_id for path in PAGES for run_id in re.findall(r"`([0-9a-f]{12})`", path.read_text())}
    assert len(named) > 4
    assert not {run_id for run_id in named if not (store.COMMITTED / f"{run_id}.json").is_file()}


@pytest.mark.committed
def test_the_figure_shows_what_its_paragraph_says() -> None:
    """The numbers of README's paragraph on memorisation, from the records behind the figure."""
    text = " ".join(README.split())
    ce, robust = (
        [record for run_id in run_ids if (record := store.committed(run_id))]
        for run_ids in (("642308135f03",), ("ef8b9a1a9b69", "8e29565531af"))
    )
    test, wrong = ce[0]["history"]["test_acc"], ce[0]["history"]["acc_wrong_given"]
    best = test.index(max(test)) + 1
    assert f"its test accuracy reaches {max(test):.1%} at epoch {best} and falls to {test[-1]:.1%}" in text
    assert f"from {wrong[9]:.0%} to {wrong[-1]:.0%}" in text, "after ten epochs, and at the end"
    last = {f"{record['metrics']['test_acc_last']:.1%}" for record in robust}
    memorised = statistics.fmean(record["history"]["acc_wrong_given"][-1] for record in robust)
    assert f"NCE+AGCE goes on to {last.pop()}, reproduces {memorised:.0%} of them" in text
    corrected = sorted(100 * record["history"]["acc_wrong_true"][-1] for record in robust)
    assert f"gives {corrected[0]:.0f} to {corrected[1]:.0f}% of the wrongly labelled" in text


@pytest.mark.committed
@pytest.mark.parametrize("page", ["losses", "methods"])
def test_an_accuracy_that_a_page_names_is_a_tables(page: str) -> None:
    """`name` (NN.N%) in the prose: the mean of that row in one of the tables of digits."""
    text = PART.sub("", (REPOSITORY / "docs" / f"{page}.md").read_text())
    named = re.findall(r"`(\w+)`[^`()\n]{0,40}\((\d+\.\d)%", text)
    assert named
    for row, number in named:
        found = {
            f"{result.mean:.1f}"
            for table in ("digits", "digits_zoo", "digits_methods")
            for (name_of, _), result in chosen(table).results.items()
            if name_of.startswith(row) and result.mean is not None
        }
        assert number in found, f"{row}: {number}%"


@pytest.mark.committed
def test_accuracies_of_large_and_small_classes_are_the_records() -> None:
    """Of the page's table, from the confusion matrices."""
    text = (REPOSITORY / "docs" / "methods.md").read_text().partition("the last three |")[2]
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    of_table = chosen("digits_longtail")
    assert {row for row, *_ in rows} == set(of_table.table.rows)
    for row, *numbers in rows:
        matrices = [torch.tensor(r["metrics"]["confusion"]).double() for r in of_table.records[row, "imbalance_100"]]
        by_class = 100 * torch.stack([m.diag() / m.sum(dim=1) for m in matrices]).mean(dim=0)
        assert numbers == [f"{part.mean():.1f}" for part in (by_class[:5], by_class[-3:])], row


@pytest.mark.committed
def test_what_teachers_and_abstention_bring_is_the_records() -> None:
    """The teacher's own accuracy, and the error with and without a fifth of the test images."""
    page = " ".join((REPOSITORY / "docs" / "methods.md").read_text().split())
    records = chosen("digits_methods").records
    teachers = [
        statistics.fmean(100 * r["history"]["teacher_test_acc"][-1] for r in records["kd", column])
        for column in ("sym_0.4", "asym_0.4")
    ]
    assert f"the teacher itself has {teachers[0]:.1f}% and {teachers[1]:.1f}%" in page
    whole, part = (
        [
            statistics.fmean(100 * r["metrics"]["risk_coverage"][k] for r in records[row, "sym_0.4"])
            for row in ("kd_gambler", "kd_gambler_unadjusted")
        ]
        for k in (-1, 15)
    )
    assert f"lowers its error from {whole[0]:.1f} to {part[0]:.1f}%" in page
    assert f"without the swap from {whole[1]:.1f} to {part[1]:.1f}%" in page


@pytest.mark.committed
def test_speeds_in_the_readme_are_those_of_the_benchmarks_page() -> None:
    found = re.search(r"trains ([\d.]+) times as fast .*? and ([\d.]+)", " ".join(README.split()))
    page = (REPOSITORY / "docs" / "performance.md").read_text()
    lines = [line for line in page.splitlines() if line.startswith("| `make bench` (CNN-8 on CIFAR-10)")]
    assert found is not None
    ratios = [float(re.findall(r"([\d.]+), side by side", line)[0]) for line in lines]
    assert [f"{ratio:.1f}" for ratio in ratios] == list(found.groups())
    ranges = [re.findall(r"\d\.\d+ to \d\.\d+ times", " ".join(text.split())) for text in (README, page)]
    assert ranges[0] == ranges[1][: len(ranges[0])] != []


def test_a_part_that_is_asked_for_wrongly_is_refused(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for asked in ("lossses", "means", "means digits rows=nope"):
        (tmp_path / "README.md").write_text(f"<!-- generated: {asked} -->\n<!-- end -->\n")
        with pytest.raises(ValueError, match=r"README\.md: "):
            list(documents(tmp_path))
    (tmp_path / "README.md").write_text("<!-- generated: subcommands -->\nbefore\n<!-- end -->\nand more\n")
    ((_, text),) = documents(tmp_path)
    assert "| `labelnoise bench` |" in text
    assert "before" not in text
    assert text.endswith("<!-- end -->\nand more\n")


def test_every_loss_and_method_says_what_its_row_needs() -> None:
    for option in every("loss"):
        assert {"value", "state"} <= comment("loss", option)[1].keys(), option
    for option in set(every("method")) - {"audited_erm"}:  # the audit's own has no row
        assert {"paper", "kind", "state", "does", "cost"} <= comment("method", option)[1].keys(), option


def test_every_generated_part_is_used() -> None:
    from labelnoise.docs.pages import MAKERS

    used = {found[2].split()[0] for path in PAGES for found in PART.finditer(path.read_text())}
    assert used == set(MAKERS)


def test_the_map_of_the_tests_has_every_file() -> None:
    section = PAGES[1].read_text().partition("## The tests")[2]
    named = [name for row in re.findall(r"^\|.*\| (.*) \|$", section, re.M)[1:] for name in row.split(", ")]
    there = [path.stem.removeprefix("test_") for path in (REPOSITORY / "tests").glob("test_*.py")]
    assert sorted(named) == sorted(there)


def test_no_folder_or_registry_of_a_machine_in_the_documents() -> None:
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("configs/**/*.yaml")]:
        assert not re.search(r"/(home|root|work|tmp)/", path.read_text()), path
