"""Configurations merged without Hydra: as Hydra composes them, or left to Hydra. Every table: test_tables.py."""

import json
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from support.configs import every
from support.data import REPOSITORY

from labelnoise.config import identity, merged
from labelnoise.config.compose import MISTAKES, compose

GROUPS = (
    "dataset",
    "loss",
    "method",
    "noise",
    "network",
    "optimizer",
    "schedule",
    "regulariser",
    "protocol",
    "tracker",
)
VALUES = [
    *("rate=0.4", "epochs=3", "seed=7", "recipe.lr=1e-3", "clip_norm=null", "loss.q=0.5", "noise.rate=0.25"),
    *("dataset.augment=null", "strong.cutout=0", "tuned_row=mnist", "tuned.detach=true", "results='a b'"),
    *("optimizer.momentum=0", "dataset.strong=${strong}", "+loss.extra=1", "~clip_norm"),
]


def assert_as_hydra(overrides: list[str]) -> None:
    """The same configuration, or a mistake: if Hydra itself finds it, in the same line."""
    try:
        cfg = compose(overrides)
    except ValueError as mistake:
        with pytest.raises(ValueError, match=f"^{re.escape(str(mistake))}$"):
            merged.effective(overrides)
        return
    try:
        expected = identity.effective(cfg)
    except OmegaConfBaseException:
        with pytest.raises(ValueError, match=r"^(loss|optimizer|epochs)\b"):
            merged.effective(overrides)
    except ValueError as mistake:
        with pytest.raises(ValueError, match=f"^{re.escape(str(mistake))}$"):
            merged.effective(overrides)
    else:
        assert json.dumps(merged.effective(overrides)) == json.dumps(expected)


@settings(deadline=None, max_examples=20, derandomize=True, database=None)
@given(st.data())
def test_what_is_merged_is_what_hydra_composes(data: st.DataObject) -> None:
    """Any options of any groups, and values; some are mistakes, and some are left to Hydra."""
    groups = data.draw(st.lists(st.sampled_from(GROUPS), max_size=4, unique=True))
    chosen = [f"{group}={data.draw(st.sampled_from(every(group)))}" for group in groups]
    overrides = [*chosen, *data.draw(st.lists(st.sampled_from(VALUES), max_size=2, unique=True))]
    try:
        ours = merged.tree(overrides)
    except MISTAKES:
        return
    assert ours == OmegaConf.to_container(compose(overrides), resolve=False)


@pytest.mark.parametrize(
    "override",
    [
        *("+loss.extra=1", "++epochs=3", "~recipe.lr", "loss.extra={a: 1}", "epochs=${batch_size}", "strong={ops: 1}"),
        *("hydra.verbose=true", "tracker@other=none", "epochs=???", "seed=1,2", "loss=[ce]", "protocol/values=x"),
        *("loss=nosuch", "nosuch=1", "loss.nosuch=1", "regulariser=null", "dataset.strong.cutout=1", "loss.a=1=2"),
    ],
)
def test_what_only_hydra_decides_is_left_to_it(override: str) -> None:
    with pytest.raises(MISTAKES):
        merged.tree([override])
    assert_as_hydra([override])


PLAIN = ("1.0", "007", "1e3", "0.50", "9" * 20, "12a", "a1", "on", "True", "nan", "trueish", "a-b", "none", "é")


@pytest.mark.parametrize("override", [*(f"loss.a={text}" for text in PLAIN), "loss.a=auto", "regime=a", "noise=1"])
def test_a_value_is_what_hydra_reads(override: str) -> None:
    """Also a plain word or number, for which Hydra's parser is not asked; an old name is refused as there."""
    assert_as_hydra([override, "loss=agce"])


FILES = ("loss/agce", "method/ili", "method/divide_mix", "dataset/cifar10", "table/cifar10_zhou2021", "train")


@pytest.mark.parametrize("path", FILES)
def test_an_options_file_is_read_as_hydra_does(path: str) -> None:
    file = merged.option_file(path, (merged.CONFIGS,))
    theirs = FileConfigSource("test", str(merged.CONFIGS)).load_config(path)
    assert file is not None
    expected = OmegaConf.to_container(theirs.config, resolve=False)
    assert {**({"defaults": file.defaults} if file.defaults else {}), **file.content} == expected
    assert file.package == theirs.header["package"]


