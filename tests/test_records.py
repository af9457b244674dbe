"""Records: ids that never change, committed records that are what their id says, writing in one piece."""

import copy
import hashlib
import json
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from support import made_up
from support.configs import chosen, with_values
from support.data import REPOSITORY

from labelnoise.config import identity
from labelnoise.experiment.metrics import summarise
from labelnoise.experiment.run import compose
from labelnoise.files.arrays import read_npy
from labelnoise.files.reading import read_bounded, sha256
from labelnoise.files.run_files import RunFiles
from labelnoise.noise.given import from_file
from labelnoise.records import store
from labelnoise.records.environment import this_environment
from labelnoise.report.collect import collect
from labelnoise.report.commands import SEEDS, Overrides, command_of
from labelnoise.tables.table import read

COMMITTED = sorted((REPOSITORY / "results" / "runs").glob("*.json"))

# Made on a GPU machine that got a copy of a later commit's files over an earlier checkout. Their records name the
# checkout, "with changes"; here is the commit that these changes are.
COPIED = dict.fromkeys(("7082e9da5cfa", "894c117a4639", "8e29565531af", "ef8b9a1a9b69"), "92827c8")

DIGITS = ["dataset=digits", "noise=sym", "rate=0.3", "epochs=2"]


def id_of(*overrides: str) -> str:
    return identity.run_id(identity.effective(compose(list(overrides))))


def test_ids_are_pinned() -> None:
    """A change here orphans every record made before: do not change these; declare a neutral value instead."""
    assert id_of("dataset=digits", "noise=sym", "rate=0.4", "loss=agce") == "12bada17a88f"
    assert id_of("protocol=zhou2021", "noise=sym", "rate=0.4", "loss=nce_agce", "epochs=12") == "03b4d6f26b15"


@pytest.mark.parametrize(
    "same",
    [
        "device=cpu",
        "threads=1",
        "data_dir=/x",
        "results=/x",
        "force=true",
        "save_model=true",
        "tracker=wandb",
        "eval_every=1",
        "num_val=0",
        "num_trusted=0",
        "seed=1",
        "protocol=none",
        "network=cnn8",
        "epochs=120",
    ],
)
def test_what_is_no_part_of_the_id(same: str) -> None:
    assert id_of(same) == id_of()


@pytest.mark.parametrize(
    "other",
    [
        "seed=2",
        "epochs=2",
        "precision=float32",
        "batch_size=64",
        "clip_norm=null",
        "num_val=1",
        "eval_every=2",
        "optimizer.lr=0.1",
        "network=cnn4",
        "loss=gce",
        "schedule=constant",
        "dataset=digits",
    ],
)
def test_what_is_part_of_the_id(other: str) -> None:
    assert id_of(other) != id_of()


def test_equal_configurations_have_equal_ids() -> None:
    assert id_of("loss=sce", "loss.alpha=1") == id_of("loss=sce", "loss.alpha=1.0")
    assert id_of("clip_norm=5") == id_of("clip_norm=5.0")
    assert id_of("seed=3") == id_of("seed_noise=3", "seed_init=3", "seed_data=3")
    assert id_of("loss=agce", "loss.a=0.6") == id_of("loss=agce")


