"""Every option of every group composes, checks, instantiates and runs a step."""

import math
import re
import subprocess
import sys
from pathlib import Path

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from support.configs import chosen, composed, every, with_values
from support.data import HERE, REPOSITORY

from labelnoise.config import identity, merged
from labelnoise.config.check import check
from labelnoise.config.groups import CONFIGS
from labelnoise.config.options import GROUPS as OPTION_GROUPS
from labelnoise.config.options import OPTIONS, OUTCOME
from labelnoise.data.dataset import Dataset
from labelnoise.experiment import assemble
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.run import compose, run
from labelnoise.losses.base import try_out

# What an option needs beside its name.
NEEDS = {
    ("dataset", "features"): ["features=features.npz"],
    ("noise", "file"): ["noise.path=labels.json"],
    ("noise", "human"): ["noise.labels=worse"],
    ("network", "timm"): ["network.model=resnet10t"],
}
OF_FILES = ("folder", "webvision_mini", "clothing1m", "features")  # data sets that are not on this machine
GROUPS = (
    "dataset",
    "noise",
    "loss",
    "regulariser",
    "network",
    "optimizer",
    "schedule",
    "method",
    "tracker",
    "protocol",
)


def rate_of(noise: str) -> list[str]:
    return ["rate=0.4"] if "${rate}" in (CONFIGS / "noise" / f"{noise}.yaml").read_text() else []


def test_the_groups_are_the_folders() -> None:
    assert sorted(path.name for path in CONFIGS.iterdir() if path.is_dir()) == sorted(
        [*GROUPS, "hydra", "table"]
    )  # tables: test_tables.py; hydra: a launcher


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in every(g)])
def test_every_option_composes_resolves_and_checks(group: str, option: str) -> None:
    overrides = [f"{group}={option}", *NEEDS.get((group, option), []), *(rate_of(option) if group == "noise" else [])]
    cfg = composed(*overrides)
    check(cfg)
    assert merged.tree(overrides) == OmegaConf.to_container(cfg, resolve=False)
    if option not in ("file", *OF_FILES):  # whose content is part of the id
        assert len(identity.run_id(identity.effective(cfg))) == 12
    if group not in ("dataset", "noise", "protocol") and (group, option) not in NEEDS:
        assert chosen(group, option) == cfg, "other tests do not test what Hydra composes"


@pytest.mark.parametrize(
    ("group", "option"),
    [
        (g, o)
        for g in ("regulariser", "network", "optimizer", "schedule", "tracker", "protocol")  # others: test_predict.py
        for o in every(g)
        if o
        not in ("resnet34", "resnet50", "preact_resnet18", "resnet18")  # their step is taken below, on fewer images
        and o not in OF_FILES  # protocols of data sets that test_web_data.py makes
    ],
)
def test_every_option_runs(group: str, option: str, tmp_path: Path) -> None:
    common = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1", "num_val=60", "num_trusted=1280"]
    if group == "protocol":  # whose networks may be large ones
        cfg = with_values(composed(*common, f"protocol={option}", "network=cnn4"), results=str(tmp_path))
    elif (group, option) in NEEDS:
        cfg = with_values(composed(*common, f"{group}={option}", *NEEDS[group, option]), results=str(tmp_path))
    else:
        cfg = chosen(group, option, *common, results=str(tmp_path))
    record = run(cfg, quiet=True)
    assert 0 <= record["metrics"]["test_acc_last"] <= 1
    assert math.isfinite(record["history"]["train_loss"][0])


@pytest.mark.parametrize("option", ["resnet34", "resnet50", "preact_resnet18", "resnet18"])
def test_large_networks_take_steps(option: str) -> None:
    network = hydra.utils.instantiate(chosen("network", option).network)(10, 3, 32)
    before = [p.detach().clone() for p in network.parameters()]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):  # the first leaves a residual branch that starts at zero as it is
        torch.nn.functional.cross_entropy(network(torch.randn(4, 3, 32, 32)), torch.arange(4)).backward()
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


