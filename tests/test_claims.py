"""Claims: one living owner, a dead one's claim taken over, on one machine and from another, whatever the clocks say."""

import fcntl
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelnoise.files import claims, owner
from labelnoise.files.claims import Claimed, hold, living

HOLDER = """
import sys, time
from pathlib import Path
from labelnoise.files.claims import hold
with hold(Path(sys.argv[1]), "work"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    return tmp_path / "results" / "abc.claim"


@pytest.fixture
def other(claim: Path) -> Iterator[subprocess.Popen]:
    """A process that holds the claim."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(claim)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def elsewhere(claim: Path, age: float = 0.0) -> bytes:
    """Write another machine's claim, last renewed this many seconds ago."""
    claim.parent.mkdir(exist_ok=True)
    content = json.dumps({**owner.this_process().model_dump(), "host": "node7", "boot": "another", "pid": 1}).encode()
    claim.write_bytes(content)
    os.utime(claim, (time.time() - age, time.time() - age))
    return content


def test_held_then_gone(claim: Path) -> None:
    assert not living(claim)
    with hold(claim, "run abc"):
        assert living(claim)
        assert set(json.loads(claim.read_text())) == {"host", "boot", "namespace", "pid", "started"}
        with pytest.raises(Claimed, match=rf"^run abc: is being run by process {os.getpid()} on .*abc\.claim\)$"):
            hold(claim, "run abc").__enter__()
        assert claim.is_file(), "the one that was refused took it away"
    assert list(claim.parent.iterdir()) == [], "nothing is left"
    with hold(claim, "again"):
        pass


def test_released_when_the_block_raises(claim: Path) -> None:
    with pytest.raises(SystemExit), hold(claim, "work"):
        raise SystemExit(75)
    assert not claim.exists()


def test_another_process(claim: Path, other: subprocess.Popen) -> None:
    assert living(claim)
    with pytest.raises(Claimed, match=f"process {other.pid} "):
        hold(claim, "work").__enter__()
    other.send_signal(signal.SIGSTOP)  # a stopped process is still alive
    assert living(claim)
    other.kill()  # from here on a zombie: its parent, this process, has not asked for its end
    wait_until(lambda: not living(claim))
    with hold(claim, "work"):
        assert json.loads(claim.read_text())["pid"] == os.getpid()


def test_a_dead_owners_pid_may_be_reused(claim: Path, other: subprocess.Popen) -> None:
    content = json.loads(claim.read_text())
    if content["started"] is None:
        pytest.skip("no /proc: start times are unknown")
    claim.write_text(json.dumps({**content, "started": content["started"] - 1}))
    assert not living(claim)


def test_another_machine_is_dead_after_two_minutes(claim: Path) -> None:
    elsewhere(claim, age=110)
    with pytest.raises(Claimed, match="process 1 on node7"):
        hold(claim, "work").__enter__()
    elsewhere(claim, age=130)
    assert not living(claim)
    with hold(claim, "work"):
        assert json.loads(claim.read_text())["pid"] == os.getpid()


def test_the_file_servers_clock_counts(claim: Path, monkeypatch) -> None:
    """This machine's clock may be wrong by hours."""
    elsewhere(claim)
    for wrong in (time.time() + 10_000, time.time() - 10_000):
        monkeypatch.setattr(time, "time", lambda wrong=wrong: wrong)
        monkeypatch.setattr(time, "time_ns", lambda wrong=wrong: int(wrong * 1e9))
        assert living(claim)


def test_a_claim_from_the_future_expires(claim: Path, monkeypatch) -> None:
    """The claim's time is an hour ahead. It expires when this process has seen no renewal for two minutes."""
    now = 1000.0
    monkeypatch.setattr(claims.time, "monotonic", lambda: now)
    elsewhere(claim, age=-3600)
    assert living(claim)
    now += 100
    assert living(claim)
    os.utime(claim, (time.time() + 3700, time.time() + 3700))  # it was renewed
    assert living(claim)
    now += 100
    assert living(claim)
    now += 30
    assert not living(claim)
    with hold(claim, "work"):
        assert json.loads(claim.read_text())["pid"] == os.getpid()


def test_without_proc_pid_and_renewals_count(claim: Path, monkeypatch) -> None:
    """As on macOS."""
    real = Path.read_text
    monkeypatch.setattr(owner, "boot", lambda: None)
    monkeypatch.setattr(owner, "namespace", lambda: None)
    monkeypatch.setattr(owner, "started", lambda pid: None)
    with hold(claim, "work"):
        assert json.loads(real(claim))["started"] is None
        assert living(claim)
        os.utime(claim, (time.time() - 130, time.time() - 130))
        assert not living(claim)
    ended = subprocess.Popen(["true"])
    ended.wait()
    claim.write_text(json.dumps({**owner.this_process().model_dump(), "pid": ended.pid}))
    assert not living(claim)


