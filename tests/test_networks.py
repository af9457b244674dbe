"""Networks: parameter counts of the papers, the split into features and head, initial weights, timm."""

import math

import hydra
import pytest
import torch
from support.configs import every
from torch import nn

from labelnoise.experiment.run import compose
from labelnoise.meta_learning.looking_ahead import along
from labelnoise.networks.cnn import cnn4, cnn8
from labelnoise.networks.preact_resnet import preact_resnet18
from labelnoise.networks.resnet import resnet18, resnet34
from labelnoise.networks.resnet50 import resnet50
from labelnoise.networks.timm_model import timm_model
from labelnoise.training.learner import Learner


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("make", "classes", "channels", "size", "count"),
    [
        (cnn4, 10, 1, 28, 422_090),
        (cnn8, 10, 3, 32, 1_639_794),
        (resnet34, 100, 3, 32, 21_328_292),
        (resnet18, 10, 3, 32, 11_173_962),
        (preact_resnet18, 10, 3, 32, 11_172_170),
        (resnet50, 1000, 3, 224, 25_557_032),
    ],
)
def test_published_parameter_counts(make, classes: int, channels: int, size: int, count: int) -> None:
    assert parameters(make(classes, channels, size)) == count


@pytest.mark.parametrize("name", every("network"))
@pytest.mark.parametrize(("classes", "channels", "size"), [(10, 1, 28), (7, 3, 32)])
def test_features_and_head_are_the_network(name: str, classes: int, channels: int, size: int) -> None:
    model = ["network.model=resnet10t"] if name == "timm" else []
    network = hydra.utils.instantiate(compose([f"network={name}", *model]).network)(classes, channels, size).eval()
    images = torch.randn(2, channels, size, size)
    with torch.no_grad():
        features = network.features(images)
        assert features.dim() == 2
        assert network.head(features).shape == (2, classes)
        torch.testing.assert_close(network.head(features), network(images))


MODELS = ["resnet10t", "vit_tiny_patch16_224", "convnext_atto", "mobilenetv3_small_100"]
EVERY = [name for name in every("network") if name != "timm"]


@pytest.mark.parametrize("name", [*EVERY, *MODELS])
def test_logits_along_a_direction_of_the_weights(name: str) -> None:
    """u . (J v), by forward differentiation, is v . (u J), by backward; the running statistics see nothing."""
    torch.manual_seed(0)
    options = [f"network={name}"] if name in EVERY else ["network=timm", f"network.model={name}"]
    network = hydra.utils.instantiate(compose(options).network)(3, 3, 32).double()
    make = lambda weights: torch.optim.SGD(weights, lr=0.1)  # noqa: E731
    learner = Learner(network, make, lambda epoch, epochs: 1.0, range(1), None, torch.float32).train()
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64)
    direction = {name: torch.randn_like(weight) for name, weight in network.named_parameters()}
    before = [value.clone() for value in network.state_dict().values()]
    found = along(learner, images, direction)
    assert all(map(torch.equal, before, network.state_dict().values()))
    gradients = torch.autograd.grad((found.sin() * learner(images)).sum(), list(network.parameters()))
    expected = sum((g * d).sum() for g, d in zip(gradients, direction.values(), strict=True))
    torch.testing.assert_close((found.sin() * found).sum(), expected)


@pytest.mark.parametrize("make", [cnn4, cnn8, resnet18])
def test_first_weights_are_the_papers(make) -> None:
    """Kaiming-uniform (fan-in, gain sqrt 2) convolutions, Xavier-uniform linear weights: both fill their bounds."""
    torch.manual_seed(0)
    for module in make(10, 3, 32).modules():
        if isinstance(module, nn.Conv2d):
            bound = math.sqrt(6 / (module.weight[0].numel()))
        elif isinstance(module, nn.Linear):
            bound = math.sqrt(6 / sum(module.weight.shape))
        else:
            continue
        assert module.weight.abs().max().item() == pytest.approx(bound, rel=0.05)
        assert module.weight.abs().max().item() <= bound * (1 + 1e-6)
        assert module.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_resnets_keep_small_images_large() -> None:
    """A 3x3 stem without pooling: the last feature map of a 32x32 image is 4x4."""
    seen = []
    network = resnet18(10, 3, 32).eval()
    network.body.layer4.register_forward_hook(lambda module, inputs, output: seen.append(output.shape[-2:]))
    network(torch.zeros(1, 3, 32, 32))
    assert seen == [(4, 4)]


@pytest.mark.parametrize("model", MODELS)
def test_timm_networks_fit_small_images(model: str) -> None:
    network = timm_model(10, 3, 32, model)
    network(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_timm_resnet_gets_the_small_stem() -> None:
    model = timm_model(10, 1, 28, "resnet18").model
    assert (model.conv1.kernel_size, model.conv1.stride, model.conv1.in_channels) == ((3, 3), (1, 1), 1)
    assert isinstance(model.maxpool, nn.Identity)


def test_unknown_and_unfitting_timm_networks_are_refused() -> None:
    with pytest.raises(ValueError, match=r"network\.model=resnat18: timm has no such network"):
        timm_model(10, 3, 32, "resnat18")
    with pytest.raises(ValueError, match=r"network\.model=inception_resnet_v2: cannot be built for 3x32x32 images"):
        timm_model(10, 3, 32, "inception_resnet_v2")
