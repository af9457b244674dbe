"""The scripts: what they print, and that their figures are those of the runs behind them."""

import json
import math
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from labelnoise.experiment.run import compose, run

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_val=1300", "threads=1"]


def script(name: str) -> dict:
    return runpy.run_path(str(REPOSITORY / "scripts" / f"{name}.py"))


@pytest.mark.parametrize(
    "name", sorted(p.stem for p in (REPOSITORY / "scripts").glob("*.py") if "reference" not in p.stem)
)
def test_every_script_explains_itself(name: str, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", [f"{name}.py", "--help"])
    runpy.run_path(str(REPOSITORY / "scripts" / f"{name}.py"), run_name="__main__")
    assert f"python scripts/{name}.py" in capsys.readouterr().out


def test_baseline_is_cross_entropy_under_the_same_noise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*SHORT, f"results={tmp_path}"]
    script("baseline")["baseline"]([*overrides, "loss=nce_agce"])
    said = capsys.readouterr().out
    ce = run(compose([*overrides, "loss=ce"]), quiet=True)
    assert said.startswith("plain cross-entropy under the same noise")
    assert f"last epoch {ce['metrics']['test_acc_last']:.2%}" in said
    assert len(list(tmp_path.glob("*.json"))) == 1, "the comparison was not run under the same configuration"


def test_parity_pairs_the_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*SHORT, f"results={tmp_path}"]
    script("parity")["parity"]([*overrides, "seeds=2"])
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
        script("parity")["parity"]([*overrides, "seeds=none"])


def test_parity_interval_is_students() -> None:
    """Against a table of t: 2.776 for four degrees of freedom; differences 1 to 5 have deviation sqrt(2.5)."""
    mean, half = script("parity")["interval"]([1.0, 2.0, 3.0, 4.0, 5.0])
    assert mean == 3
    assert half == pytest.approx(2.776 * math.sqrt(2.5) / math.sqrt(5), rel=1e-3)
    assert script("parity")["interval"]([1.0]) == (1.0, math.inf)


@pytest.mark.slow
def test_bench_prints_its_table_and_one_json_line(tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, str(REPOSITORY / "scripts" / "bench.py"), "dataset=digits", "batch_size=32", "threads=1"]
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


def test_a_methods_cost_is_its_epochs_over_plain_ones(monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    """By a clock that only the steps move: a second for each network that takes one."""
    from labelnoise.training.learner import Learner

    monkeypatch.syspath_prepend(str(REPOSITORY / "scripts"))
    made = script("bench")
    update, now = Learner.update, [0.0]

    def counted(learner: Learner, loss) -> None:
        now[0] += 1
        update(learner, loss)

    monkeypatch.setattr(Learner, "update", counted)
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    short = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1"]
    monkeypatch.setattr("bench_method.IMAGES", 137)
    monkeypatch.setattr("bench_method.ROUNDS", 1)
    made["bench"]([*short, "method=co_teaching", "method.gradual=0.5"])
    printed = capsys.readouterr().out
    line = json.loads(printed.splitlines()[-1])
    assert (line["method"], line["cost"], line["images"], line["epochs"]) == ("CoTeaching", 2.0, 137, 2)
    assert line["erm_seconds_an_epoch"] == 5, "steps of 32"
    assert "erm with ce" in printed


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    """`scripts/table.py ... | head -1`: nothing on standard error."""
    command = [sys.executable, "scripts/table.py", "table=digits", "format=json"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 1


@pytest.mark.parametrize("argument", ["threads=x", "threads=0", "thread=2"])
def test_bench_convolution_says_what_it_takes(argument: str) -> None:
    bench = runpy.run_path(str(REPOSITORY / "scripts" / "bench_convolution.py"))["bench"]
    with pytest.raises(ValueError, match=f"^{argument}: the only option is threads=N, a whole number, at least 1$"):
        bench([argument])
