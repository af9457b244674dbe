"""`python train.py -m` as typed: sweeps and tables on digits, two drivers at once, faults, plugins once installed."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import made_up
from support.configs import chosen, every
from support.data import REPOSITORY

from labelnoise.config import identity
from labelnoise.config.compose import compose, from_yaml
from labelnoise.records import store
from labelnoise.tables import table as tables

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_trusted=1300"]
TRAIN = [sys.executable, str(REPOSITORY / "train.py")]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **more}


def start(*overrides: str, **more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*TRAIN, *overrides], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(**more)
    )


def ended(process: subprocess.Popen, seconds: float = 1800) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def whole(results: Path) -> dict[str, dict]:
    """The records by id, without the parts that vary."""
    found = {path.stem: store.load(path) for path in results.glob("*.json")}
    return {key: {k: v for k, v in record.items() if k != "environment"} for key, record in found.items()}


def workers(log: Path) -> list[int]:
    """The worker processes of this test's drivers only, found by TRAINED in their environment."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            own = f"TRAINED={log}".encode() in (path.parent / "environ").read_bytes().split(b"\0")
            if own and b"labelnoise.launch.worker" in path.read_bytes():
                pids.append(int(path.parent.name))
        except OSError:
            continue
    return pids


# ---------------------------------------------------------------------------------------------------------- short


def test_what_the_driver_composed_is_what_runs() -> None:
    """The configuration keeps its id on its way to a worker as YAML."""
    from omegaconf import OmegaConf

    for cfg in [
        compose(["optimizer.lr=1e-3", "noise=asym", "rate=0.1"]),
        *(chosen("loss", loss, "dataset=cifar100") for loss in every("loss")),
        *(compose([f"loss={loss}", "dataset=cifar100", "protocol=zhou2021"]) for loss in ("focal", "nce_rce", "sce")),
        compose(["schedule=multistep", "noise=pairflip", "rate=0.2", "dataset=cifar10", "network=resnet34"]),
    ]:
        again = from_yaml(OmegaConf.to_yaml(cfg))
        assert identity.run_id(identity.effective(again)) == identity.run_id(identity.effective(cfg))


@pytest.mark.slow
def test_two_drivers_run_nothing_twice(train, in_this_process, tmp_path: Path, monkeypatch) -> None:
    """Six jobs on the three workers of two drivers, each of which trains at least one. A third start finds the records.

    A truncated record is reported and made again.
    """
    results, log = tmp_path / "r", tmp_path / "trained"
    spy = ["tracker._target_=support.sweep_stand_in.counting", f"results={results}"]
    arguments = ["-m", *SHORT, "loss=ce,gce,agce", "seed=1,2", *spy]
    drivers = [start(*arguments, f"hydra.launcher.n_jobs={n}", TRAINED=str(log), MEET="3") for n in (1, 2)]
    for code, out, err in map(ended, drivers):
        assert code == 0, err
        assert "done 6, failed 0, missing 0" in out
    first = whole(results)
    trained = [line.split() for line in log.read_text().splitlines()]
    assert Counter(identifier for identifier, _ in trained) == dict.fromkeys(first, 1)
    assert len(trained) == 6
    assert len({pid for _, pid in trained}) == 3
    assert all(store.load(path)["environment"]["threads"] == 1 for path in results.glob("*.json"))
    assert sorted(p.suffix for p in results.iterdir()) == [".json"] * 6, "something is left"

    broken, *others = sorted(results.glob("*.json"))
    broken.write_text(broken.read_text()[:500])
    before = {path: path.stat().st_mtime_ns for path in others}
    monkeypatch.setenv("TRAINED", str(log))
    again = train(*arguments)
    assert (again.code, "done 6, failed 0, missing 0" in again.out) == (0, True), again.err
    assert f"{broken} is not a whole record (" in again.err
    assert log.read_text().splitlines()[6:] == [f"{broken.stem} {os.getpid()}"]
    assert whole(results) == first
    assert {path: path.stat().st_mtime_ns for path in others} == before


