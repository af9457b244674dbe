"""Paths on the command line are taken literally, whatever characters they contain, by every option of every command."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from support.command import Ended
from support.image_trees import table, tree

from labelnoise.config.compose import compose, prepared

# The options of `train` that are paths, and what makes each an option.
OPTIONS = {
    "data_dir": [],
    "results": [],
    "noise.path": ["noise=file"],
    "dataset.load.labels": ["dataset=folder"],
    "dataset.load.corrected": ["dataset=folder"],
    "method.transition": ["method=forward"],
}
ODD = "labels (final), a=b [1] {2} 'x' \"y\" $z; #1 & 100% ~é\\.csv"  # a name that a file may have


def meant(typed: str, several: bool = False) -> list[object]:
    """What Hydra reads of `noise.path=<typed>`: one value, or those of a sweep."""
    (written,) = prepared([f"noise.path={typed}"], several)
    override = OverridesParser.create().parse_override(written)
    values = override.value().list if override.is_sweep_override() else [override.value()]
    return [value.text if isinstance(value, QuotedString) else value for value in values]


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_is_literal(option: str) -> None:
    assert OmegaConf.select(compose([*OPTIONS[option], f"{option}={ODD}"]), option) == ODD


@pytest.mark.parametrize(
    "name",
    [
        *("a,b", "a(b)", "a=b", "=", "a b", " a", "[final].csv", "{x}.csv", "a:b", "a\\", "it's", "'a' and 'b'", "1"),
        *("1e5", "1,2", "choice(a,b)", "range(1,3)", "-m", "a\tb", "日本語", "no", "10:30", "x.npy,y.npy", "*", "a\nb"),
    ],
)
def test_odd_names_are_literal(name: str) -> None:
    assert meant(name) == [name]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(name=st.text("ab1 ()[]{},='\"\\:;&$#@!%*?^`|<>é\t-+./", min_size=1, max_size=9))
@example("a$")
@example("\\'")
def test_any_name_is_literal(name: str) -> None:
    quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "'\""
    bracketed = name[0] + name[-1] in ("[]", "{}")
    if not quoted and not bracketed and "${" not in name:
        assert meant(name) == [name]


def test_words_that_are_no_paths_stay_words() -> None:
    assert compose(["dataset=folder", "dataset.load.labels=null"]).dataset.load.labels is None
    assert compose(["method=forward", "method.transition=true"]).method.transition is True
    assert compose(["data_dir=true"]).data_dir == "true"
    assert compose(["data_dir='a,b'"]).data_dir == "a,b"
    assert compose(['data_dir="[a]"']).data_dir == "[a]"
    for wrong in ("[a]", "{a:1}"):
        assert not isinstance(compose([f"results={wrong}"]).results, str), "`check` refuses it"


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("a.npy,b.npy", ["a.npy", "b.npy"]),
        ("a (1).npy,b=c.npy", ["a (1).npy", "b=c.npy"]),
        ("choice(a.npy,b.npy)", ["a.npy", "b.npy"]),
        ("'a,b.npy','c d.npy'", ["a,b.npy", "c d.npy"]),
        ("'a,b.npy'", ["a,b.npy"]),
        ("a (1).npy", ["a (1).npy"]),
    ],
)
def test_with_m_a_comma_is_between_two_paths(typed: str, names: list[str]) -> None:
    assert meant(typed, several=True) == names


SHORT = ("dataset=folder", "dataset.load.size=8", "network=cnn4", "epochs=1", "batch_size=4", "threads=1", "device=cpu")


def test_odd_names_through_the_commands(tmp_path: Path, labelnoise: Callable[..., Ended], monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    home = Path("my (old) files, v=2 [a]")
    root = tree(home / "images", {"cat": 60, "dog": 190}, 6)
    rows = [(f"{name}/{i:03}.png", name) for name in ("cat", "dog") for i in range(6)]
    for file in (ODD, f"true {ODD}"):
        table(root / file, rows)
    (home / "T (1), a=b.json").write_text(json.dumps([[0.8, 0.2], [0.2, 0.8]]))

    def run(word: str, *arguments: str) -> str:
        ended = labelnoise(word, *arguments)
        assert ended.code == 0, (word, ended.err)
        return ended.out

    images = [*SHORT, f"data_dir={root}", f"dataset.load.labels={ODD}", f"dataset.load.corrected=true {ODD}"]
    forward = ["method=forward", f"method.transition={home}/T (1), a=b.json"]
    run("train", *images, *forward, f"results={home}/runs", "save_model=true")
    (model,) = (home / "runs").glob("*.safetensors")
    run("predict", f"model={model}", *images, f"out={home}/predicted (1), a=b.csv")
    assert len((home / "predicted (1), a=b.csv").read_text().splitlines()) == 3
    run("noise", *images, "noise=sym", "rate=0.5", f"out={home}/noisy, (1).npy")
    said = run("noise", *images, "noise=file", f"noise.path={home}/noisy, (1).npy")
    assert json.loads(said.splitlines()[-1])["realised_rate"] == 0.4, "two of five in each class"
    audit = home / "audit, (1) a=b"
    run("audit", *images, "loss=ce", f"out={audit}")
    (audit / "decisions (1), =.json").write_text('{"audit": "0", "decisions": []}')
    run("audit", f"decisions={audit}/decisions (1), =.json", f"out={audit}")
    assert len((audit / "labels.csv").read_text().splitlines()) == 11
    assert {path.name for path in tmp_path.iterdir()} == {home.name}, "nothing was written elsewhere"
    np.save(home / "a,b.npy", np.zeros(10, np.int64))
    run(
        "train",
        "-m",
        *SHORT,
        f"data_dir='{root}'",
        "noise=file",
        f"noise.path='{home}/a,b.npy'",
        "results=out (1)",
        "hydra.sweep.dir=sweep",
    )
    assert len(list(Path("out (1)").glob("*.json"))) == 1
