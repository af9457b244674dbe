"""The number of CPU threads: by work and load, kept by a run that resumes; and how threads wait."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.command import stop_at
from support.data import REPOSITORY
from torch import nn

from labelnoise.experiment.run import compose, run
from labelnoise.networks.cnn import cnn4
from labelnoise.networks.resnet import resnet18
from labelnoise.training import device, load, signals, threads
from labelnoise.training.device import choose_threads, prepare

DIGITS = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "num_trusted=1300"]


def test_work_is_counted_by_hand() -> None:
    """A convolution 3 > 4 of 3x3 on 8x8 without a border, stride 1: 36 outputs of 4 channels, 27 products each."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 10))
    assert threads.step_work(network, (3, 8, 8), 5) == 3 * 5 * 2 * (36 * 4 * 27 + 144 * 10)


def test_counting_leaves_network_and_generator_as_they_were() -> None:
    network = nn.Sequential(cnn4(10, 1, 28), nn.Dropout(0.5))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = torch.get_rng_state()
    assert threads.step_work(network, (1, 28, 28), 1) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert (network.training, network[1].training) == (True, False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    ("network", "shape", "batch_size", "cores", "expected"),
    [
        (cnn4, (1, 28, 28), 8, 2, 1),
        (cnn4, (1, 28, 28), 32, 1, 1),  # digits
        (cnn4, (1, 28, 28), 32, 64, 2),
        (cnn4, (1, 28, 28), 128, 2, 2),  # MNIST
        (cnn4, (1, 28, 28), 128, 64, 8),
        (resnet18, (3, 32, 32), 128, 2, 2),
        (resnet18, (3, 32, 32), 128, 16, 16),
    ],
)
def test_auto_follows_the_work_up_to_the_cores(network, shape, batch_size, cores, expected, monkeypatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS")
    channels, size, _ = shape
    work = threads.step_work(network(10, channels, size), shape, batch_size)
    assert threads.auto(work) == expected


@pytest.mark.parametrize(
    ("free", "wanted", "expected"),
    [
        (math.inf, "", 8),
        (7.6, "", 8),  # the system's own small work takes no thread away
        (6.4, "", 6),
        (1.2, "", 1),
        (0.0, "", 1),
        (math.inf, "3", 3),
        (2.0, "3", 2),
        (math.inf, "64", 8),
        (math.inf, "4,2", 8),  # OpenMP's list of numbers a level: torch's affair
    ],
)
def test_auto_follows_the_free_cores_and_the_users_limit(free, wanted, expected, monkeypatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert threads.auto(1e12, free) == expected


STAT = """cpu  9 9 9 9 9 9 9 0 0 0
cpu0 100 0 50 {0} 25 0 0 0 0 0
cpu1 100 0 50 {1} 0 0 0 0 0 0
cpu2 100 0 50 99999 0 0 0 0 0 0
ctxt 5
"""


def test_free_cores_are_the_idle_ones_and_our_own(tmp_path: Path, monkeypatch) -> None:
    """Two of three cores are usable. In 2 s they idle for 1.1 s and we compute for 0.5 s: 0.8 cores are free."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)
    (tmp_path / "before").write_text(STAT.format(1000, 2000))
    (tmp_path / "after").write_text(STAT.format(1100, 2010))
    before, after = (load.usage(tmp_path / name) for name in ("before", "after"))
    assert (before.idle, after.idle) == (30.25, 31.35)
    monkeypatch.setattr(load, "usage", lambda: after._replace(passed=before.passed + 2, own=before.own + 0.5))
    assert load.free_cores(before) == pytest.approx(0.8)


def test_where_the_kernel_does_not_tell_all_cores_are_free(tmp_path: Path) -> None:
    (tmp_path / "strange").write_text("cpu0 one two\n")
    assert load.usage(tmp_path / "strange") is load.usage(tmp_path / "missing") is None
    assert load.free_cores(None) == math.inf


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="no /proc/stat")
def test_a_busy_process_takes_a_core() -> None:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as beside:
        before = load.usage()
        free = load.free_cores(before)
        beside.kill()
    assert 0 <= free < len(os.sched_getaffinity(0)) - 0.4  # a control group may allow less than these


def test_a_busy_machine_gets_fewer_threads_and_one_line_says_so(monkeypatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    monkeypatch.delenv("OMP_NUM_THREADS")
    said: dict[float, list[str]] = {1.3: [], 3.9: []}
    for free, lines in said.items():
        monkeypatch.setattr(device, "free_cores", lambda used, free=free: free)
        place = choose_threads(
            prepare("cpu", "float32", "auto"), "auto", cnn4(10, 1, 28), (1, 28, 28), 128, None, lines.append
        )
        assert place.threads == torch.get_num_threads() == round(free)
    assert said == {1.3: ["threads=1: other processes keep 2.7 of 4 cores busy (threads=4 if idle)"], 3.9: []}


@pytest.mark.parametrize(
    ("asked", "before", "expected", "said"),
    [
        ("auto", None, 1, ""),
        ("auto", 2, 2, ""),  # a run that resumes takes the number it had
        ("auto", 8, 1, "threads=1, but the checkpoint was computed with 8"),  # more than there are cores
        (3, None, 3, ""),
        (3, 3, 3, ""),
        (3, 2, 3, "threads=3, but the checkpoint was computed with 2"),
    ],
)
def test_a_run_that_resumes_keeps_its_number_or_says_so(asked, before, expected, said, monkeypatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 4)
    lines: list[str] = []
    place = prepare("cpu", "float32", asked)
    place = choose_threads(place, asked, cnn4(10, 1, 28), (1, 28, 28), 32, before, lines.append)
    assert place.threads == torch.get_num_threads() == expected
    assert len(lines) == bool(said)
    assert not said or said in lines[0]


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"a/b/cpu.max": "150000 100000\n", "a/cpu.max": "max 100000\n"}, "0::/a/b\n", 1.5),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n"}, "0::/a/b\n", 4.0),  # a parent's
        ({"cpu.max": "200000 100000\n"}, "0::/\n", 2.0),  # a container's own root
        ({"a/cpu.max": "max 100000\n"}, "0::/a\n", math.inf),
        (
            {"cpu/j/cpu.cfs_quota_us": "300000\n", "cpu/j/cpu.cfs_period_us": "100000\n"},
            "4:cpuacct,cpu:/j\n3:cpuset:/\n0::/\n",
            3.0,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu:/j\n", math.inf),
        ({}, "0::/a\n", math.inf),
    ],
)
def test_limits_of_control_groups(files: dict[str, str], membership: str, expected: float, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "membership").write_text(membership)
    assert threads.quota(tmp_path, tmp_path / "membership") == expected
    assert threads.quota(tmp_path, tmp_path / "none") == math.inf


def test_cores_are_those_of_the_affinity_within_the_quota(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)), raising=False)
    for quota, expected in ((math.inf, 64), (2.5, 2), (0.5, 1)):
        monkeypatch.setattr(threads, "quota", lambda quota=quota: quota)
        assert threads.cores() == expected


WAITING = """
import os, sys
from labelnoise.cli.errors import guard
{before}
guard(lambda: print(*(os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))), [])
"""


@pytest.mark.parametrize(
    ("before", "environment", "expected"),
    [
        ("assert 'torch' not in sys.modules", {}, "passive 10000"),
        ("", {"OMP_WAIT_POLICY": "active"}, "active None"),
        ("", {"GOMP_SPINCOUNT": "7"}, "None 7"),
        ("sys.modules['torch'] = None", {}, "None None"),  # too late: it would be inherited by children alone
    ],
)
def test_threads_wait_briefly_unless_the_user_chose(before: str, environment: dict[str, str], expected: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in threads.WAITING}
    clean["PYTHONPATH"] = str(REPOSITORY / "src")
    code = WAITING.format(before=before)
    ended = subprocess.run(
        [sys.executable, "-c", code], env={**clean, **environment}, capture_output=True, text=True, timeout=600
    )
    assert ended.stdout.strip() == expected, ended.stderr


def test_a_resumed_run_takes_its_checkpoints_threads(tmp_path: Path, monkeypatch, capsys) -> None:
    """A run of two threads that is stopped resumes with two, though auto would be one."""
    monkeypatch.setattr(threads, "cores", lambda: 2)
    asked = [*DIGITS, f"results={tmp_path}"]
    with monkeypatch.context() as patched:
        stop_at(3, patched)
        with pytest.raises(signals.Stopped):
            run(compose([*asked, "threads=2"]), quiet=True)
    record = run(compose(asked))
    assert record["environment"]["threads"] == record["environment"]["earlier_pieces"][0]["threads"] == 2
    assert "the checkpoint was computed" not in capsys.readouterr().out