def test_options_of_what_is_swept(train, in_this_process, tmp_path: Path) -> None:
    """rate and loss.q have one value for every noise and loss between commas; no default noise or loss has them."""
    swept = ["noise=sym,asym", "rate=0.4", "loss=gce,agce", "loss.q=0.5"]
    short = ["dataset=digits", "epochs=1", "num_trusted=1400"]
    ended = train(*short, *swept, "-m", f"results={tmp_path}")  # the flag may stand anywhere
    assert ended.code == 0, ended
    assert "done 4, failed 0, missing 0" in ended.out
    configs = [store.load(path)["config"] for path in tmp_path.glob("*.json")]
    assert sorted((c["noise"]["_target_"], c["noise"]["rate"], c["loss"]["q"]) for c in configs) == [
        *[("asymmetric", 0.4, 0.5)] * 2,
        *[("symmetric", 0.4, 0.5)] * 2,
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss=ce,agcee"], "loss=agcee: no such option; one of"),
        (["loss=ce,gce", "loss.q=0.5"], "loss.q=0.5: no such option"),
        (["noise=sym,clean", "rate=0.4"], "rate=0.4: this noise has no rate"),
        (["loss=ce", "seed=1,2", "los=ce"], "los=ce: no such option; did you mean loss?"),
        (["hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: must be auto or a whole number, at least 1"),
        (["hydra.launcher.jobs_per_gpu=x"], "hydra.launcher.jobs_per_gpu=x: must be a whole number, at least 1"),
        (["hydra/launcher=lokal"], "hydra/launcher=lokal: no such option"),
        (["hydra/launcher=basic"], "hydra/launcher=basic: was removed; hydra.launcher.n_jobs=1 runs one after"),
        (["hydra.launcher._target_=a.B"], "hydra.launcher._target_=a.B: the launchers are local and submitit_slurm"),
        (["hydra/sweeper=optuna"], "hydra/sweeper=optuna: the only sweeper is hydra/sweeper=labelnoise"),
        (["hydra/sweeper=basic"], "hydra/sweeper=basic: the only sweeper is hydra/sweeper=labelnoise"),
        (["hydra.sweeper._target_=a.B"], "hydra.sweeper._target_=a.B: the only sweeper is hydra/sweeper=labelnoise"),
        (["table=digits", "epochs=x"], "epochs=x: must be a whole number, at least 1"),
        (["table=digits", "loss=ce,gce"], "loss=ce,gce: several values do not go with table="),
        (["table=digits", "loss.q=0.5,0.7"], "loss.q=0.5,0.7: several values do not go with table="),
        (["table=digits", "loss.q=choice(0.5,0.7)"], "loss.q=choice(0.5,0.7): several values do not go with table="),
        (["table=digits", "schedule.milestones=[1],[2]"], "schedule.milestones=[1],[2]: several values do not go with"),
        (
            ["table=digits", "loss.q=0.5"],
            "loss.q=0.5: no such option; loss=ce has none (in row ce, column clean of table=digits)",
        ),
        (
            ["table=digits_methods", "table.rows=[bootstrap_hard]", "method.kind=soft"],
            "the rows of table=digits_methods set method.kind",
        ),
        (["table=digits", "table.rows=[cee]"], "table.rows=cee: table=digits has no such row"),
        (["table=digits,mnist_zhou2021"], "table=digits,mnist_zhou2021: several values do not go with table="),
        (["table=digitz"], "table=digitz: no such option"),
        (["device=cuda:63", "seed=1,2"], "device=cuda:63: not there"),
    ],
)
def test_mistakes_are_one_line_before_anything_runs(train, tmp_path: Path, overrides: list[str], said: str) -> None:
    ended = train("-m", *overrides, f"results={tmp_path / 'r'}")
    assert (ended.code, len(ended.err.strip().splitlines())) == (1, 1), ended
    assert said in ended.err
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_a_tables_rows_take_their_own_options(train, tmp_path: Path, monkeypatch) -> None:
    """loss.q of a row with loss=gce, though no loss is chosen on the command line. A list is one value."""
    launched = []
    monkeypatch.setattr("labelnoise.launch.local.launch", lambda jobs, *_: launched.extend(jobs) or [])
    part = ["table=digits", "table.rows=[gce]", "table.columns=[clean]", "table.seeds=[1]"]
    own = ["loss.q=0.5", "optimizer.lr=0.02", "schedule=multistep", "schedule.milestones=[1,2]"]
    ended = train("-m", *part, *own, "epochs=1", f"results={tmp_path}")
    assert "digits: 1 cells, 0 done already" in ended.out, ended.err
    (job,) = launched
    assert {"loss=gce", *own} <= set(job)