@pytest.mark.parametrize("option", every("dataset"))
def test_every_data_set_loads_and_takes_a_step(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is evaluated on a hundred of its test images."""
    if not HERE[option]:
        pytest.skip(f"{option} is not on this machine (LABELNOISE_DATA)")

    def few(dataset: Dataset) -> Dataset:
        return dataset._replace(test_images=dataset.test_images[:100], test_labels=dataset.test_labels[:100])

    load = assemble.load
    monkeypatch.setattr(assemble, "load", lambda component: few(load(component)))
    short = [f"dataset={option}", "network=cnn4", "epochs=1", "threads=1", f"results={tmp_path}"]
    images = len(load_noisy(compose(short))[0].train_labels)
    cfg = compose([*short, f"num_trusted={images - 200}"])
    record = run(cfg, quiet=True)
    assert record["noise"]["realised_rate"] == 0
    assert sum(map(sum, record["metrics"]["confusion"])) == 100


@pytest.mark.parametrize("loss", every("loss"))
def test_every_card_has_values_for_every_data_set(loss: str) -> None:
    for row in ("default", "mnist", "cifar10", "cifar100"):
        cfg = chosen("loss", loss, tuned_row=row)
        check(cfg)
        try_out(hydra.utils.instantiate(cfg.loss))


def test_every_data_set_names_a_row() -> None:
    rows = {name: composed(f"dataset={name}").tuned_row for name in every("dataset")}
    own = ("mnist", "cifar10", "cifar100", "webvision_mini", "clothing1m")
    assert {name: rows.pop(name) for name in own} == {name: name for name in own}
    assert set(rows.values()) == {"default"}


@pytest.mark.parametrize("name", ["agce", "aul", "ael"])
def test_sums_with_nfl_take_the_values_with_nce(name: str) -> None:
    for dataset in ("mnist", "cifar10", "cifar100"):
        nce, nfl = (compose([f"dataset={dataset}", f"loss={first}_{name}"]).loss for first in ("nce", "nfl"))
        assert all(nfl[key] == nce[key] for key in nce if key in ("alpha", "beta", "a", "q"))
        assert nfl.gamma == 0.5


def test_bare_command_is_plain_training_on_cifar10() -> None:
    choices = ["dataset=cifar10", "noise=clean", "loss=ce", "method=erm", "optimizer=sgd", "schedule=cosine"]
    bare = compose([])
    assert bare == compose([*choices, "protocol=none", "tracker=none", "seed=1"])
    assert (bare.epochs, bare.batch_size, bare.clip_norm, bare.optimizer.lr) == (120, 128, 5.0, 0.01)
    assert bare.network._target_.endswith("cnn8")


@pytest.mark.parametrize(
    ("dataset", "epochs", "lr", "decay", "network"),
    [
        ("mnist", 50, 0.01, 1e-3, "cnn4"),
        ("cifar10", 120, 0.01, 1e-4, "cnn8"),
        ("cifar100", 200, 0.1, 1e-5, "resnet34"),
    ],
)
def test_regimes_are_zhou2021s(dataset: str, epochs: int, lr: float, decay: float, network: str) -> None:
    cfg = compose([f"dataset={dataset}", "protocol=zhou2021"])
    assert (cfg.epochs, cfg.optimizer.lr, cfg.optimizer.weight_decay) == (epochs, lr, decay)
    assert (cfg.optimizer.momentum, cfg.optimizer.nesterov, cfg.batch_size) == (0.9, False, 128)
    assert cfg.network._target_.endswith(network)


def test_sgd_numbers_do_not_leak_into_adam() -> None:
    assert compose(["dataset=cifar100", "optimizer=adam"]).optimizer.lr == 1e-3


def test_noise_with_a_rate_has_no_default() -> None:
    for noise in every("noise"):
        if rate_of(noise):
            with pytest.raises(ValueError, match=r"rate: this noise needs one"):
                check(compose([f"noise={noise}"]))


def test_seed_derives_the_three_seeds() -> None:
    cfg = compose(["seed=5", "seed_init=9"])
    assert (cfg.seed_noise, cfg.seed_init, cfg.seed_data) == (5, 9, 5)


def test_each_global_option_is_declared_once(train) -> None:
    """In options.py alone: the root takes it from there, and so do --help and the identity."""
    root = OmegaConf.load(CONFIGS / "train.yaml")
    cfg, said = OmegaConf.to_container(compose([]), resolve=False), train("--help").out
    for option in OPTIONS:
        assert option.name not in root
        assert cfg[option.name] == option.default
        assert re.search(rf"^  {option.name} +{re.escape(option.help[:30])}", said, re.M)
    assert set(identity.effective(compose([]))) == {e.name for e in (*OPTIONS, *OPTION_GROUPS) if e.decides == OUTCOME}


@pytest.mark.parametrize("path", ["runs(1)", "runs/lr=0.1", "Läufe", "a b", "it's", "a;b", "a{b}", "c#d", "100%", "$x"])
def test_a_path_may_have_any_characters(path: str) -> None:
    for option in ("results", "data_dir"):
        cfg = compose([f"{option}={path}"])
        check(cfg)
        assert cfg[option] == path


def test_a_path_may_begin_at_home(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert compose(["data_dir=~/data"]).data_dir == "/somewhere/data"
    assert compose(["results='~/x'"]).results == "~/x", "in quotes it is taken as it stands"
    assert compose(["results=runs/${loss._target_}"]).results.endswith(".ce"), "and refers to other values"


def test_every_yaml_says_what_it_is() -> None:
    for path in CONFIGS.rglob("*.yaml"):
        lines = [line for line in path.read_text().splitlines() if line != "# @package _global_"]
        assert lines[0].startswith("# "), path
        assert OmegaConf.load(path) is not None


def test_composes_from_anywhere(tmp_path: Path) -> None:
    code = "from labelnoise.experiment.run import compose; print(compose(['loss=agce']).loss.a)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.6"


def test_the_wheel_holds_the_configs(tmp_path: Path) -> None:
    """Built, unpacked and used away from the checkout: compose finds its configs beside the code."""
    import zipfile

    from hatchling.builders.wheel import WheelBuilder

    wheel = next(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path / "dist"), versions=["standard"]))
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import labelnoise.experiment.run as r;"
        "from labelnoise.config.groups import CONFIGS;"
        "print(CONFIGS); print(r.compose(['loss=agce', 'dataset=mnist']).loss.q)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(tmp_path / "site" / "labelnoise" / "configs"), "0.2"]
