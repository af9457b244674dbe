"""Saved networks: what configs/network names is built and nothing else, whatever the file says."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.configs import TRUSTING, TWO_TRAININGS, chosen, every

from labelnoise.cli.predict import predict
from labelnoise.config.compose import compose
from labelnoise.data.train_set import normalise
from labelnoise.experiment import saved_network
from labelnoise.experiment.run import Trained, train
from labelnoise.networks.cnn import cnn4

CNN4 = {"_target_": "cnn4", "_partial_": True}


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(cnn4(10, 1, 28).state_dict())


def write(path: Path, weights: dict[str, torch.Tensor], network: object = CNN4, **more: object) -> str:
    """A file as save_model=true writes it, for digits; `more` replaces parts of it."""
    about = {"shape": [1, 28, 28], "classes": [str(c) for c in range(10)], "mean": [0.3], "std": [0.3]}
    parts = {**about, "network": network, **more}
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parts.items()}
    save_file(weights, path, {"run_id": "0123456789ab", **texts})
    return str(path)


def refused(path: str) -> str:
    with pytest.raises(ValueError, match=r"^model=") as raised:
        saved_network.build(saved_network.read(path), path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_it_predicts(weights, tmp_path: Path, capsys) -> None:
    path, out = write(tmp_path / "a.safetensors", weights), tmp_path / "p.csv"
    predict([f"model={path}", "dataset=digits", f"out={out}", "threads=1"])
    lines = out.read_text().splitlines()
    right = sum(line.split(",")[1] == line.split(",")[2] for line in lines[1:])
    assert len(lines) == 361
    assert f"digits: {right / 360:.2%} of 360 test images" in capsys.readouterr().out


EVERY = [(group, name) for group in ("loss", "method") for name in every(group)]
SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "threads=1", "precision=float32"]
SHORT += ["num_val=60", "num_trusted=1280", "save_model=true"]
READ_ALL = """
import sys
import torch
from labelnoise.config import compose
from labelnoise.cli import predict

cfg, probabilities, found = compose.compose(["dataset=digits", "threads=1"]), predict.probabilities, {}
predict.compose = lambda _: cfg  # composed once for all files

def kept(*given):
    probs = found[given[1]] = probabilities(*given)
    return probs

predict.probabilities = kept
for path in sys.argv[2:]:
    predict.predict([f"model={path}"])
