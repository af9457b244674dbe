"""Merging records made elsewhere: what is new goes in, what contradicts is reported, nothing is overwritten."""

import io
import json
import os
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import made_up
from support.command import Ended

from labelnoise.config import identity
from labelnoise.records import store


@pytest.fixture
def merge(labelnoise: Callable[..., Ended], tmp_path: Path) -> Callable[..., Ended]:
    """`labelnoise merge <arguments> results=<tmp>/into` in this process."""
    return lambda *arguments: labelnoise("merge", *arguments, f"results={tmp_path / 'into'}")


def record(folder: Path, seed: int, accuracy: float = 0.5, commit: str = "abcdef0123") -> Path:
    return made_up.write(folder, ["dataset=digits", f"seed={seed}"], accuracy, commit=commit)


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
    assert ended.out.startswith("3 new, 0 already there, 0 in conflict, 0 broken: ")
    assert (tmp_path / "into" / third.name).read_bytes() == third.read_bytes()
    again = merge(tmp_path / "one", archive, third)
    assert (again.code, again.out[:30]) == (0, "0 new, 3 already there, 0 in c")
    assert len(again.out.splitlines()) == 1


def test_records_go_where_train_writes(labelnoise: Callable[..., Ended], tmp_path: Path, monkeypatch) -> None:
    """In a checkout and without one; the committed ones are a folder like any other."""
    path = record(tmp_path / "come", 1)
    monkeypatch.chdir(tmp_path)
    assert labelnoise("merge", "come").out == "1 new, 0 already there, 0 in conflict, 0 broken: runs\n"
    assert (tmp_path / "runs" / path.name).is_file()
    assert labelnoise("merge", "come", "results=results/runs").out.endswith(": results/runs\n")


def test_other_metrics_overwrite_nothing(merge: Callable[..., Ended], tmp_path: Path) -> None:
    ours = record(tmp_path / "into", 1, 0.5)
    before = ours.read_bytes()
    record(tmp_path / "come", 1, 0.6, commit="fedcba9")
    new = record(tmp_path / "come", 2)
    ended = merge(tmp_path / "come")
    assert ended.code == 1
    assert ended.out.startswith("1 new, 0 already there, 1 in conflict, 0 broken")
    assert ours.stem in ended.err
    assert "0.5 (abcdef0, Test), 0.6 (fedcba9, Test)" in ended.err
    assert ours.read_bytes() == before
    assert (tmp_path / "into" / new.name).is_file()


def test_two_that_come_and_differ_are_not_taken(merge: Callable[..., Ended], tmp_path: Path) -> None:
    name = record(tmp_path / "one", 1, 0.5).name
    record(tmp_path / "two", 1, 0.6)
    ended = merge(tmp_path / "one", tmp_path / "two")
    assert (ended.code, ended.out[:42]) == (1, "0 new, 0 already there, 1 in conflict, 0 b")
    assert not (tmp_path / "into" / name).exists()


def test_another_environment_is_the_same_run(merge: Callable[..., Ended], tmp_path: Path) -> None:
    before = record(tmp_path / "into", 1, commit="one").read_bytes()
    path = record(tmp_path / "come", 1, commit="two")
    assert merge(tmp_path / "come").out.startswith("0 new, 1 already there, 0 in conflict")
    assert (tmp_path / "into" / path.name).read_bytes() == before


def test_broken_ones_are_reported(merge: Callable[..., Ended], tmp_path: Path) -> None:
    come = tmp_path / "come"
    cut = record(come, 1)
    cut.write_bytes(cut.read_bytes()[:-20])
    renamed = record(come, 2).rename(come / "0123456789ab.json")
    changed = record(come, 3)
    changed.write_text(changed.read_text().replace('"seed_init":3', '"seed_init":4'))
    empty = record(come, 4)
    empty.write_text(json.dumps(dict.fromkeys(store.KEYS, 1) | {"run_id": empty.stem}))
    good = record(come, 5)
    ended = merge(come)
    assert ended.code == 1
    assert ended.out.startswith("1 new, 0 already there, 0 in conflict, 4 broken")
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
    assert re.search(r"is not a whole record \(.*\); replaced\n", ended.err)
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


def test_an_archive_of_files_without_a_folder(merge: Callable[..., Ended], tmp_path: Path) -> None:
    """As `tar czf x.tgz *.json` makes it."""
    files = [record(tmp_path / "come", seed) for seed in (1, 2)]
    ended = merge(packed(tmp_path / "x.tgz", *((file.name, file.read_bytes()) for file in files)))
    assert (ended.code, ended.err, ended.out[:6]) == (0, "", "2 new,")
    assert sorted(path.name for path in (tmp_path / "into").iterdir()) == sorted(file.name for file in files)


