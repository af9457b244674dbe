"""What tests share: one thread, the command line in this process, real data if available."""

import functools
import os
import signal
import sys
import urllib.error
import urllib.request

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from labelnoise.cli import main as cli
from labelnoise.config.groups import CONFIGS, choices
from labelnoise.experiment.progress import Quiet
from labelnoise.experiment.run import compose, load_noisy
from labelnoise.records import store

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LABELNOISE_DATA", REPOSITORY / "data"))
HERE = {
    "digits": True,
    "mnist": (DATA / "MNIST/raw/train-images-idx3-ubyte").is_file(),
    "fashion_mnist": (DATA / "FashionMNIST/raw/train-images-idx3-ubyte").is_file(),
    "cifar10": (DATA / "cifar-10-batches-py/data_batch_1").is_file(),
    "cifar100": (DATA / "cifar-100-python/train").is_file(),
    "folder": False,  # the user's own: test_folder.py makes some, test_web_data.py the next two
    "webvision_mini": False,
    "clothing1m": False,
    "cifar-n": (DATA / "cifar-n/CIFAR-10_human.pt").is_file(),
}

torch.set_num_threads(1)

for number in (signal.SIGINT, signal.SIGHUP):  # ignored in a shell's background job and under nohup; tests send them
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.default_int_handler)


def real(*names: str) -> pytest.MarkDecorator:
    """Skip if one of these data sets is not found."""
    missing = [name for name in names if not HERE[name]]
    return pytest.mark.skipif(bool(missing), reason=f"{missing} not in {DATA} (LABELNOISE_DATA)")


# What a method is told that needs the share of wrong labels, where a test has no true labels.
TOLD = {
    **{name: ["method.forget_rate=0.2"] for name in ("co_teaching", "co_teaching_plus", "jocor")},
    "p_diff": ["method.rate=0.2"],
}


def readme_table(*first: str) -> tuple[list[str], dict[str, list[str]]]:
    """The README's table whose header begins with these cells: the header, and its lines by their first cell."""
    tables = (REPOSITORY / "README.md").read_text().split("\n\n")
    cells = [[[c.strip(" `") for c in line[1:-1].split("|")] for line in table.splitlines()] for table in tables]
    ((heads, _, *lines),) = (table for table in cells if tuple(table[0][: len(first)]) == first)
    return heads, {line[0]: line for line in lines}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test download anything, even if there is a network."""

    def refuse(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr("urllib.request.urlretrieve", refuse)


@pytest.fixture(autouse=True)
def no_committed_records(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no result depend on which records are committed, except in tests about them (@pytest.mark.committed)."""
    if request.node.get_closest_marker("committed") is None:
        monkeypatch.setattr(store, "COMMITTED", Path(os.devnull) / "none")


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Start with one thread and restore the number afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Ended(NamedTuple):
    code: int
    out: str
    err: str


def exit_code() -> int:
    """Run the command line on sys.argv, and print what a program that ends with a text prints."""
    try:
        cli.main()
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


@pytest.fixture
def labelnoise(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """`labelnoise <arguments>` in this process: exit code, standard output and standard error."""

    def command(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["labelnoise", *map(str, arguments)])
        capsys.readouterr()
        code = exit_code()
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return command


@pytest.fixture
def train(labelnoise: Callable[..., Ended]) -> Callable[..., Ended]:
    """`labelnoise train <overrides>` in this process."""
    return partial(labelnoise, "train")


@pytest.fixture(scope="session")
def digits():
    return load_noisy(compose(["dataset=digits"]))[0]


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch, number: int = signal.SIGTERM) -> None:
    """Send this process a signal in the middle of the n-th step of the next run, counted over epochs."""
    taken = 0

    class Interrupted(Quiet):
        def step(self) -> None:
            nonlocal taken
            taken += 1
            if taken == step:
                os.kill(os.getpid(), number)

    monkeypatch.setattr("labelnoise.experiment.run.show", lambda *_: Interrupted())


@functools.cache
def composed(*overrides: str) -> DictConfig:
    """`compose(overrides)`, once for all tests that only read it; composing takes a tenth of a second."""
    cfg = compose(overrides)
    OmegaConf.set_readonly(cfg, True)
    return cfg


def chosen(group: str, option: str, *overrides: str, **values: object) -> DictConfig:
    """`compose([*overrides, f"{group}={option}"])` with these values at the root, such as a folder or a seed.

    Composed once for all options: an option's file is merged as Hydra merges it, in a twentieth of the time, and
    test_configs.py compares. `overrides` choose no other option of the group and set nothing in it.
    """
    file = CONFIGS / group / f"{option}.yaml"
    content = OmegaConf.load(file)
    if "defaults" in content:  # merges other files too
        cfg = with_values(composed(*overrides, f"{group}={option}"))
    else:
        cfg = with_values(composed(*overrides))
        OmegaConf.set_struct(cfg, False)
        if "# @package _global_" in file.read_text():
            cfg.merge_with(content)
        else:
            cfg[group] = content
        OmegaConf.set_struct(cfg, True)
    return with_values(cfg, **values)


def with_values(cfg: DictConfig, **values: object) -> DictConfig:
    """A copy of a composed configuration with other values at its root: what refers to them follows."""
    cfg = cfg.copy()
    OmegaConf.set_readonly(cfg, False)
    for key, value in values.items():
        cfg[key] = value
    return cfg


def every(group: str) -> list[str]:
    """The options of a group, for parametrize."""
    return choices(group)