torch.save(found, sys.argv[1])
"""


def own_probabilities(trained: Trained, path: Path) -> torch.Tensor:
    """What the method itself predicts for the test images, with the saved weights in its networks for images."""
    saved = load_file(path)
    for learner in trained.method.learners():
        shapes = {name: value.shape for name, value in learner.network.state_dict().items()}
        if shapes == {name: value.shape for name, value in saved.items()}:
            learner.network.load_state_dict(saved)
    dataset = trained.dataset
    mean, std = (torch.tensor(value)[:, None, None] for value in (dataset.mean, dataset.std))
    with torch.no_grad():
        return trained.method.eval().predict(normalise(dataset.test_images, mean, std)).float().softmax(dim=1)


def test_every_loss_and_method_runs_and_what_it_writes_another_process_reads(tmp_path: Path) -> None:
    """And gives the probabilities of the classes alone, also where the network has outputs of its own beside them."""
    expected = {}
    for group, option in EVERY:
        results = tmp_path / group / option
        few = {"num_val": 1280, "num_trusted": 60} if option in TRUSTING else {}  # which trains on the trusted images
        few |= {"epochs": 2} if option in TWO_TRAININGS else {}
        trained = train(chosen(group, option, *SHORT, results=str(results), **few), quiet=True)
        assert 0 <= trained.record["metrics"]["test_acc_last"] <= 1, option
        assert math.isfinite(trained.record["history"]["train_loss"][0]), option  # ldr_kl, unhinged may be negative
        (path,) = results.glob("*.safetensors")
        expected[str(path)] = own_probabilities(trained, path)
    command = [sys.executable, "-c", READ_ALL, str(tmp_path / "found.pt"), *expected]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    assert len(found) == len(EVERY)
    for path, probs in expected.items():
        assert found[path].shape == (360, 10), path
        torch.testing.assert_close(found[path].sum(dim=1), torch.ones(360), msg=path)
        torch.testing.assert_close(found[path], probs, atol=1e-5, rtol=1e-4, msg=path)


@pytest.mark.parametrize("target", ["cnn4", "labelnoise.networks.cnn.cnn4"])
def test_the_name_and_the_older_path_are_the_same_network(weights, tmp_path: Path, target: str) -> None:
    path = write(tmp_path / "a.safetensors", weights, {**CNN4, "_target_": target})
    network = saved_network.build(saved_network.read(path), path)
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", every("network"))
def test_every_network_of_the_configs_is_known(name: str) -> None:
    overrides = ["network.model=vit_tiny_patch16_224"] if name == "timm" else []
    target = compose([f"network={name}", *overrides]).network["_target_"]
    assert saved_network.networks()[target.rpartition(".")[2]] == target


def test_a_users_own_network_is_built_where_their_options_are_named(weights, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "mine.yaml").write_text("_target_: my_networks.tiny\n_partial_: true\n")
    (tmp_path / "my_networks.py").write_text("from labelnoise.networks.cnn import cnn4 as tiny\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path / "a.safetensors", weights, {"_target_": "my_networks.tiny", "_partial_": True})
    assert "its network is my_networks.tiny, must be one of" in refused(path)
    saved = saved_network.read(path, [f"hydra.searchpath=[file://{tmp_path}]"])
    assert saved_network.build(saved, path).head.out_features == 10


@pytest.mark.parametrize(
    "target",
    [
        "labelnoise.networks.timm_model.torch.os.mkdir",
        "labelnoise.networks.cnn.nn.modules.os.mkdir",
        "os.mkdir",
        "mkdir",
        "labelnoise.networks.timm_model.torch.hub.load",
        "labelnoise.networks.timm_model.torch.load",
        "labelnoise.networks.base.Network",
        "torchvision.models.cnn4",
        "",
    ],
)
def test_a_file_does_not_choose_what_is_called(weights, tmp_path: Path, target: str) -> None:
    for key in ("path", "name", "f"):
        network = {"_target_": target, key: str(tmp_path / "made")}
        assert "must be one of cnn4, cnn8" in refused(write(tmp_path / "a.safetensors", weights, network))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ({**CNN4, "widths": 3}, "has no argument widths"),
        ({**CNN4, "num_classes": 3}, "has no argument num_classes"),
        ({**CNN4, "_args_": 3}, "has no argument _args_"),
        ({**CNN4, "deep": {"_target_": "os.getcwd"}}, "network.deep"),
        ({"_target_": "timm_model", "model": 5}, "model=5"),
        ({"_target_": "timm_model"}, "model"),
        ({"_target_": "timm_model", "model": "hf_hub:some/where"}, "timm has no such network"),
        ({"_target_": "timm_model", "model": "local-dir:/tmp"}, "timm has no such network"),
        ({"_target_": 5}, "must be one of"),
        ({}, "must be one of"),
        ([], "network"),
        ("[" * 10_000, "recursion"),
        ({"_target_": "cnn8"}, "loading state_dict"),
    ],
)
def test_arguments_are_those_of_the_signature(weights, tmp_path: Path, network: object, said: str) -> None:
    assert said in refused(write(tmp_path / "a.safetensors", weights, network))


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("mean", value) for value in ([float("nan")], [float("inf")], [], [0.1, 0.2], ["0"], "{", 0.3)),
        *(("std", value) for value in ([0.0], [-1.0], [float("nan")], [], [0.1, 0.2])),
        *(("shape", value) for value in ([1, 28], [1, 28, 0], [1, 28, 10**9], [1, 28.0, 28], [], {}, "[1e999,1,1]")),
        *(("classes", value) for value in ([], [1], "x")),
        *(("extra_outputs", value) for value in (-1, 10**9, 1.5, [], 1)),  # the last: the weights have none
        ("more", "1"),
    ],
)
def test_facts_that_cannot_be_are_refused(weights, tmp_path: Path, part: str, value: object) -> None:
    assert "not a network saved" in refused(write(tmp_path / "a.safetensors", weights, **{part: value}))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(weights, tmp_path: Path, number: float) -> None:
    name = next(iter(weights))
    spoilt = {**weights, name: weights[name].clone()}
    spoilt[name].view(-1)[3] = number
    assert f"its weights {name} are not finite" in refused(write(tmp_path / "a.safetensors", spoilt))


def test_outputs_that_are_not_finite_are_refused(weights, tmp_path: Path) -> None:
    huge = {name: torch.full_like(value, 3e38) if "weight" in name else value for name, value in weights.items()}
    path, out = write(tmp_path / "a.safetensors", huge), tmp_path / "p.csv"
    with pytest.raises(ValueError, match="its outputs are not finite"):
        predict([f"model={path}", "dataset=digits", f"out={out}", "threads=1"])
    assert not out.exists()


def test_other_images_are_refused_before_anything_is_built(weights, tmp_path: Path) -> None:
    path = write(tmp_path / "a.safetensors", weights, shape=[1, 4096, 4096])
    with pytest.raises(ValueError, match="other images or classes"):
        predict([f"model={path}", "dataset=digits", "threads=1"])


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_text("no network")
    for path in (tmp_path / "pipe", tmp_path, tmp_path / "text", tmp_path / "nowhere", Path("/dev/zero")):
        with pytest.raises(ValueError, match=f"^model={path}: (no such file|not a network)"):
            saved_network.read(str(path))