def test_claims_are_renewed_until_released(claim: Path, monkeypatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with hold(claim, "work"):
        os.utime(claim, (1, 1))
        wait_until(lambda: claim.stat().st_mtime > 1)
    wait_until(lambda: not any(t.name == "claim abc" for t in threading.enumerate()))


def test_an_owner_that_lost_its_claim_leaves_the_new_one(claim: Path, monkeypatch) -> None:
    monkeypatch.setattr(claims, "BEAT", 0.02)
    with hold(claim, "work"):
        content = elsewhere(claim, age=60)
        before = claim.stat().st_mtime
        time.sleep(0.2)
        assert claim.stat().st_mtime == before, "another's claim was renewed"
    assert claim.read_bytes() == content


def spoilt(**parts: object) -> bytes:
    """A claim of this machine with some fields replaced."""
    return json.dumps({**owner.this_process().model_dump(), **parts}).encode()


SPOILT = [b"", b'{"host": "no', b"[]", b'{"pid": 1}', b"\xff", b"[" * 10_000, b" " * 100_000]
SPOILT += [spoilt(pid=pid) for pid in ("1", 2**31, 10**400, 0, -1, 1.0, None, True)]
SPOILT += [spoilt(started=started) for started in ("now", 2**70, 0.5)]
SPOILT += [spoilt(host=5), spoilt(boot=[]), spoilt(host="x" * 20_000), spoilt(more=1)]


@pytest.mark.parametrize("content", SPOILT, ids=range(len(SPOILT)))
def test_a_claim_that_names_no_process_is_judged_by_its_renewals(claim: Path, content: bytes) -> None:
    claim.parent.mkdir()
    claim.write_bytes(content)
    with pytest.raises(Claimed, match="by another process"):
        hold(claim, "work").__enter__()
    os.utime(claim, (time.time() - 130, time.time() - 130))
    with hold(claim, "work"):
        pass
    assert not claim.exists()


def test_a_claim_that_is_not_a_regular_file_does_not_block(claim: Path) -> None:
    claim.parent.mkdir()
    os.mkfifo(claim)
    with pytest.raises(Claimed, match="by another process"):
        hold(claim, "work").__enter__()
    os.utime(claim, (time.time() - 130, time.time() - 130))
    with hold(claim, "work"):
        assert claim.is_file()


def test_a_hosts_name_stays_in_its_line(claim: Path) -> None:
    claim.parent.mkdir()
    claim.write_bytes(spoilt(host="a\nb\x1b[2J", boot="another"))
    with pytest.raises(Claimed, match=r"^work: is being run by process \d+ on a b \[2J \("):
        hold(claim, "work").__enter__()


RACES = 20


def _race(claim: Path, together, won) -> None:
    for _ in range(RACES):
        together.wait()
        try:
            with hold(claim, "work"):
                with won.get_lock():
                    won.value += 1
                together.wait()
        except Claimed:
            together.wait()
        together.wait()


@pytest.mark.parametrize("dead", [False, True])
def test_one_of_many_simultaneous_processes_wins(claim: Path, dead: bool) -> None:
    """Twenty races of eight, for a free claim and for a dead owner's."""
    context = multiprocessing.get_context("fork")
    together, won = context.Barrier(8 + 1, timeout=600), context.Value("i", 0)
    racers = [context.Process(target=_race, args=(claim, together, won), daemon=True) for _ in range(8)]
    for racer in racers:
        racer.start()
    for race in range(RACES):
        if dead:
            elsewhere(claim, age=130)
        together.wait()  # they start
        together.wait()  # one holds it, the others were refused
        together.wait()  # it is free again
        assert won.value == race + 1
        assert list(claim.parent.iterdir()) == []
    for racer in racers:
        racer.join()


def test_a_removed_lock_file_is_not_used(claim: Path) -> None:
    """A process that waited for a lock file that was removed meanwhile waits again, for the new one."""
    claim.parent.mkdir()
    lock = claim.parent / ".claims.lock"
    first, second = lock.open("w"), None
    fcntl.flock(first, fcntl.LOCK_EX)
    held = threading.Event()

    def waiter() -> None:
        with hold(claim, "work"):
            held.set()

    thread = threading.Thread(target=waiter)
    thread.start()
    time.sleep(0.2)
    lock.unlink()
    second = lock.open("w")
    fcntl.flock(second, fcntl.LOCK_EX)
    first.close()
    assert not held.wait(0.3), "took a claim while another had the lock"
    second.close()
    assert held.wait(600)
    thread.join()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        hold(tmp_path / "file" / "abc.claim", "work").__enter__()


def test_a_full_disk_leaves_no_claim(claim: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(claims.os, "fdopen", full)
    with pytest.raises(OSError, match="No space"):
        hold(claim, "work").__enter__()
    assert list(claim.parent.iterdir()) == []


def wait_until(true, seconds: float = 600.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