def test_a_file_with_a_key_twice(tmp_path: Path) -> None:
    """YAML in C would take the later one."""
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "twice.yaml").write_text("_target_: mine.loss\na: 1\na: 2\n")
    with pytest.raises(MISTAKES, match="duplicate key a"):
        merged.option_file("loss/twice", (tmp_path,))
    assert_as_hydra(["loss=twice", f"hydra.searchpath=[{tmp_path}]"])


OWN = {
    "network": "defaults: [override /network: resnet18]\n_target_: mine.loss\n_partial_: true\n",
    "own_order": "# @package _global_\ndefaults: [_self_, override /optimizer: adam]\nloss: {_target_: mine.loss}\n",
    "later": "defaults: [override /method: mixup]\n_target_: mine.loss\n",  # a group below its own
    "adds": "defaults: [/network: resnet18]\n_target_: mine.loss\n",
    "placed": "# @package loss.inner\n_target_: mine.loss\n",
    "copies": "# @package _global_\nloss: {_target_: mine.loss, ops: '${strong}'}\n",
    "keeps": "# @package _global_\nloss: {_target_: mine.loss}\nclip_norm: ???\n",
    "missing": "_target_: mine.loss\na: ???\n",
    "relative": "_target_: mine.loss\na: 1\nb: ${.a}\n",
    "references": "_target_: mine.loss\na: 1\nb: x${loss.a}\nc: '${oc.env:HOME}'\nd: ${loss.e}\ne: [1, '${rate}']\n",
    "itself": "_target_: mine.loss\na: ${loss.b}\nb: ${loss.a}\n",
    "no_card": "_target_: mine.loss\na: ${row:loss.a}\n",
    "card": "# @package _global_\ntuned: {loss: {default: {a: 3, sym: {0.4: {a: 4}}}}}\nloss: {a: '${row:loss.a}'}\n",
    "a_list": "[1, 2]\n",
    "broken": "a: [\n",
    "ce": "_target_: mine.loss\n",  # the package has an option of this name
}


@pytest.mark.parametrize("name", OWN)
def test_a_file_of_ones_own(tmp_path: Path, name: str) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / f"{name}.yaml").write_text(OWN[name])
    assert_as_hydra([f"loss={name}", "dataset=digits", "noise=sym", "rate=0.4", f"hydra.searchpath=[{tmp_path}]"])


def test_a_mapping_over_a_reference(tmp_path: Path) -> None:
    """It is merged into what the reference stands for."""
    own = {
        "dataset": "tuned_row: digits\ndataset: {name: x}\nloss: {ops: '${strong}'}\n",
        "loss": "loss: {ops: {ops: 3}}\n",
    }
    for group, content in own.items():
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(f"# @package _global_\nrecipe: {{lr: 1, epochs: 1}}\n{content}")
    values = ["optimizer=adam", "optimizer.weight_decay=0", "batch_size=2"]
    assert_as_hydra(["dataset=mine", "loss=mine", *values, f"hydra.searchpath=[{tmp_path}]"])


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "loss" / "mine.yaml"
    file.parent.mkdir()
    overrides = ["loss=mine", f"hydra.searchpath=[{tmp_path}]"]
    for i, value in enumerate((1, 2)):
        file.write_text(f"_target_: mine.loss\na: {value}\n")
        os.utime(file, ns=(i, i))
        assert merged.effective(overrides)["loss"]["a"] == value


def test_a_group_of_ones_own_is_no_value(tmp_path: Path) -> None:
    """A folder called as an option makes it a group to Hydra."""
    (tmp_path / "epochs").mkdir()
    (tmp_path / "epochs" / "3.yaml").write_text("a: 1\n")
    assert_as_hydra(["epochs=3", f"hydra.searchpath=[{tmp_path}]"])


def test_names_and_tables_need_no_torch() -> None:
    code = "import sys; from labelnoise.cli.main import main; main(sys.argv[1:]); assert 'torch' not in sys.modules"
    command = [sys.executable, "-c", code, "table", "table=cifar10_zhou2021"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_function_of_the_package_declares_what_its_file_says() -> None:
    for option in every("dataset"):
        component = compose([f"dataset={option}"]).dataset.load
        found = identity._declared({"_target_": component["_target_"]}, "content", None)
        assert found is getattr(pkgutil.resolve_name(component["_target_"]), "content", None)
