"""Whether steps can be captured as a CUDA graph: nothing in any of them waits for the device.

FakeTensorMode computes shapes only and refuses whatever would need a value: `.item()`, masks as indices, printing. So a
step that passes can be captured, up to what only a GPU shows.
"""

import pytest
import torch
from omegaconf import DictConfig
from support.configs import TOLD, chosen, composed, every
from support.shapes import shapes_only, take_two_steps
from torch._subclasses.fake_tensor import DataDependentOutputException


@pytest.mark.parametrize("regulariser", every("regulariser"))
def test_no_regulariser_waits_for_the_device(regulariser: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(chosen("regulariser", regulariser, "dataset=digits"), 1, 8)


@pytest.mark.parametrize("loss", every("loss"))
def test_no_loss_waits_for_the_device(loss: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        result = take_two_steps(chosen("loss", loss, "dataset=digits"), 1, 8)
        assert result.loss.shape == ()
        assert result.predicted is not None
        assert result.predicted.shape == (32,)


def of_method(name: str) -> DictConfig:
    common = ("dataset=digits", "noise=sym", "rate=0.4")
    return composed(*common, f"method={name}", *TOLD[name]) if name in TOLD else chosen("method", name, *common)


@pytest.mark.parametrize("method", every("method"))
def test_no_method_waits_for_the_device(method: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(of_method(method), 1, 8)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_no_augmentation_waits_for_the_device(dataset: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(composed(f"dataset={dataset}", "network=cnn4"), 3, 32)


@pytest.mark.parametrize("network", [n for n in every("network") if n != "timm"])
def test_no_network_waits_for_the_device(network: str, monkeypatch) -> None:
    with shapes_only(monkeypatch):
        take_two_steps(chosen("network", network, "dataset=mnist"), 1, 28)


def test_waiting_would_be_seen(monkeypatch) -> None:
    with shapes_only(monkeypatch):
        monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *a: float(torch.ones(())))
        with pytest.raises(DataDependentOutputException):
            take_two_steps(composed("dataset=digits"), 1, 8)
