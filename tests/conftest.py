"""What tests share: one thread, the command line in this process, real data if available."""

import os
import signal
import sys
import urllib.error
import urllib.request

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
from support.command import Ended, exit_code

from labelnoise.config.compose import compose, from_yaml
from labelnoise.config.errors import one_line
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.run import run
from labelnoise.launch import driver
from labelnoise.launch.jobs import Job, Outcome
from labelnoise.records import store

torch.set_num_threads(1)

for number in (signal.SIGINT, signal.SIGHUP):  # ignored in a shell's background job and under nohup; tests send them
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGHUP else signal.default_int_handler)


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


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The local launcher runs its jobs here, one after another: another process would import torch once more."""

    def drive(jobs, compose, places, check_results) -> driver.Ended:
        check_results()
        return driver.Ended([_outcome(job, compose) for job in jobs], False, None)

    monkeypatch.setattr("labelnoise.launch.local.drive", drive)


def _outcome(job: Job, compose) -> Outcome:
    try:
        record = run(from_yaml(compose(job)), quiet=True)
    except Exception as error:
        reason = one_line(error, list(job.overrides))
        print(f"error: job {job.number} ({job.name}): {reason}", file=sys.stderr)
        return Outcome(job, "failed", reason)
    return Outcome(job, "done", accuracy=record["metrics"]["test_acc_last"])


@pytest.fixture(autouse=True)
def forget_users_modules(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test imports from its own folder is gone after it: another test's module may have the same name."""
    folder = str(request.getfixturevalue("tmp_path")) if "tmp_path" in request.fixturenames else None
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before if folder else ():
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
