"""The documents: the commands that README and CONTRIBUTING give work as written, and a new loss takes two files."""

import re
import shlex
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import readme_table
from support.configs import every
from support.data import REPOSITORY

from labelnoise.cli.table import show
from labelnoise.config.check import check
from labelnoise.experiment.run import compose
from labelnoise.records import store
from labelnoise.tables import comparison
from labelnoise.tables import table as tables

pytestmark = pytest.mark.committed
README = (REPOSITORY / "README.md").read_text()
CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def commands(text: str, start: str) -> list[list[str]]:
    """Arguments of every command line of the documents' shell blocks that starts so; comments cut off."""
    lines = "\n".join(blocks(text, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith(start)]


@pytest.mark.parametrize("overrides", commands(README, "python train.py"), ids=" ".join)
def test_train_commands_compose(overrides: list[str]) -> None:
    """Every value of every multirun command too."""
    assert overrides
    if any(o.startswith("table=") for o in overrides):
        choice, extra = tables.split_arguments([o for o in overrides if o != "-m"])
        assert tables.cells(tables.read(choice), extra)
        return
    for override in [o for o in overrides if o not in ("-m", "--help")]:
        for value in override.partition("=")[2].split(","):
            name = override.partition("=")[0]
            others = [o.split(",")[0] for o in overrides if "=" in o and not o.startswith(f"{name}=")]
            cfg = compose([*others, f"{name}={value}"])
            if "noise.path" not in " ".join(overrides):
                check(cfg)


def test_make_targets_exist() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for target in set(re.findall(r"^make ([a-z-]+)", "\n".join(blocks(README + CONTRIBUTING, "bash")), re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_ci_calls_the_readmes_test_command() -> None:
    ci = (REPOSITORY / ".ci" / "run").read_text()
    assert "make test" in README
    assert "\nmake test\n" in ci
    assert "\nmake check\n" in ci


def test_python_example_runs() -> None:
    section = README.partition("## A loss in your own training loop")[2].partition("\n## ")[0]
    (example,) = blocks(section, "python")
    done = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr


def test_numbers_of_the_readme_are_in_the_records() -> None:
    """Every run id that the README names is committed, and the accuracy beside it is the record's."""
    named = re.findall(r"`([0-9a-f]{12})`[^\n]*", README)
    assert named
    for line in README.splitlines():
        for identifier in re.findall(r"`([0-9a-f]{12})`", line):
            record = store.load(store.COMMITTED / f"{identifier}.json")
            shown = [f"{100 * record['metrics']['test_acc_last']:.2f}"]
            if line.startswith("|"):
                shown.append(f"{100 * record['metrics']['test_acc_best']:.2f}")
                shown.append(f"{100 * record['history']['acc_wrong_given'][-1]:.1f}%")
            assert all(number in line for number in shown), (line, shown)


def test_the_readmes_part_of_the_cifar10_table_is_what_the_table_says() -> None:
    """Means, the published values and the differences, as in results/cifar10_zhou2021.md."""
    heads, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in (REPOSITORY / "results" / "cifar10_zhou2021.md").read_text().splitlines()
        if line.startswith("| ") and "---" not in line
    )
    rendered = {(row[0], column): cell for row in rows for column, cell in zip(heads[1:], row[1:], strict=True)}
    columns = {"40% symmetric": "sym_0.4", "40% asymmetric": "asym_0.4"}
    lines = [line for line in README.splitlines() if re.match(r"\| `\w+`, 40%", line)]
    assert len(lines) == 4
    for line in lines:
        setting, last, published, difference, *_ = (cell.strip() for cell in line.split("|")[1:-1])
        loss, noise = setting.split(", ")
        ours, theirs, ahead = rendered[loss, columns[noise]].split("<br>")
        assert statistics.fmean(map(float, last.split(" and "))) == pytest.approx(float(re.findall(r"[\d.]+", ours)[0]))
        assert (published, difference) == (theirs, ahead.split(" (")[0])


def test_the_readmes_part_of_the_mnist_table_is_what_the_records_say() -> None:
    """The accuracy after the last epoch and the share of wrong labels memorised."""
    _, rows = readme_table("loss", "60% symmetric")
    choice = [f"table.rows=[{','.join(rows)}]", "table.columns=[sym_0.6,sym_0.8]", "table.seeds=[1]"]
    cells = tables.cells(tables.read(["table=mnist_zhou2021", *choice]))
    found = {(c.row, c.column): store.load(store.COMMITTED / f"{c.run_id}.json") for c in cells}
    for name, *numbers in rows.values():
        for column, number in zip(("sym_0.6", "sym_0.8"), numbers, strict=True):
            record = found[name, column]
            memorised = record["history"]["acc_wrong_given"][-1]
            assert number == f"{100 * record['metrics']['test_acc_last']:.2f} ({100 * memorised:.1f}%)"


@pytest.mark.parametrize("path", sorted((REPOSITORY / "results").glob("*.md")), ids=lambda path: path.stem)
def test_rendered_tables_are_what_the_records_say(path: Path, monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # no records of one's own
    show([f"table={path.stem}"])
    assert capsys.readouterr().out == path.read_text()


def test_the_readmes_part_of_the_digits_table_is_what_the_records_say() -> None:
    chosen = tables.read(["table=digits"])
    cells = tables.cells(chosen)
    found = {cell.run_id: store.load(store.COMMITTED / f"{cell.run_id}.json") for cell in cells}
    shown = {(r.row, r.column): f"{r.mean:.1f} ± {r.std:.1f}" for r in comparison.results(chosen, cells, found)}
    heads, rows = readme_table("loss", "clean")
    assert list(rows) == list(chosen.rows)
    for name, *numbers in rows.values():
        assert numbers == [shown[name, column] for column in heads[1:]]


def means(choice: list[str]) -> dict[tuple[str, str], str]:
    """A table's means over its committed records, with one digit; a dash for a row and column without any."""
    chosen = tables.read(choice)
    cells = tables.cells(chosen)
    paths = {cell.run_id: store.COMMITTED / f"{cell.run_id}.json" for cell in cells}
    found = {run_id: store.load(path) for run_id, path in paths.items() if path.exists()}
    results = comparison.results(chosen, cells, found)
    return {(r.row, r.column): "–" if r.mean is None else f"{r.mean:.1f}" for r in results}


def test_the_readmes_table_of_losses_has_the_accuracies_of_the_records() -> None:
    shown = means(["table=digits"]) | means(["table=digits_zoo"])
    heads, losses = readme_table("loss", "paper")
    assert set(losses) == set(every("loss"))
    for name, line in losses.items():
        for column in ("sym_0.4", "asym_0.4"):
            assert line[heads.index(f"digits {column}")] == shown[name, column], (name, column)


def test_the_readmes_table_of_methods_has_the_accuracies_of_the_records() -> None:
    shown = means(["table=digits_methods"])
    rows = {"erm": "erm_ce", "bootstrap": "bootstrap_soft"}
    heads, methods = readme_table("method=", "paper")
    assert set(methods) == set(every("method")) - {"audited_erm"}
    for name, line in methods.items():
        for column in ("sym_0.4", "asym_0.4"):
            assert line[heads.index(f"digits {column}")] == shown[rows.get(name, name), column], (name, column)


def test_the_readme_names_the_options_of_every_group() -> None:
    """All of them, or for the long ones how many there are; a protocol of a method's paper is not named."""
    lines = readme_table("group", "options")[1].values()
    listed = {group.strip(" `"): line[1] for line in lines for group in line[0].split(",")}
    for group in ("dataset", "noise", "regulariser", "network", "optimizer", "schedule", "tracker"):
        assert set(every(group)) <= set(re.findall(r"\w+", listed[group])), group
    for group, others in {"loss": 0, "method": 1}.items():  # audited_erm is the audit's own
        assert int(listed[group].split(",")[0]) == len(every(group)) - others


def test_no_folder_or_registry_of_a_machine_in_the_documents() -> None:
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("configs/**/*.yaml")]:
        assert not re.search(r"/(home|root|work|tmp)/", path.read_text()), path


def test_a_loss_in_two_files(tmp_path: Path) -> None:
    """CONTRIBUTING's example, word for word, in a copy of the checkout: two files, then it trains and is tested."""
    for name in ("src", "configs", "tests"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile"):
        shutil.copy(REPOSITORY / name, tmp_path / name)
    files = re.findall(r"`((?:src|configs)/\S+)`:\n\n```\w+\n(.*?)```", CONTRIBUTING, re.S)
    assert [Path(name).suffix for name, _ in files] == [".py", ".yaml"]
    for name, content in files:
        assert not (tmp_path / name).exists()
        (tmp_path / name).write_text(content)
    loss = Path(files[1][0]).stem

    short = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "threads=1", "num_trusted=1300"]
    code = f"""
import runpy, sys
sys.modules["numba"] = None  # without Numba, which would compile all kernels for the copy
sys.path.insert(0, {str(tmp_path / "src")!r})
sys.argv = {["train.py", f"loss={loss}", *short]}
runpy.run_path("train.py", run_name="__main__")
import pytest
sys.exit(pytest.main(["tests/test_losses.py", "tests/test_configs.py", "-k", {loss!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert len(list((tmp_path / "runs").glob("*.json"))) == 1
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) >= 8, "the new loss is tested without a line of test"
