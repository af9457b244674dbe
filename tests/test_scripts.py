"""The command and the developers' scripts: what they print, and that figures are those of the runs behind them."""

import json
import math
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from baseline import baseline
from parity import interval, parity
from support.data import REPOSITORY

from labelnoise.config.subcommands import SUBCOMMANDS
from labelnoise.experiment.run import compose, run

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_trusted=1300", "threads=1"]


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_every_subcommand_explains_itself(name: str, labelnoise) -> None:
    ended = labelnoise(name, "--help")
    assert ended.code == 0
    assert f"labelnoise {name}" in ended.out or f"python {name}.py " in ended.out
    assert SUBCOMMANDS[name].help in labelnoise("--help").out


def test_every_file_of_cli_is_a_subcommand_or_a_part_of_the_command() -> None:
    parts = {"__init__", "arguments", "errors", "help", "main"}
    assert {path.stem for path in (REPOSITORY / "src/labelnoise/cli").glob("*.py")} == parts | set(SUBCOMMANDS)


@pytest.mark.parametrize("path", sorted((REPOSITORY / "scripts").glob("*.py")), ids=lambda path: path.stem)
def test_a_developers_script_is_no_subcommand_and_says_how_it_is_run(path: Path, labelnoise) -> None:
    assert f"python scripts/{path.name} " in path.read_text()
    ended = labelnoise(path.stem)
    assert (ended.code, ended.err) == (
        1,
        f"error: {path.stem}: is a script now, python scripts/{path.stem}.py in a checkout\n",
    )


def test_the_command_runs_from_any_folder(tmp_path: Path) -> None:
    for command in (["-m", "labelnoise", "--version"], [str(REPOSITORY / "train.py"), "--help"]):
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "labelnoise" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("labelnoise tra", "train track"),
        ("labelnoise train loss=agc", "loss=agce"),
        ("labelnoise table dataset=cifar100", "dataset=cifar100"),
        ("python train.py optimizer=adamw optimizer.weight", "optimizer.weight_decay="),
    ],
)
def test_a_shell_completes(line: str, offered: str, labelnoise, monkeypatch) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    ended = labelnoise(*(("train",) if line.startswith("python") else ()), "-sc", "query=bash")
    assert (ended.code, ended.out.strip()) == (0, offered)
    assert "complete -o nospace" in labelnoise("-sc", "install=bash").out


def test_a_wrong_subcommand_is_refused(labelnoise) -> None:
    ended = labelnoise("tabel")
    assert ended.code == 1
    assert ended.err.startswith("error: tabel: no such subcommand; did you mean table?; one of train, table,")


def test_baseline_is_cross_entropy_under_the_same_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*SHORT, f"results={tmp_path}"]
    baseline([*overrides, "loss=nce_agce"])
    said = capsys.readouterr().out
    ce = run(compose([*overrides, "loss=ce"]), quiet=True)
    assert said.startswith("plain cross-entropy under the same noise")
    assert f"last epoch {ce['metrics']['test_acc_last']:.2%}" in said
    assert len(list(tmp_path.glob("*.json"))) == 1, "the comparison was not run under the same configuration"


def test_parity_pairs_the_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*SHORT, f"results={tmp_path}"]
    parity([*overrides, "seeds=2"])
    lines = capsys.readouterr().out.splitlines()
    for seed in (1, 2):
        narrow, wide = (
            100 * run(compose([*overrides, f"seed={seed}", f"precision={p}"]), quiet=True)["metrics"]["test_acc_last"]
            for p in ("bfloat16", "float32")
        )
        assert (
            lines[seed - 1]
            == f"seed {seed}: bfloat16 {narrow:.2f}  float32 {wide:.2f}  difference {narrow - wide:+.2f}"
        )
    assert "(95% t interval, 2 pairs)" in lines[2]
    with pytest.raises(ValueError, match="seeds=none: must be a whole number"):
        parity([*overrides, "seeds=none"])


def test_parity_interval_is_students() -> None:
    """Against a table of t: 2.776 for four degrees of freedom; differences 1 to 5 have deviation sqrt(2.5)."""
    mean, half = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    assert half == pytest.approx(2.776 * math.sqrt(2.5) / math.sqrt(5), rel=1e-3)
    assert interval([1.0]) == (1.0, math.inf)


@pytest.mark.slow
def test_bench_prints_its_table_and_one_json_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "labelnoise", "bench", "dataset=digits", "batch_size=32", "threads=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    line = json.loads(done.stdout.splitlines()[-1])
    assert line["network"] == "cnn4"
    assert line["ratio"] == pytest.approx(line["images_per_second"] / line["reference_images_per_second"], rel=0.01)
    assert line["packed_ratio"] > 0
    for word in (
        "training, images/s",
        "evaluation, images/s",
        "peak memory",
        "data",
        "forward",
        "backward",
        "optimizer",
    ):
        assert word in done.stdout


def test_a_side_is_timed_after_its_slow_first_steps() -> None:
    """A GPU's first steps choose algorithms and record a graph: here ten take a second each, the others 1 ms."""
    from labelnoise.cli.bench import SECONDS, steps_a_round

    class Gpu:
        taken = 0

        def do(self, order: str, *steps: int) -> object:
            if order == "facts":
                return {"kind": "cuda"}
            before, self.taken = self.taken, self.taken + steps[0]
            return sum(1.0 if step < 10 else 1e-3 for step in range(before, self.taken))

    assert steps_a_round(Gpu()) == round(SECONDS / 1e-3)  # type: ignore[arg-type]


def test_the_published_codes_workers_start_as_the_platform_starts_them() -> None:
    """In a process that was spawned, as a side of the benchmark is, they would be spawned too, one after the other."""
    from labelnoise.bench.published import Pictures, loader

    usual = multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        made = loader(Pictures(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4), None), 2)
    finally:
        multiprocessing.set_start_method(usual, force=True)
    assert made.multiprocessing_context.get_start_method() == usual


def test_a_methods_cost_is_its_epochs_over_plain_ones(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By a clock that only the steps move: a second for each network that takes one."""
    from labelnoise.bench import method
    from labelnoise.cli.bench import bench
    from labelnoise.training.learner import Learner

    update, now = Learner.update, [0.0]

    def counted(learner: Learner, loss) -> None:
        now[0] += 1
        update(learner, loss)

    monkeypatch.setattr(Learner, "update", counted)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    short = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1"]
    monkeypatch.setattr(method, "IMAGES", 137)
    monkeypatch.setattr(method, "ROUNDS", 1)
    bench([*short, "method=co_teaching", "method.ramp=0.5"])
    printed = capsys.readouterr().out
    line = json.loads(printed.splitlines()[-1])
    assert (line["method"], line["cost"], line["images"], line["epochs"]) == ("CoTeaching", 2.0, 137, 2)
    assert line["erm_seconds_an_epoch"] == 5, "steps of 32"
    assert "erm with ce" in printed


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`labelnoise table ... | head -1`: nothing on standard error."""
    command = [sys.executable, "-m", "labelnoise", "table", "table=digits", "format=json"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 1


@pytest.mark.parametrize("argument", ["threads=x", "threads=0", "thread=2"])
def test_bench_convolution_says_what_it_takes(argument: str) -> None:
    from bench_convolution import bench

    with pytest.raises(ValueError, match=f"^{argument}: the only option is threads=N, a whole number, at least 1$"):
        bench([argument])
