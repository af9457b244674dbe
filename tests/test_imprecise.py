"""Labels of groups of classes: the tree, the noise, who refuses them, and CHILLAX, which learns from them."""

import copy
import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from support.configs import composed, every
from support.small_setups import images
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.config.compose import compose
from labelnoise.data.train_set import TrainSet
from labelnoise.experiment import saved_network
from labelnoise.experiment.assemble import assemble, load_noisy
from labelnoise.experiment.components import Components
from labelnoise.experiment.metrics import noise_facts
from labelnoise.experiment.run import run
from labelnoise.losses import ce
from labelnoise.losses.class_tree import parents, paths
from labelnoise.methods.chillax import Chillax
from labelnoise.networks.cnn import cnn4
from labelnoise.networks.readout import leaf_logits, node_probabilities
from labelnoise.noise.apply import apply
from labelnoise.noise.imprecise import imprecise
from labelnoise.training.clock import Clock
from labelnoise.training.device import Runtime
from labelnoise.training.learner import Learner
from labelnoise.training.method import Setup

SUPERCLASS = torch.tensor([0, 0, 1, 2, 1, 0])  # of six classes; nodes 6, 7, 8 and the root, 9
CHILDREN = {9: [6, 7, 8], 6: [0, 1, 5], 7: [2, 4], 8: [3]}
ABOVE = {child: node for node, children in CHILDREN.items() for child in children}

# ------------------------------------------------------------------------------------------------------------ the tree


def test_the_nodes_are_classes_then_superclasses_then_the_root() -> None:
    assert parents(6, SUPERCLASS).tolist() == [ABOVE.get(node, 9) for node in range(10)]
    assert parents(6, 10 * SUPERCLASS + 3).tolist() == parents(6, SUPERCLASS).tolist(), "whatever their numbers"
    assert parents(4).tolist() == [4] * 5
    on_path = {node: {node, ABOVE.get(node, 9), 9} for node in range(10)}
    assert paths(parents(6, SUPERCLASS)).tolist() == [[k in on_path[v] for k in range(10)] for v in range(10)]