def test_a_table_runs_what_is_missing(train, tmp_path: Path, monkeypatch) -> None:
    launched = []
    monkeypatch.setattr("labelnoise.launch.local.launch", lambda jobs, *_: launched.extend(jobs) or [])
    part = ["table=digits", "table.rows=[ce,gce]", "table.columns=[clean,sym_0.4]", "table.seeds=[1,2]"]
    more = ["epochs=1", f"results={tmp_path}"]
    monkeypatch.setattr(store, "COMMITTED", tmp_path)
    cells = tables.cells(tables.read(part), more)
    for cell in cells[:3]:
        made_up.write(tmp_path, cell.overrides)
    ended = train("-m", *part, *more)
    assert ended.code == 0, ended.err
    assert "digits: 8 cells, 3 done already" in ended.out
    unquoted = [tuple(override.replace("'", "") for override in job) for job in launched]
    assert unquoted == [cell.overrides for cell in cells[3:]]
    launched.clear()
    train("-m", *part, *more, "force=true")
    assert len(launched) == 8
    for cell in cells:
        made_up.write(tmp_path, cell.overrides)
    launched.clear()
    ended = train("-m", *part, *more)
    assert (ended.code, launched) == (0, [])
    assert "digits: 8 cells, 8 done already" in ended.out


HEAVY = ("torch", "numpy", "scipy", "sklearn", "numba", "timm", "wandb", "labelnoise.tables.table", "labelnoise.launch")


def test_help_stays_light() -> None:
    """It imports nothing that takes long."""
    code = (
        "import sys; sys.argv = ['labelnoise', 'train', '--help']\n"
        "from labelnoise.cli.main import main\n"
        "try: main()\n"
        f"finally: print(sorted({{{', '.join(map(repr, HEAVY))}}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_plugins_are_in_the_wheel(tmp_path: Path) -> None:
    import zipfile

    from hatchling.builders.wheel import WheelBuilder

    wheel = next(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path / "dist"), versions=["standard"]))
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    assert not (tmp_path / "site" / "hydra_plugins" / "__init__.py").exists(), "others' plugins would be hidden"
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import hydra_plugins;"
        "import labelnoise.config.compose as c;"
        "c.compose([]); from hydra.core.plugins import Plugins;"
        "print(*[k for k in Plugins.instance().class_name_to_class if k.startswith('hydra_plugins')]);"
        "print(sys.modules['hydra_plugins.labelnoise_local'].__file__)"
    )
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=clean)
    names, file = done.stdout.splitlines()
    assert "hydra_plugins.labelnoise_local.LocalLauncher" in names.split()
    assert "hydra_plugins.labelnoise_sweeper.LabelnoiseSweeper" in names.split()
    assert file.startswith(str(tmp_path)), "the checkout's was found instead"


# ----------------------------------------------------------------------------------------------------------- slow

