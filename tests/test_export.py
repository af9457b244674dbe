"""A saved network elsewhere: torch.export, ONNX, torchvision and timm. It computes the same without this package."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from support.configs import every
from support.data import REPOSITORY
from torch import nn

from labelnoise.config.groups import CONFIGS
from labelnoise.experiment import exported, saved_network

TIMM = ("test_vit", "test_resnet", "test_convnext")
SLOW = ("resnet34", "resnet50", "test_resnet", "test_convnext")


def arguments_of(name: str) -> dict[str, object]:
    """Those in a network's file."""
    content = OmegaConf.load(CONFIGS / "network" / f"{name}.yaml")
    return {str(key): value for key, value in content.items() if not str(key).startswith("_")}


NETWORKS = [
    pytest.param(
        "timm_model" if name in TIMM else name,
        {"model": name} if name in TIMM else arguments_of(name),
        marks=[pytest.mark.slow] if name in SLOW else [],
        id=name,
    )
    for name in (*every("network"), *TIMM)
    if name != "timm"
]
CLASSES = ["zero", "one", "two"]


def saved(path: Path, name: str, arguments: dict[str, object], size: int = 16) -> nn.Module:
    """A network with an output too many, whose running statistics are not those of its start, in a file of ours."""
    channels = 1 if name in ("cnn4", "cnn8") else 3
    make = saved_network._maker({"_target_": name, **arguments}, saved_network.networks())
    torch.manual_seed(0)
    network = make(len(CLASSES) + 1, channels, size)
    with torch.no_grad():
        network.train()(torch.randn(8, channels, size, size))
    about = {
        "network": {"_target_": name, "_partial_": True, **arguments},
        "shape": [channels, size, size],
        "classes": CLASSES,
        "extra_outputs": 1,
        "mean": [0.4] * channels,
        "std": [0.2] * channels,
    }
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, path, {"run_id": "0123456789ab", **{key: json.dumps(value) for key, value in about.items()}})
    return network.eval()


def logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits of the classes for images in [0, 1]."""
    with torch.no_grad():
        return network((images - 0.4) / 0.2)[:, : len(CLASSES)]


def images(path: Path, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(count, *saved_network.read(str(path)).about.shape, generator=generator)


def close(found: torch.Tensor, expected: torch.Tensor) -> bool:
    return torch.allclose(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(("name", "arguments"), NETWORKS)
def test_the_program_gives_the_networks_logits(name: str, arguments: dict[str, object], tmp_path: Path) -> None:
    """For any number of images, one too. Its graph has torch's own operators only."""
    path = tmp_path / "a.safetensors"
    network = saved(path, name, arguments)
    read = saved_network.read(str(path))
    loaded = torch.export.load(io.BytesIO(exported.as_pt2(exported.program(read, str(path)), read.about)))
    called = [str(node.target) for node in loaded.graph.nodes if node.op == "call_function"]
    assert not {target for target in called if not target.startswith(("aten.", "<built-in function "))}
    assert len(called) >= 6, "normalisation, a flattened image, a linear layer"
    for count in (1, 5):
        given = images(path, count)
        assert close(loaded.module()(given), logits(network, given)), count


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("cnn4", {}), pytest.param("timm_model", {"model": "test_vit"}, marks=pytest.mark.slow)],
)
def test_onnx_gives_the_networks_logits(name: str, arguments: dict[str, object], tmp_path: Path, labelnoise) -> None:
    onnx = pytest.importorskip("onnx", reason="pip install 'labelnoise[onnx]'")
    pytest.importorskip("onnxscript", reason="pip install 'labelnoise[onnx]'")
    from onnx.reference import ReferenceEvaluator

    path, out = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    network = saved(path, name, arguments)
    assert labelnoise("export", f"model={path}", f"out={out}").code == 0
    model = onnx.load(out)
    onnx.checker.check_model(model, full_check=True)
    assert {entry.domain for entry in model.opset_import} == {""}
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["classes"]) == CLASSES
    assert "[0, 1]" in facts["input"]
    for count in (1, 5):
        given = images(path, count)
        (found,) = ReferenceEvaluator(model).run(None, {"images": given.numpy()})
        assert close(torch.from_numpy(found.copy()), logits(network, given)), count


def test_without_onnx_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelnoise) -> None:
    saved(tmp_path / "a.safetensors", "cnn4", {})
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    ended = labelnoise("export", f"model={tmp_path / 'a.safetensors'}", f"out={tmp_path / 'a.onnx'}")
    assert (ended.code, ended.err) == (1, "error: ONNX needs more packages: pip install 'labelnoise[onnx]'\n")
    assert not (tmp_path / "a.onnx").exists()


ELSEWHERE = """
import json, sys, torch
facts = {"labelnoise.json": ""}
program = torch.export.load(sys.argv[1], extra_files=facts)
about = json.loads(facts["labelnoise.json"])
images = torch.rand(7, 1, 16, 16, generator=torch.Generator().manual_seed(1))
assert not {name for name in sys.modules if name.startswith("labelnoise")}
print(json.dumps([json.loads(about["classes"]), about["input"], program.module()(images).tolist()]))
"""


