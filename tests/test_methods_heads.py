"""Methods with a readout of their own: what it gives, and that a saved network predicts with it."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.small_setups import small_setup
from torch import nn
from torch.nn import functional as F

from labelnoise.data.train_set import normalise
from labelnoise.experiment import exported, saved_network
from labelnoise.experiment.run import compose, train
from labelnoise.methods.cam_softmax import CamSoftmax
from labelnoise.networks.base import Network
from labelnoise.networks.readout import Cosine

# --------------------------------------------------------------------------------------------------------- cam-softmax

ANGLES = [math.pi / 2, 1.2, 1.0, math.pi / 4]


@pytest.mark.parametrize("c", ANGLES)
def test_the_curve_goes_through_its_three_points(c: float) -> None:
    x = torch.tensor([-1, math.cos(c), 1], dtype=torch.float64)
    found = CamSoftmax.curve(x, torch.tensor(c, dtype=torch.float64))
    torch.testing.assert_close(found, torch.tensor([-1, 0, 1], dtype=torch.float64), atol=1e-12, rtol=0)


def test_at_a_right_angle_it_is_softmax_on_cosines() -> None:
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)
    torch.testing.assert_close(CamSoftmax.curve(x, torch.tensor(math.pi / 2).double()), x)
    below = [CamSoftmax.curve(x[1:-1], torch.tensor(c).double()) for c in ANGLES]
    for one, next_ in itertools.pairwise(below):
        assert (next_ < one).all(), "the smaller the angle, the lower the label's logit"


def test_logits_are_the_scaled_cosines_whatever_lengths_and_bias() -> None:
    torch.manual_seed(0)
    network = Network(nn.Flatten(), nn.Linear(12, 5)).double()
    images = torch.randn(7, 3, 2, 2).double()
    logits = Cosine(network, 20.0)(images)
    w, f = network.head.weight.detach(), images.flatten(1)
    expected = [[20 * F.cosine_similarity(f[i], w[k], dim=0) for k in range(5)] for i in range(7)]
    torch.testing.assert_close(logits, torch.tensor(expected).double(), atol=1e-12, rtol=0)
    with torch.no_grad():
        network.head.weight.mul_(3)
        network.head.bias.add_(torch.randn(5))
    torch.testing.assert_close(Cosine(network, 20.0)(9 * images), logits)


def test_a_network_without_a_linear_head_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^network: must have features\(images\) .* and `head`, a torch.nn.Linear$"):
        CamSoftmax(small_setup([0, 1, 2]), scale=20.0, decay=1e-4, last=0.8)


# -------------------------------------------------------------------------------------------------- the saved network

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1", "precision=float32", "save_model=true"]
METHODS = ["cam_softmax", "chillax"]


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_network_and_an_exported_one_predict_as_the_method(method: str, tmp_path: Path) -> None:
    trained = train(compose([*SHORT, f"method={method}", f"results={tmp_path}"]), quiet=True)
    dataset = trained.dataset
    mean, std = (torch.tensor(value)[:, None, None] for value in (dataset.mean, dataset.std))
    images = normalise(dataset.test_images, mean, std)
    with torch.no_grad():
        expected = trained.method.eval().predict(images).softmax(dim=1)
        (path,) = map(str, tmp_path.glob("*.safetensors"))
        saved = saved_network.read(path)
        found = saved_network.build(saved, path)(images).softmax(dim=1)
        program = exported.program(saved, path)(dataset.test_images / 255).softmax(dim=1)
    assert trained.record["metrics"]["test_acc_last"] > 0.3
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(program, expected, atol=1e-5, rtol=1e-4)
    about = json.loads(saved.about.model_dump_json())
    for wrong in ({"name": "mine"}, {**about["readout"], "more": 1}):
        texts = {key: json.dumps(value) for key, value in {**about, "readout": wrong}.items() if key != "run_id"}
        save_file(load_file(path), tmp_path / "wrong.safetensors", {"run_id": "0123456789ab", **texts})
        with pytest.raises(ValueError, match=r"^model=.*: not a network saved with save_model=true \(readout"):
            saved_network.read(str(tmp_path / "wrong.safetensors"))