TWENTY = ["-m", "dataset=digits", "noise=sym", "rate=0.2,0.4", "loss=ce,gce,agce,mae,rce", "seed=1,2", "epochs=2"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """The records of twenty cells of digits, trained without interruption."""
    results = tmp_path_factory.mktemp("uninterrupted")
    code, out, err = ended(start(*TWENTY, f"results={results}"), 900)
    assert (code, "done 20, failed 0, missing 0" in out) == (0, True), err
    return whole(results)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_thirty_times(uninterrupted: dict[str, dict], tmp_path: Path) -> None:
    """Kill the driver or a worker at random moments and repeat the command; then let it finish undisturbed."""
    draw = random.Random(7)
    log = tmp_path / "trained"
    results = tmp_path / "r"
    command = [*TWENTY, f"results={results}", "tracker._target_=support.sweep_stand_in.counting"]
    finished: dict[Path, tuple[int, int]] = {}
    kills = drivers = 0
    process = None
    while kills < 30:
        if process is None or process.poll() is not None:
            if len(list(results.glob("*.json"))) == 20:  # all done before the last kill: start again from nothing
                shutil.rmtree(results)
                finished.clear()
            process = start(*command, TRAINED=str(log))
        time.sleep(draw.uniform(0.5, 7))
        own = workers(log)
        finished |= {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in results.glob("*.json")}
        if draw.random() < 0.4 or not own:
            process.kill()
            process.communicate()
            process, drivers = None, drivers + 1
        else:
            os.kill(draw.choice(own), signal.SIGKILL)
        kills += 1
    if process is not None:
        process.kill()
        process.communicate()
    assert drivers > 5
    code, out, err = ended(start(*command, TRAINED=str(log)), 900)
    assert (code, "done 20, failed 0, missing 0" in out) == (0, True), err
    assert whole(results) == uninterrupted
    for path, known in finished.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == known, "what was finished was written again"
    assert {p.suffix for p in results.iterdir()} == {".json"}, sorted(p.name for p in results.iterdir())
    end = time.monotonic() + 600
    while workers(log):
        assert time.monotonic() < end, "processes are left"
        time.sleep(0.2)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of half a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("there is no mount")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write until the file system is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b" " * 4096)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_results_that_cannot_be_written(small_disk: Path, how: str) -> None:
    """One error, earlier records unchanged, and the same command resumes once there is space."""
    arguments = ["-m", *SHORT, "loss=ce,gce", f"results={small_disk}"]
    assert ended(start(*arguments, "seed=1"))[0] == 0
    earlier = {path: path.read_bytes() for path in small_disk.glob("*.json")}
    filler = small_disk / "filler"
    if how == "full":
        fill(filler)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, _, err = ended(start(*arguments, "seed=1,2"))
    assert code == 1
    lines = [line for line in err.splitlines() if not line.startswith("compiling the fused")]
    reason = "No space left on device" if how == "full" else "Read-only file system"
    assert lines == [f"error: results={small_disk}: cannot be written ({reason})"]
    assert {path: path.read_bytes() for path in small_disk.glob("*.json")} == earlier
    if how == "full":
        filler.unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    code, out, err = ended(start(*arguments, "seed=1,2"))
    assert (code, "done 4, failed 0, missing 0" in out) == (0, True), err
    assert {path: path.read_bytes() for path in earlier} == earlier


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_middle(small_disk: Path) -> None:
    arguments = ["-m", *SHORT, "epochs=20", "loss=ce,gce,agce,mae,rce,nce", f"results={small_disk}"]
    process = start(*arguments)
    while not list(small_disk.glob("*.json")):
        assert process.poll() is None, "it ended before the disk was full"
        time.sleep(0.05)
    earlier = {path: path.read_bytes() for path in small_disk.glob("*.json")}
    fill(small_disk / "filler")
    code, out, err = ended(process)
    assert code == 1
    assert err.count(f"error: results={small_disk}: cannot be written (No space left on device)") == 1, err
    assert "error: job" not in err
    assert "missing" in out
    (small_disk / "filler").unlink()
    code, out, err = ended(start(*arguments))
    assert (code, "done 6, failed 0, missing 0" in out) == (0, True), err
    assert all(path.read_bytes() == content for path, content in earlier.items())