def test_a_record_of_an_earlier_version_comes_under_the_id_it_has_now(merge: Callable[..., Ended], tmp_path) -> None:
    now = made_up.record(["dataset=digits"])
    config = {**now["config"], "network": {"_target_": "labelnoise.networks.cnn.cnn4", "_partial_": True}}
    before = {**now, "config": config, "run_id": identity.run_id(config)}
    assert before["run_id"] != now["run_id"]
    path = store.write(before, tmp_path / "come")
    for source in (path, packed(tmp_path / "x.tgz", (path.name, path.read_bytes()))):
        assert merge(source).code == 0
        assert [path.name for path in (tmp_path / "into").iterdir()] == [f"{now['run_id']}.json"]
    assert store.load(tmp_path / "into" / f"{now['run_id']}.json") == now


@pytest.mark.parametrize("name", made_up.BROKEN)
def test_a_broken_record_is_left_out_and_the_rest_goes_in(merge: Callable[..., Ended], tmp_path, name: str) -> None:
    bad, good = record(tmp_path / "come", 1), record(tmp_path / "come", 2)
    bad.write_text(made_up.BROKEN[name](bad.read_text()))
    ended = merge(tmp_path / "come", packed(tmp_path / "x.tgz", (bad.name, bad.read_bytes())))
    assert (ended.code, ended.out[:59]) == (1, "1 new, 0 already there, 0 in conflict, 2 broken: " + ended.out[49:59])
    assert [line.split()[-2:] for line in ended.err.splitlines() if line] == [["left", "out"]] * 2
    assert [path.name for path in (tmp_path / "into").iterdir()] == [good.name]


def test_a_huge_file_is_not_read(merge: Callable[..., Ended], tmp_path: Path) -> None:
    good = record(tmp_path / "come", 1)
    huge = tmp_path / "come" / "0123456789ab.json"
    with huge.open("wb") as file:
        file.truncate(6_000_000_000)  # sparse: it takes no room
    ended = merge(tmp_path / "come")
    assert ended.code == 1
    assert "is larger than 16,777,216 bytes; left out" in ended.err
    assert [path.name for path in (tmp_path / "into").iterdir()] == [good.name]


def test_no_path_and_no_records_are_mistakes(merge: Callable[..., Ended], tmp_path: Path, monkeypatch) -> None:
    good = record(tmp_path / "come", 1)
    monkeypatch.chdir(good.parent)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path, said in (
        ("", "an empty path"),
        (tmp_path / "empty", "holds no records"),
        (packed(tmp_path / "none.tgz", ("notes.json", b"{}")), "holds no records"),
        (tmp_path / "pipe", "neither a folder nor a regular file"),
    ):
        ended = merge(good, path)
        assert (ended.code, ended.out) == (1, ""), path
        assert said in ended.err
    assert not (tmp_path / "into").exists()


def test_a_folder_in_the_way_is_told_before_anything_is_written(merge: Callable[..., Ended], tmp_path: Path) -> None:
    first, second = sorted(record(tmp_path / "come", seed).name for seed in (1, 2))
    (tmp_path / "into" / second).mkdir(parents=True)
    ended = merge(tmp_path / "come")
    assert (ended.code, ended.out) == (1, "")
    assert f"{second} is a folder" in ended.err
    assert not (tmp_path / "into" / first).exists()


def test_what_a_later_version_tells_besides_is_no_conflict(merge: Callable[..., Ended], tmp_path: Path) -> None:
    record(tmp_path / "into", 1)
    more = made_up.record(["dataset=digits", "seed=1"])
    more["metrics"]["audit"] = {"area": 0.9}
    store.write(more, tmp_path / "come")
    assert merge(tmp_path / "come").out.startswith("0 new, 1 already there, 0 in conflict, 0 broken")


def test_a_records_text_stays_in_its_line(merge: Callable[..., Ended], tmp_path: Path) -> None:
    made_up.write(tmp_path / "into", ["dataset=digits"], 0.5)
    made_up.write(tmp_path / "come", ["dataset=digits"], 0.6, processor="one\ntwo\x1b[31m")
    ended = merge(tmp_path / "come")
    assert len(ended.err.strip().splitlines()) == 1
    assert "one two [31m" in ended.err