@pytest.mark.parametrize(("key", "place"), [("added", ()), ("dataset.added", ("dataset",)), ("a.b.c", ("a", "b"))])
def test_a_key_added_later_changes_no_id(key: str, place: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    config = {**identity.effective(compose([])), "a": {"b": {"d": 1}}}
    before = identity.run_id(config)
    monkeypatch.setitem(identity.NEUTRAL, key, (False,))

    def with_value(value: object) -> str:
        changed = copy.deepcopy(config)
        node = changed
        for name in place:
            node = node[name]
        node[key.rpartition(".")[2]] = value
        return identity.run_id(changed)

    assert with_value(False) == before
    assert with_value(True) != before


@pytest.mark.parametrize("ending", ["json", "npy", "csv", "safetensors"])
def test_a_file_counts_by_its_content(ending: str, tmp_path: Path) -> None:
    """Whatever the key is called, in any component."""
    for name, text in (("a", "[1]"), ("b", "[1]"), ("c", "[2]")):
        (tmp_path / f"{name}.{ending}").write_text(text)
    for option in ("+method.teacher", "+noise.labels", "+loss.matrix.rows"):
        a, b, c = (id_of("noise=clean", f"{option}={tmp_path / name}.{ending}") for name in "abc")
        assert a == b != c, option


def reads_text(logits: object, labels: object, file: str) -> None:
    """A loss that reads a file of a kind that is not known here."""


reads_text.reads = {"file": lambda path: Path(path).read_text().strip()}  # type: ignore[attr-defined]


def test_a_function_declares_how_its_files_count(tmp_path: Path) -> None:
    for name, text in (("a", "x"), ("b", "x \n"), ("c", "y")):
        (tmp_path / f"{name}.own").write_text(text)
    config = [f"loss.file={tmp_path / name}.own" for name in "abc"]
    a, b, c = (id_of("loss._target_=test_records.reads_text", f"+{one}") for one in config)
    assert a == b != c
    with pytest.raises(ValueError, match=r"^loss\.file=none\.own: cannot be read \(No such file or directory\)$"):
        id_of("loss._target_=test_records.reads_text", "+loss.file=none.own")


def test_files_are_hashed_in_pieces_and_arrays_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of more than a GiB, most of it a hole: nothing reads it whole."""
    file = tmp_path / "large.npy"
    np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(2**30 + 2**28,))[-1] = 7
    array = read_npy(str(file))
    assert (array.shape, int(array[0]), int(array[-1])) == ((2**30 + 2**28,), 0, 7)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match=r"has shape \(1342177280,\), must be \(2,\)"):
        from_file(SimpleNamespace(train_labels=torch.zeros(2), num_classes=10), 1, str(file))
    with pytest.raises(ValueError, match="is larger than"):
        read_bounded(file)
    small = tmp_path / "small"
    small.write_bytes(b"abc" * 100_000)
    assert sha256(small) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    with pytest.raises(ValueError, match="is a folder"):
        sha256(tmp_path)


@pytest.mark.parametrize("spoilt", [b"", b"\x93NUMPY\x01\x00", b"no array"])
def test_what_is_no_array_is_refused(spoilt: bytes, tmp_path: Path) -> None:
    file = tmp_path / "x.npy"
    file.write_bytes(spoilt)
    with pytest.raises(ValueError, match="it is not an array of numbers"):
        read_npy(str(file))
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="it is not an array of numbers"):
        read_npy(str(file))


@pytest.mark.parametrize("part", range(16))  # a test for each of the thousands of records takes much longer
def test_committed_records(part: int) -> None:
    for path in COMMITTED[part::16]:
        assert_whole(path)


def assert_whole(path: Path) -> None:
    record = store.load(path)
    assert identity.run_id(record["config"]) == record["run_id"] == path.stem
    classes = len(record["noise"]["transition"])
    assert path.stat().st_size < (10_000 if classes == 10 else 60_000), path
    assert record["environment"]["commit"], path
    changed = record["environment"]["dirty"] is True
    assert changed == (path.stem in COPIED), f"{path} was made from changes that are not committed"
    again = summarise(record["history"])
    for name in ("test_acc_last", "test_acc_best", "test_acc_last10", "test_acc_val"):
        assert record["metrics"][name] == pytest.approx(again[name], abs=1e-4), path


def test_copied_commits_train_as_the_checkout_that_the_records_name() -> None:
    """The changes are to the benchmark alone."""
    for name, copied in COPIED.items():
        checkout = store.load(REPOSITORY / "results" / "runs" / f"{name}.json")["environment"]["commit"]
        command = ["git", "-C", str(REPOSITORY), "diff", "--name-only", checkout, copied]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no history here: {done.stderr}")
        assert set(done.stdout.split()) == {"src/labelnoise/bench/sides.py", "src/labelnoise/cli/bench.py"}


def found_again(identifier: str, command: Overrides) -> bool:
    """Whether a record's command, composed, gives its id."""
    return id_of(*(option for option in command if not option.startswith("threads="))) == identifier


@pytest.mark.parametrize("path", COMMITTED[:: max(1, len(COMMITTED) // 15)], ids=lambda path: path.stem)
def test_the_command_of_a_committed_record_finds_it(path: Path) -> None:
    command = command_of(store.load(path))
    assert command is not None
    assert found_again(path.stem, command)


@pytest.mark.slow
@pytest.mark.committed
def test_the_command_of_every_committed_record_finds_it(tmp_path: Path) -> None:
    """A table's command where one has the record. What differs by seeds alone is composed once."""
    commands = collect(tmp_path).commands
    assert commands.keys() >= {path.stem for path in COMMITTED}
    bases: dict[tuple[str, ...], DictConfig] = {}
    for identifier, command in commands.items():
        given = dict(option.split("=", 1) for option in command)
        seeds = {name: int(given.pop(name)) for name in ("seed", *SEEDS) if name in given}
        given.pop("threads", None)
        base = tuple(f"{name}={value}" for name, value in given.items())
        if base not in bases:
            bases[base] = compose(base)
        cfg = with_values(bases[base], **seeds)
        assert identity.run_id(identity.effective(cfg)) == identifier, command
    identifier = next(iter(commands))
    assert found_again(identifier, commands[identifier])


def test_committed_folder_holds_records_only() -> None:
    assert [p.name for p in (REPOSITORY / "results" / "runs").iterdir() if p.suffix != ".json"] == []


def test_a_digits_record_of_each_loss_of_the_tables_is_committed() -> None:
    names = {row for table in ("digits", "digits_zoo") for row in read([f"table={table}"]).rows}
    common = ("dataset=digits", "noise=sym", "rate=0.4", "seed=1")
    ids = {identity.run_id(identity.effective(chosen("loss", name, *common))) for name in names}
    assert ids <= {path.stem for path in COMMITTED}


@pytest.mark.committed
def test_cifar10_records_show_what_the_losses_are_for() -> None:
    """Twelve epochs of the zhou2021 protocol under 40% symmetric noise: nce_agce beats ce."""
    common = ("protocol=zhou2021", "noise=sym", "rate=0.4", "epochs=12", "seed=1")
    ce, robust = (store.load(store.COMMITTED / f"{id_of(*common, f'loss={n}')}.json") for n in ("ce", "nce_agce"))
    assert robust["metrics"]["test_acc_last"] > ce["metrics"]["test_acc_last"]
    assert ce["noise"]["label_hash"] == robust["noise"]["label_hash"]


def test_a_record_of_100_classes_stays_small(tmp_path: Path) -> None:
    """CIFAR-100, 80% symmetric noise, 200 epochs, a network that confuses everything."""
    random = np.random.RandomState(0)
    transition = random.multinomial(500, [0.2] + [0.8 / 99] * 99, 100).tolist()
    confusion = random.multinomial(100, [0.01] * 100, 100).tolist()
    history = {f"column_{i}": random.random_sample(200).round(4).tolist() for i in range(7)}
    config = identity.effective(compose(["dataset=cifar100", "noise=sym", "rate=0.8", "loss=nfl_agce"]))
    made = made_up.record(DIGITS)
    whole = made | {"config": config, "noise": made["noise"] | {"transition": transition}}
    whole |= {"run_id": identity.run_id(config), "metrics": made["metrics"] | {"confusion": confusion}}
    path = store.write(whole | {"history": history, "environment": this_environment()}, tmp_path)
    assert path.stat().st_size < 60_000
    assert store.load(path)["config"] == config


def test_writing_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = made_up.record(DIGITS)
    path = store.write(record, tmp_path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(record | {"noise": {"more": 1}}, tmp_path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_nan_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write(made_up.record(DIGITS) | {"metrics": {"x": float("nan")}}, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", made_up.BROKEN)
def test_a_broken_record_is_told_once_and_left_out(tmp_path: Path, capsys, name: str) -> None:
    path = made_up.write(tmp_path, DIGITS)
    path.write_text(made_up.BROKEN[name](path.read_text()))
    with pytest.raises(ValueError, match=rf"^{path} (is|holds) "):
        store.load(path)
    for _ in range(3):
        assert store.find(path.stem, tmp_path) is None
    said = capsys.readouterr().err
    assert said.startswith(f"{path} ")
    assert said.endswith("; left out\n")
    assert said.count("\n") == 1
    path.write_text("")
    os.utime(path, (1, 1))
    assert store.find(path.stem, tmp_path, quiet=True) is None
    assert capsys.readouterr().err == ""
    assert store.find(path.stem, tmp_path) is None
    assert capsys.readouterr().err != "", "the file has changed since"


@pytest.mark.parametrize("content", [b"\xff", json.dumps({"run_id": 1}).encode(), b"null", b"\xef\xbb\xbf{}"])
def test_a_foreign_file_is_no_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "0123456789ab.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is not a whole record"):
        store.load(path)


def test_what_is_no_regular_file_is_no_record(tmp_path: Path, capsys) -> None:
    """A pipe that nobody writes to is not waited for."""
    (tmp_path / "0123456789ab.json").mkdir()
    os.mkfifo(tmp_path / "0123456789ac.json")
    (tmp_path / "0123456789ad.json").symlink_to("/dev/zero")
    for end, said in (("b", "is a folder"), ("c", "is not a regular file"), ("d", "is not a regular file")):
        assert store.find(f"0123456789a{end}", tmp_path) is None
        assert said in capsys.readouterr().err


def test_what_is_unknown_and_what_is_new_may_stand_in_a_record(tmp_path: Path) -> None:
    """A data set without true labels; metrics, columns and facts that a later version writes."""
    record = made_up.record(DIGITS, accelerator="x", nested={"a": [1, 2.5, None]})
    record["noise"] |= {"realised_rate": None, "transition": None}
    record["metrics"] |= {"audit": {"area": 0.9}, "confusion": None}
    record["history"] |= {"acc_wrong_given": None, "label_precision": [0.1, 0.2], "target_acc": [None, None]}
    path = store.write(record, tmp_path)
    assert store.load(path) == record


@pytest.mark.parametrize("name", ["deep inside", "commit", "no last accuracy", "accuracy NaN", "another configuration"])
def test_a_run_goes_on_from_a_broken_record(train, tmp_path: Path, name: str) -> None:
    """Told once, trained again, replaced."""
    short = ["dataset=digits", "epochs=1", "num_trusted=1400", "threads=1"]
    path = made_up.write(tmp_path, short)
    path.write_text(made_up.BROKEN[name](path.read_text()))
    ended = train(*short, f"results={tmp_path}")
    assert (ended.code, ended.err.count(str(path))) == (0, 1), ended
    assert store.load(path)["metrics"]["confusion"] != [[3, 1], [0, 4]]


@pytest.mark.parametrize("end", [path.suffix[1:] for path in RunFiles(Path(), "x").all()])
def test_a_folder_where_a_file_must_go_is_told_before_training(train, tmp_path: Path, monkeypatch, end: str) -> None:
    monkeypatch.setattr("labelnoise.training.loop.fit", lambda *_: pytest.fail("trained"))
    folder = tmp_path / f"{made_up.record(DIGITS)['run_id']}.{end}"
    folder.mkdir()
    ended = train(*DIGITS, f"results={tmp_path}")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        f"error: results={tmp_path}: {folder.name} is a folder, and the run needs that name; remove it"
    )
    assert list(tmp_path.iterdir()) == [folder]


def test_commit_falls_back_to_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(this_environment()["commit"] or "") in (0, 40)
    monkeypatch.setattr("labelnoise.records.environment.REPOSITORY", tmp_path)
    monkeypatch.setenv("LABELNOISE_COMMIT", "abc")
    assert (this_environment()["commit"], this_environment()["dirty"]) == ("abc", None)


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ("src/labelnoise/a.py", True),
        ("src/labelnoise/untracked.py", True),
        ("configs/loss/mine.yaml", True),
        ("train.py", True),
        ("figures/accuracy_digits.pdf", False),
        ("audit/audit.csv", False),
        ("README.md", False),
        ("results/runs/0123456789ab.json", False),
    ],
)
def test_changes_count_where_they_can_affect_a_record(
    change: str, counts: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    for name in ("src/labelnoise/a.py", "train.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    monkeypatch.setattr("labelnoise.records.environment.REPOSITORY", tmp_path)
    commit = git("rev-parse", "HEAD").strip()
    assert (this_environment()["commit"], this_environment()["dirty"]) == (commit, False)
    (tmp_path / change).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / change).write_text("2\n")
    assert (this_environment()["commit"], this_environment()["dirty"]) == (commit, counts)