@pytest.mark.parametrize("superclass", [SUPERCLASS, None])
def test_classes_sum_to_one_and_an_inner_node_is_the_sum_of_its_classes(superclass: Tensor | None) -> None:
    parent = parents(6, superclass)
    outputs = 4 * torch.randn(50, len(parent), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    outputs[0] = -900  # products that no float holds
    logits = leaf_logits(outputs, parent, 6)
    probs, nodes = logits.softmax(dim=1), node_probabilities(logits, parent)
    torch.testing.assert_close(probs.sum(1), torch.ones(50).double())
    torch.testing.assert_close(nodes[:, :6], probs)
    torch.testing.assert_close(nodes[:, -1], torch.ones(50).double())
    if superclass is not None:
        for node in (6, 7, 8):
            torch.testing.assert_close(nodes[:, node], probs[:, CHILDREN[node]].sum(1))
    path = [[v, ABOVE[v], 9] if superclass is not None else [v, 6] for v in range(6)]
    products = torch.stack([outputs[1:].sigmoid()[:, nodes].prod(1) for nodes in path], 1)
    torch.testing.assert_close(probs[1:], products / products.sum(1, keepdim=True))


# ----------------------------------------------------------------------------------------------------------- the noise


class Labels:
    """Facts of bare labels."""

    name, num_classes, train_images, mistaken_for = "bare", 6, torch.zeros(0), None

    def __init__(self, superclass: Tensor | None) -> None:
        self.train_labels = self.true_labels = torch.arange(600) % 6
        self.superclass = superclass


@pytest.mark.parametrize("superclass", [SUPERCLASS, None])
def test_a_share_of_each_class_gets_its_parents_label(superclass: Tensor | None) -> None:
    facts = Labels(superclass)
    noisy = apply(partial(imprecise, rate=0.3), facts, 1, "noise")
    moved = noisy != facts.true_labels
    assert facts.true_labels[moved].bincount(minlength=6).tolist() == [30] * 6
    assert torch.equal(noisy[moved], parents(6, superclass)[facts.true_labels[moved]])
    assert int(noisy[moved].min()) >= 6
    found = noise_facts(facts.true_labels, noisy, 6, 1)
    assert (found["realised_rate"], found["imprecise_share"]) == (0, 0.3)
    assert found["transition"] == (70 * torch.eye(6, dtype=torch.long)).tolist()
    assert "imprecise_share" not in noise_facts(facts.true_labels, facts.true_labels, 6, 1)


def test_no_other_noise_may_give_such_labels() -> None:
    with pytest.raises(
        ValueError, match=r"^noise: gave labels from 0 to 8, must give \(600,\) whole numbers from 0 to 5$"
    ):
        apply(lambda facts, seed: imprecise(facts, seed, 0.3), Labels(SUPERCLASS), 1, "noise")


# --------------------------------------------------------------------------------------------------------- who refuses

DIGITS = ("dataset=digits", "noise=imprecise", "rate=0.5")


@pytest.mark.parametrize("method", sorted({*every("method")} - {"chillax"}))
def test_every_other_method_refuses_them_before_it_trains(method: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("labelnoise.experiment.run.load_noisy", None)  # no data is read
    with pytest.raises(
        ValueError, match=r"^noise=imprecise: some labels are of groups of classes, which .* use method="
    ):
        run(compose([*DIGITS, f"method={method}", f"results={tmp_path}/runs"]), quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("num_val=9", "num_val=9: must be 0 with noise=imprecise"),
        ("record_predictions=true", "record_predictions=true: must be false with noise=imprecise"),
        ("loss=gce", "loss=gce: method=chillax has its own loss and accepts only loss=ce"),
    ],
)
def test_what_would_compare_them_with_classes_is_refused(more: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        run(compose([*DIGITS, "method=chillax", more, f"results={tmp_path}"]), quiet=True)


def test_other_commands_and_label_files_refuse_them(labelnoise, tmp_path: Path) -> None:
    ended = labelnoise("losscheck", *DIGITS)
    assert ended.code == 1
    assert "noise=imprecise: some labels are of groups of classes" in ended.err
    ended = labelnoise("noise", *DIGITS, f"out={tmp_path}/labels.npy")
    assert json.loads(ended.out.splitlines()[-1])["imprecise_share"] == pytest.approx(0.5, abs=0.005)
    assert np.load(tmp_path / "labels.npy").max() == 10
    with pytest.raises(ValueError, match="has label 10, must be 0 to 9"):
        load_noisy(compose(["dataset=digits", "noise=file", f"noise.path={tmp_path}/labels.npy"]))


def test_labels_that_are_there_already_are_refused_too(digits) -> None:
    cfg = composed("dataset=digits")
    labels = digits.train_labels.clone()
    labels[7] = 10
    with pytest.raises(ValueError, match=r"^noise=imprecise: some labels are of groups of classes, which ERM"):
        assemble(cfg, digits, labels, Components(ce, Runtime(torch.device("cpu"), torch.float32, 1)))


def test_a_record_says_how_many(tmp_path: Path) -> None:
    record = run(compose([*DIGITS, "method=chillax", "epochs=4", "threads=1", f"results={tmp_path}"]), quiet=True)
    assert record["noise"]["imprecise_share"] == pytest.approx(0.5, abs=0.005)
    assert record["noise"]["realised_rate"] == 0
    assert record["metrics"]["test_acc_last"] > 0.5, "from the half of the labels that say a class"
    assert set(record["history"]["acc_wrong_given"]) == {None}, "an imprecise label is not a wrong one"


# ------------------------------------------------------------------------------------------------------------- chillax


def chillax(labels: Tensor, lr: float = 0.1) -> Chillax:
    """A linear network in float64 over the tree of six classes."""
    train = TrainSet(images(len(labels)), labels, 6, (0.5,), (0.25,), None, torch.Generator().manual_seed(0))
    train.normalised = lambda pixels, single=train.normalised: single(pixels).double()

    def make_learner(extra_outputs: int = 0, **_: object) -> Learner:
        torch.manual_seed(1)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 6 + extra_outputs).double())
        sgd = lambda weights: torch.optim.SGD(weights, lr=lr)  # noqa: E731
        return Learner(network, sgd, lambda epoch, epochs: 1.0, range(10), None, torch.float32)

    return Chillax(Setup(make_learner, ce, train, Clock(10, 8), superclass=SUPERCLASS))


def decided_by(label: int) -> dict[int, float]:
    """Node -> target, from the equations: the path holds, its siblings do not."""
    path, node = [label], label
    while node != 9:
        node = ABOVE[node]
        path.append(node)
    siblings = [child for node in path[1:] for child in CHILDREN[node]]
    return {**dict.fromkeys(siblings, 0.0), **dict.fromkeys(path, 1.0)}


