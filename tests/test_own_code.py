"""The source of a user's own components: what is hashed, and that nothing made before it changed is reused."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.command import stop_at
from support.made_up import record

from labelnoise.files.reading import sha256
from labelnoise.records.own_code import changed, differing, own_code
from labelnoise.records.schema import validated

LOSS = """from helper import factor

def power(logits, labels):
    return factor * (1 - logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)) ** 2
"""
TABLE = """title: Mine
common: [dataset=digits, epochs=2, batch_size=60, num_trusted=1300]
rows: all
columns: all
seeds: [1]
metric: test_acc_last
grid:
  rows: {power: [loss=power], ce: [loss=ce]}
  columns: {sym_0.4: [noise=sym, rate=0.4]}
"""
RUN = (
    "--config-dir=configs",
    "dataset=digits",
    "epochs=2",
    "batch_size=60",
    "num_trusted=1300",
    "noise=sym",
    "rate=0.4",
)
MODULES = ("mine", "my_losses", "helper", "flat")


def put(**files: str) -> None:
    """Write files below the working directory, and forget what was imported from them, as a new process would."""
    for name, content in files.items():
        path = Path(name.replace("__in__", "/").replace("__yaml", ".yaml"))
        path = path if path.suffix else path.with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    for name in [name for name in sys.modules if name.split(".")[0] in MODULES]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    put()
    yield tmp_path
    put()


def using(*targets: str) -> dict[str, Any]:
    return {"loss": {"_target_": targets[0], "inner": [{"_target_": target} for target in targets[1:]]}}


# ------------------------------------------------------------------------------------------------------ what is hashed


def test_the_modules_of_every_target_and_what_they_import(folder: Path) -> None:
    put(
        mine__in____init__="from .losses import power\nraise RuntimeError('is not run')\n",
        mine__in__losses="import torch\nfrom . import near\nfrom mine.deep.er import x\n",
        mine__in__near="def f():\n    import flat, numpy.linalg\n",
        mine__in__deep__in__er="from ..losses import power\nfrom labelnoise.losses import ce\n",  # and a circle
        mine__in__unused="",
        flat="",
        other="",
    )
    found = own_code(using("mine.power", "torch.optim.SGD", "symmetric", "labelnoise.losses.ce", "nowhere.f"))
    assert list(found) == ["flat.py", *(f"mine/{name}.py" for name in ("__init__", "deep/er", "losses", "near"))]
    assert all(value == sha256(folder / file)[:16] for file, value in found.items())
    assert not {"mine", "flat"} & sys.modules.keys(), "nothing is imported"
    assert list(own_code(using("ce", "other.f"))) == ["other.py"]
    assert own_code(using("ce", "torch.optim.SGD", "numpy.linalg.norm", "json.loads")) == {}


def test_a_file_that_is_no_python_counts_by_its_bytes() -> None:
    put(flat="def broken(:\n")
    before = own_code(using("flat.f"))
    put(flat="def broken(::\n")
    assert differing(before, own_code(using("flat.f"))) == "flat.py"


def test_what_was_loaded_counts_until_it_is_loaded_again() -> None:
    put(flat="x = 1\n")
    import importlib

    module = importlib.import_module("flat")
    before = own_code(using("flat.f"))
    Path("flat.py").write_text("x = 22\n")
    assert own_code(using("flat.f")) == before, "this process computes with what it loaded"
    importlib.invalidate_caches()
    importlib.reload(module)
    assert own_code(using("flat.f")) != before


def test_only_what_is_known_is_compared() -> None:
    assert differing(None, {"a.py": "1"}) == ""
    assert differing({"a.py": "1"}, {}) == "", "the code is not on this machine"
    assert differing({"a.py": "1"}, {"a.py": "1"}) == ""
    assert differing({"a.py": "1", "b.py": "1"}, {"a.py": "2", "c.py": "1"}) == "a.py, b.py, c.py"
    assert changed(record(["dataset=digits"])) == ""


def test_a_records_hashes_are_checked_as_the_rest_of_it() -> None:
    whole = record(["dataset=digits"], code={"a.py": "1"})
    assert validated(json.dumps(whole).encode()) == whole
    with pytest.raises(ValueError, match=r"environment\.code"):
        validated(json.dumps(record(["dataset=digits"], code={"a.py": 1})).encode())


# ----------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def own(folder: Path, one_thread: None) -> None:
    put(
        my_losses=LOSS,
        helper="factor = 1.0\n",
        configs__in__loss__in__power__yaml="_target_: my_losses.power\n_partial_: true\n",
        configs__in__table__in__mine__yaml=TABLE,
    )


@pytest.mark.usefixtures("own", "in_this_process")
def test_a_record_is_not_reused_once_its_code_changed(labelnoise) -> None:
    run = ("train", *RUN, "loss=power", "threads=1")
    table = ("--config-dir=configs", "table=mine")
    assert labelnoise("train", "-m", *table).code == 0
    (path,) = (path for path in Path("runs").glob("*.json") if "power" in path.read_text())
    first = path.read_bytes()
    assert json.loads(first)["environment"]["code"].keys() == {"helper.py", "my_losses.py"}
    assert "is done already" in labelnoise(*run).out
    assert "2 of 2 done" in labelnoise("table", *table, "format=status").out

    put(helper="factor = 5.0\n")
    decide = "force=true trains it again, accept_changed=true keeps it\n"
    ended = labelnoise(*run)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == f"error: run {path.stem}: its record was made before helper.py changed; {decide}"
    told = "table=mine: 1 cell changed, not done: made before helper.py changed; force=true trains again, "
    told += "accept_changed=true counts as done\n"
    assert labelnoise("train", "-m", *table).err == f"error: {told}"
    shown = labelnoise("table", *table)
    assert shown.err == told
    assert "1 of 2 trainings are done." in shown.out
    status = labelnoise("table", *table, "format=status").out
    assert "1 of 2 done, 0 running, 0 failed, 0 missing, 1 changed" in status
    wrong = labelnoise("table", *table, "accept_changed=maybe")
    assert wrong.err == "error: accept_changed=maybe: must be true or false\n"
    assert path.read_bytes() == first, "nothing finished is lost"

    assert "is done already" in labelnoise(*run, "accept_changed=true").out
    assert "2 of 2 done" in labelnoise("table", *table, "format=status", "accept_changed=true").out
    assert "2 cells, 2 done already" in labelnoise("train", "-m", *table, "accept_changed=true").out
    assert labelnoise(*run, "force=true").code == 0
    again = json.loads(path.read_bytes())
    assert again["run_id"] == path.stem, "ids do not depend on source files"
    assert again["history"] != json.loads(first)["history"]
    assert "2 of 2 done" in labelnoise("table", *table, "format=status").out
    put(helper="factor = 1.0\n")
    assert labelnoise(*run, "force=true").code == 0
    assert json.loads(path.read_bytes())["history"] == json.loads(first)["history"]


@pytest.mark.usefixtures("own")
def test_a_checkpoint_is_not_resumed_once_its_code_changed(labelnoise) -> None:
    run = ("train", *RUN, "loss=power", "threads=1")

    def stop() -> str:
        with pytest.MonkeyPatch.context() as patch:
            stop_at(2, patch)
            assert labelnoise(*run, *(["force=true"] if list(Path("runs").glob("*.json")) else [])).code == 75
        (left,) = Path("runs").glob("*.checkpoint")
        return str(left)

    left = stop()
    put(helper="factor = 5.0\n")
    ended = labelnoise(*run)
    decide = "force=true starts again, accept_changed=true resumes from it\n"
    assert (ended.code, ended.err) == (1, f"error: {left}: was written before helper.py changed; {decide}")
    assert torch.load(left, weights_only=True)["state"]["done"] == 2, "it is kept"
    resumed = labelnoise(*run, "accept_changed=true")
    assert "resumes after epoch 0, step 2" in resumed.out
    (path,) = Path("runs").glob("*.json")
    environment = json.loads(path.read_text())["environment"]
    assert environment["resumed"] == 1
    assert environment["code"] != environment["earlier_pieces"][0]["code"], "both are recorded"

    stop()
    put(helper="factor = 1.0\n")
    again = labelnoise(*run, "force=true")
    assert "is not used: force=true, and it was written before helper.py changed; the run starts again" in again.err
    assert "resumed" not in json.loads(path.read_text())["environment"]
