"""Merging records made elsewhere: what is new goes in, what contradicts is reported, nothing is overwritten."""

import io
import json
import runpy
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import REPOSITORY, Ended

from labelnoise.experiment import identity, records
from labelnoise.experiment.config import compose


@pytest.fixture
def merge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Ended]:
    """`python scripts/merge.py <arguments> results=<tmp>/into` in this process."""

    def command(*arguments: object) -> Ended:
        monkeypatch.setattr("sys.argv", ["merge.py", *map(str, arguments), f"results={tmp_path / 'into'}"])
        code = 0
        try:
            runpy.run_path(str(REPOSITORY / "scripts" / "merge.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
            print(end.code if isinstance(end.code, str) else "", file=sys.stderr)
        return Ended(code, *capsys.readouterr())

    return command


def record(folder: Path, seed: int, accuracy: float = 0.5, commit: str = "abcdef0123") -> Path:
    config = identity.effective(compose(["dataset=digits", f"seed={seed}"]))
    metrics = {"test_acc_last": accuracy, "confusion": [[1]]}
    content = {
        "run_id": identity.run_id(config),
        "config": config,
        "noise": {},
        "metrics": metrics,
        "history": {},
        "environment": {"commit": commit, "processor": "Test"},
    }
    return records.write(content, folder)


def packed(path: Path, *files: tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_folders_and_archives_go_in(merge: Callable[..., Ended], tmp_path: Path) -> None:
    for seed in (1, 2):
        record(tmp_path / "one" / "deep", seed)
    third = record(tmp_path / "two", 3)
    archive = packed(tmp_path / "a.tar.gz", (f"runs/{third.name}", third.read_bytes()), ("runs/notes.json", b"{"))
    ended = merge(tmp_path / "one", archive)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("3 new, 0 there already, 0 in conflict, 0 broken: ")
    assert (tmp_path / "into" / third.name).read_bytes() == third.read_bytes()
    again = merge(tmp_path / "one", archive, third)
    assert (again.code, again.out[:30]) == (0, "0 new, 3 there already, 0 in c")
    assert len(again.out.splitlines()) == 1


def test_a_record_of_an_earlier_version_gets_the_id_that_it_has_now(
    merge: Callable[..., Ended], tmp_path: Path
) -> None:
    """Made when a `_target_` was a whole path, some of functions that are called otherwise now."""
    new = json.loads(record(tmp_path / "new", 1).read_text())
    config = {
        **new["config"],
        "noise": {"_target_": "labelnoise.noise.zhou2021.symmetric", "_partial_": True, "rate": 0.4},
        "loss": {"_target_": "labelnoise.losses.asymmetric.agce", "_partial_": True, "a": 0.6, "q": 0.6},
    }
    old = {**new, "config": config, "run_id": identity.run_id(config)}
    came = records.write(old, tmp_path / "old")
    assert merge(came).code == 0
    (written,) = (tmp_path / "into").iterdir()
    content = json.loads(written.read_text())
    assert written.stem == content["run_id"] == identity.run_id(content["config"]) != old["run_id"]
    assert content["config"]["noise"]["_target_"] == "symmetric_zhou2021"
    assert content["config"]["loss"]["_target_"] == "agce"
    assert {**content, "run_id": 0, "config": 0} == {**old, "run_id": 0, "config": 0}


def test_other_metrics_overwrite_nothing(merge: Callable[..., Ended], tmp_path: Path) -> None:
    ours = record(tmp_path / "into", 1, 0.5)
    before = ours.read_bytes()
    record(tmp_path / "come", 1, 0.6, commit="fedcba9")
    new = record(tmp_path / "come", 2)
    ended = merge(tmp_path / "come")
    assert ended.code == 1
    assert ended.out.startswith("1 new, 0 there already, 1 in conflict, 0 broken")
    assert ours.stem in ended.err
    assert "0.5 (abcdef0, Test), 0.6 (fedcba9, Test)" in ended.err
    assert ours.read_bytes() == before
    assert (tmp_path / "into" / new.name).is_file()


def test_two_that_come_and_differ_are_not_taken(merge: Callable[..., Ended], tmp_path: Path) -> None:
    name = record(tmp_path / "one", 1, 0.5).name
    record(tmp_path / "two", 1, 0.6)
    ended = merge(tmp_path / "one", tmp_path / "two")
    assert (ended.code, ended.out[:42]) == (1, "0 new, 0 there already, 1 in conflict, 0 b")
    assert not (tmp_path / "into" / name).exists()


def test_another_environment_is_the_same_run(merge: Callable[..., Ended], tmp_path: Path) -> None:
    before = record(tmp_path / "into", 1, commit="one").read_bytes()
    path = record(tmp_path / "come", 1, commit="two")
    assert merge(tmp_path / "come").out.startswith("0 new, 1 there already, 0 in conflict")
    assert (tmp_path / "into" / path.name).read_bytes() == before


def test_broken_ones_are_reported(merge: Callable[..., Ended], tmp_path: Path) -> None:
    come = tmp_path / "come"
    cut = record(come, 1)
    cut.write_bytes(cut.read_bytes()[:-20])
    renamed = record(come, 2).rename(come / "0123456789ab.json")
    changed = record(come, 3)
    changed.write_text(changed.read_text().replace('"seed_init":3', '"seed_init":4'))
    empty = record(come, 4)
    empty.write_text(json.dumps(dict.fromkeys(records.KEYS, 1) | {"run_id": empty.stem}))
    good = record(come, 5)
    ended = merge(come)
    assert ended.code == 1
    assert ended.out.startswith("1 new, 0 there already, 0 in conflict, 4 broken")
    for path in (cut, renamed, changed, empty):
        assert f"{path.name} " in ended.err
    assert "holds the configuration of run" in ended.err
    assert [path.name for path in (tmp_path / "into").iterdir()] == [good.name]


def test_a_broken_one_that_stands_there_makes_room(merge: Callable[..., Ended], tmp_path: Path) -> None:
    path = record(tmp_path / "come", 1)
    (tmp_path / "into").mkdir()
    (tmp_path / "into" / path.name).write_text("{")
    ended = merge(tmp_path / "come")
    assert ended.out.startswith("1 new")
    assert "is not a whole record; replaced" in ended.err
    assert (tmp_path / "into" / path.name).read_bytes() == path.read_bytes()


def test_members_are_read_and_never_unpacked(merge: Callable[..., Ended], tmp_path: Path) -> None:
    """Paths that lead out, links and huge members write nothing outside, and nothing but records comes in."""
    good = record(tmp_path / "made", 1)
    archive = tmp_path / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("../../evil/" + good.name, f"/etc/{good.name}"):
            member = tarfile.TarInfo(name)
            member.size = good.stat().st_size
            tar.addfile(member, io.BytesIO(good.read_bytes()))
        link = tarfile.TarInfo("aaaaaaaaaaaa.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        device = tarfile.TarInfo("bbbbbbbbbbbb.json")
        device.type = tarfile.FIFOTYPE
        tar.addfile(device)
    ended = merge(archive)
    assert (ended.code, ended.err) == (0, "")
    assert [path.name for path in (tmp_path / "into").iterdir()] == [good.name]
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("what", ["nothing", "missing", "no archive", "cut archive", "flag"])
def test_mistakes_are_one_line_and_write_nothing(merge: Callable[..., Ended], tmp_path: Path, what: str) -> None:
    good = record(tmp_path / "come", 1)
    (tmp_path / "text.txt").write_text("no archive")
    whole = packed(tmp_path / "whole.tar.gz", *((f"{i:012x}.json", bytes(range(256)) * 40) for i in range(9)))
    (tmp_path / "cut.tar.gz").write_bytes(whole.read_bytes()[:-30])
    given = {
        "nothing": [],
        "missing": [good, tmp_path / "nowhere"],
        "no archive": [good, tmp_path / "text.txt"],
        "cut archive": [good, tmp_path / "cut.tar.gz"],
        "flag": [good, "--force"],
    }[what]
    ended = merge(*given)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.strip().splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "into").exists()