def test_the_command_writes_what_another_process_runs(tmp_path: Path, labelnoise) -> None:
    path, out = tmp_path / "a.safetensors", tmp_path / "a.pt2"
    network = saved(path, "cnn4", {})
    assert labelnoise("export", f"model={path}", f"out={out}").out == f"{out} written: cnn4\n"
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, str(out)], capture_output=True, text=True, check=True)
    classes, described, found = json.loads(done.stdout)
    assert classes == CLASSES
    assert described == "images, float32, B x 1 x 16 x 16, in [0, 1] (pixels / 255); normalised inside"
    assert close(torch.tensor(found), logits(network, images(path, 7)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["out=a.pt2"], "model: needs a value, model=<results>/<run_id>.safetensors"),
        (["model=a.safetensors"], "out: needs a value, out=a file that ends in .pt2 or .onnx"),
        (["model=a.safetensors", "out=a.pt"], "out=a.pt: must end in .pt2 or .onnx"),
        (["model=a.safetensors", "out=a.pt2"], "model=a.safetensors: no such file"),
        (["model=a.safetensors", "out=a.pt2", "dataset=digits"], "dataset=digits: export takes model= and out="),
    ],
)
def test_mistakes_get_one_line(arguments: list[str], said: str, labelnoise) -> None:
    ended = labelnoise("export", *arguments)
    assert (ended.code, ended.err) == (1, f"error: {said}\n")


def test_a_network_that_cannot_be_traced_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelnoise
) -> None:
    """A user's own, which branches on its images."""
    (tmp_path / "network").mkdir()
    (tmp_path / "network/mine.yaml").write_text("_target_: branching.mine\n_partial_: true\n")
    (tmp_path / "branching.py").write_text(BRANCHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(saved_network, "_maker", _trusting)
    saved(tmp_path / "a.safetensors", "branching.mine", {})
    monkeypatch.undo()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    arguments = ["model=a.safetensors", "out=a.pt2"]
    assert "its network is branching.mine, must be one of" in labelnoise("export", *arguments).err
    ended = labelnoise("export", *arguments, "--config-dir", ".")
    assert ended.code == 1
    assert ended.err.splitlines()[-1].startswith("error: model=a.safetensors: cannot be exported (")
    assert not Path("a.pt2").exists()


BRANCHING = """
from torch import nn

class Mine(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.head = nn.Linear(768, num_classes)

    def forward(self, images):
        flat = images.flatten(1)
        return self.head(flat if flat.sum() > 0 else -flat)

def mine(num_classes, channels, size):
    return Mine(num_classes)
"""


def _trusting(network: dict[str, object], known: dict[str, object]) -> Callable[[int, int, int], nn.Module]:
    from branching import mine

    return mine


def test_the_pages_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labelnoise, capsys) -> None:
    """docs/saved_network.md: each network that is loaded elsewhere gives ours' logits."""
    monkeypatch.chdir(tmp_path)
    program, torchvisions, timms = re.findall(
        r"```python\n(.*?)```", (REPOSITORY / "docs/saved_network.md").read_text(), re.S
    )
    resnet = saved(tmp_path / "resnet18.safetensors", "resnet18", {})
    vit = saved(tmp_path / "vit.safetensors", "timm_model", {"model": "test_vit"})
    saved(tmp_path / "a.safetensors", "cnn4", {}, size=28)
    assert labelnoise("export", "model=a.safetensors", "out=network.pt2").code == 0
    names: dict[str, object] = {}
    exec(program + torchvisions, names)
    assert set(eval(capsys.readouterr().out)) <= {*CLASSES}
    theirs = names["network"]
    assert isinstance(theirs, nn.Module)
    assert type(theirs).__module__.startswith("torchvision")
    given = torch.rand(3, 3, 16, 16)
    assert close(theirs(given).detach(), resnet(given).detach())
    exec(timms, names)
    theirs = names["vit"]
    assert isinstance(theirs, nn.Module)
    assert type(theirs).__module__.startswith("timm")
    assert close(theirs.eval()(given).detach(), vit(given).detach())


@pytest.mark.parametrize("name", ["resnet18", pytest.param("resnet34", marks=pytest.mark.slow), "resnet50"])
def test_a_resnets_weights_have_timms_and_torchvisions_names(name: str, tmp_path: Path) -> None:
    import timm
    from torchvision import models

    ours = saved(tmp_path / "a.safetensors", name, {})
    weights = {key.replace("head.", "fc.").removeprefix("body."): v for key, v in ours.state_dict().items()}
    given = torch.rand(2, 3, 16, 16)
    for theirs in (getattr(models, name)(num_classes=4), timm.create_model(name, num_classes=4)):
        if name != "resnet50":
            theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
        theirs.load_state_dict(weights)
        assert close(theirs.eval()(given).detach(), ours(given).detach())