def test_a_label_teaches_the_nodes_that_it_decides_and_no_others() -> None:
    method = chillax(torch.arange(10))
    outputs = torch.zeros(10, 10, dtype=torch.float64, requires_grad=True)
    values = method.values(outputs, torch.arange(10))
    values.sum().backward()
    for label, slopes in enumerate(outputs.grad):
        targets = decided_by(label)
        assert slopes.tolist() == pytest.approx([0.5 - targets.get(node, 0.5) for node in range(10)])
        assert float(values[label].detach()) == pytest.approx(len(targets) * math.log(2))
    assert decided_by(9) == {9: 1.0}, "the root's label says nothing"
    assert decided_by(7) == {6: 0, 7: 1, 8: 0, 9: 1}, "a superclass's label says nothing of its classes"


def test_chillax_step_by_step() -> None:
    labels = torch.tensor([0, 6, 9, 3, 8, 2, 7, 5, 4, 1, 6, 7])
    method, losses = chillax(labels, lr=0.5), []
    plain = copy.deepcopy(method.learner.network)
    orders = []
    for method.clock.epoch in range(10):
        for feed in method.feeds():
            orders.append(feed.index["train"])
            losses.append(float(method.step(feed).loss))
    x = ((method.train_set.images.float() / 255 - 0.5) / 0.25).double()
    for order, found in zip(orders, losses, strict=True):
        p = 1 / (1 + torch.exp(-plain(x[order])))
        terms = [
            -torch.log(p[i, node] if target else 1 - p[i, node])
            for i, label in enumerate(labels[order].tolist())
            for node, target in decided_by(label).items()
        ]
        value = torch.stack(terms).sum() / len(order)
        assert found == pytest.approx(float(value.detach()), rel=1e-9)
        slopes = torch.autograd.grad(value, list(plain.parameters()))
        with torch.no_grad():
            for weight, slope in zip(plain.parameters(), slopes, strict=True):
                weight -= 0.5 * slope
    for mine, own in zip(method.learner.network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, own, rtol=1e-9, atol=1e-12)
    assert losses[-1] < losses[0] / 3
    assert len({len(order) for order in orders}) == 2, "whole and partial batches"


def test_a_superclass_is_learned_from_its_label_alone() -> None:
    """Images 0 to 2 have the label of superclass 7 and no other information on their class."""
    method = chillax(torch.tensor([7, 7, 7, 0, 1, 5, 3, 3, 0, 1]), lr=1.0)
    for method.clock.epoch in range(200):
        for feed in method.feeds():
            method.step(feed)
    logits = method.predict(method.train_set.plain(torch.arange(10))).detach()
    nodes = node_probabilities(logits, method.parent)
    assert float(nodes[:3, 7].min()) > 0.9
    assert float(nodes[3:, 7].max()) < 0.1
    assert logits[3:].argmax(1).tolist() == [0, 1, 5, 3, 3, 0, 1]


def test_a_saved_tree_predicts_by_its_paths(tmp_path: Path) -> None:
    superclass, path = [0, 0, 0, 1, 1, 1, 2, 2, 3, 3], tmp_path / "a.safetensors"
    torch.manual_seed(0)
    network = cnn4(15, 1, 8).eval()
    about = {"shape": [1, 8, 8], "classes": [str(c) for c in range(10)], "mean": [0.3], "std": [0.3]}
    about |= {
        "network": {"_target_": "cnn4"},
        "extra_outputs": 5,
        "readout": {"name": "tree", "superclass": superclass},
    }

    def write(**change: object) -> str:
        texts = {key: json.dumps(value) for key, value in {**about, **change}.items()}
        save_file(network.state_dict(), path, {"run_id": "0123456789ab", **texts})
        return str(path)

    given = torch.rand(7, 1, 8, 8)
    found = saved_network.build(saved_network.read(write()), str(path))(given)
    own = F.logsigmoid(network(given))
    expected = torch.stack([own[:, c] + own[:, 10 + superclass[c]] + own[:, 14] for c in range(10)], 1)
    torch.testing.assert_close(found, expected)
    for change in ({"extra_outputs": 4}, {"readout": {"name": "tree", "superclass": [0, 1, 2, 3]}}):
        with pytest.raises(ValueError, match=r"^model=.*: not a network saved with save_model=true \(.*readout"):
            saved_network.read(write(**change))
