"""Warm start, init=FILE: what a run's networks begin with, the run's id, resuming, and files that do not fit."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from support.command import stop_at
from support.configs import chosen, every

from labelnoise.config.compose import compose
from labelnoise.config.identity import effective, run_id
from labelnoise.experiment.assemble import assemble, load_noisy
from labelnoise.experiment.components import make_components
from labelnoise.experiment.run import run
from labelnoise.records import store
from labelnoise.report.commands import command_of
from labelnoise.training.signals import Stopped

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=2", "threads=1", "num_trusted=1300"]
STILL = ["recipe.lr=0", "recipe.weight_decay=0"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network saved by a run with another seed."""
    folder = tmp_path_factory.mktemp("saved")
    record = run(compose([*SHORT, "seed=7", "save_model=true", f"results={folder}"]), quiet=True)
    return str(folder / f"{record['run_id']}.safetensors")


def changed(path: str, to: Path, weights: dict[str, torch.Tensor] | None = None, **about: object) -> str:
    """A copy of a saved network's file with other weights or metadata."""
    with safe_open(path, framework="pt") as opened:
        metadata = opened.metadata()
    given = {key: json.dumps(value) for key, value in about.items()}
    save_file(weights or load_file(path), to, metadata | given)
    return str(to)


def trained_weights(results: Path) -> dict[str, torch.Tensor]:
    (path,) = results.glob("*.safetensors")
    return load_file(path)


def test_training_begins_with_the_weights_of_the_file(file: str, tmp_path: Path, train) -> None:
    """With a learning rate of 0 it ends with them; only the running statistics go on."""
    for init, same in ((file, True), ("null", False)):
        results = tmp_path / str(same)
        assert train(*SHORT, *STILL, f"init={init}", "save_model=true", f"results={results}").code == 0
        before, after = load_file(file), trained_weights(results)
        weights = [name for name in before if "running" not in name and "num_batches" not in name]
        assert len(weights) == 14
        assert all(torch.equal(before[name], after[name]) for name in weights) is same


@pytest.mark.parametrize("method", every("method"))
def test_every_network_of_a_method_begins_with_it(method: str, file: str, tmp_path: Path) -> None:
    """Further ones keep a last layer of their own; a network that is restarted begins as it first did."""
    cfg = chosen("method", method, *SHORT)
    dataset, labels = load_noisy(cfg)
    components = make_components(cfg)
    first, *_ = assemble(cfg, dataset, labels, components).method.learners()
    outputs = first.network.state_dict()["head.bias"].shape[0]
    weights = {name: (value + 1).contiguous() for name, value in first.network.state_dict().items()}
    cfg.init = changed(file, tmp_path / "init.safetensors", weights, extra_outputs=outputs - 10)
    made = assemble(cfg, dataset, labels, components).method.learners()
    learners = [one for one in made if "head.bias" in one.network.state_dict()]  # a method's own networks begin anew
    heads = []
    for number, learner in enumerate(learners):
        for again in (False, True):
            if again:
                learner.restart(range(1))
            found = learner.network.state_dict()
            differ = {name for name, value in found.items() if not torch.equal(value, weights[name])}
            assert differ == ({"head.weight", "head.bias"} if number else set()), (number, again)
            heads.append(found["head.weight"].clone())
    assert len({tuple(head.flatten().tolist()) for head in heads[2:]}) == len(heads[2:])


def test_before_the_first_step_it_predicts_as_the_saved_network(file: str) -> None:
    cfg = compose([*SHORT, f"init={file}"])
    dataset, labels = load_noisy(cfg)
    made = assemble(cfg, dataset, labels, make_components(cfg))
    saved = compose([*SHORT, "seed=7"])
    other = assemble(saved, dataset, labels, make_components(saved)).method.network
    other.load_state_dict(load_file(file))
    images = made.evaluation.test.images[:50].float()
    with torch.no_grad():
        assert torch.equal(made.method.network.eval()(images), other.eval()(images))


def test_the_content_counts_not_the_path(file: str, tmp_path: Path, train) -> None:
    copy, other = str(tmp_path / "copy.safetensors"), str(tmp_path / "other.safetensors")
    shutil.copy(file, copy)
    changed(file, Path(other), {name: value * 0.5 for name, value in load_file(file).items()})
    results = f"results={tmp_path}"
    assert "is done already" not in train(*SHORT, f"init={file}", results).out
    assert "is done already" in train(*SHORT, f"init={copy}", results).out
    ids = {run_id(effective(compose([*SHORT, *init]))) for init in ([], [f"init={file}"], [f"init={other}"])}
    assert len(ids) == 3
    (record,) = (store.load(path) for path in tmp_path.glob("*.json"))
    assert record["run_id"] in ids
    assert command_of(record) is None  # it does not know the path


def test_a_stopped_run_resumes(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """refinery begins a second network half-way."""
    cfg = compose([*SHORT, "method=refinery", "epochs=4", f"init={file}", f"results={tmp_path / 'stopped'}"])
    with monkeypatch.context() as patch:
        stop_at(3, patch)
        with pytest.raises(Stopped):
            run(cfg, quiet=True)
    resumed = run(cfg, quiet=True)
    assert resumed["environment"]["earlier_pieces"]
    cfg.results = str(tmp_path / "whole")
    assert run(cfg, quiet=True)["history"] == resumed["history"]


@pytest.mark.parametrize(
    ("about", "options", "said"),
    [
        ({}, ["network=cnn8"], "is the network cnn4, and this run's is cnn8"),
        ({"classes": list("abcdefghij")}, [], "was trained on other images or classes than dataset=digits"),
        ({"shape": [1, 30, 30]}, [], "was trained on other images or classes than dataset=digits"),
        ({}, ["loss=gambler"], "does not fit this run's network (size mismatch for head.bias"),
        ({"network": {"_target_": "cnn4", "width": 3}}, [], "its network cnn4 has no argument width"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    about: dict[str, object], options: list[str], said: str, file: str, tmp_path: Path, train
) -> None:
    path = changed(file, tmp_path / "a.safetensors", **about)
    ended = train(*SHORT, f"init={path}", *options, f"results={tmp_path / 'runs'}")
    assert ended.code == 1
    assert ended.err.startswith(f"error: init={path}: ")
    assert said in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("init", "said"),
    [("nowhere.safetensors", "cannot be read (No such file"), ("a.pt", "must be a .safetensors file, or null")],
)
def test_what_is_no_saved_network_is_refused(init: str, said: str, train) -> None:
    ended = train(*SHORT, f"init={init}")
    assert ended.code == 1
    assert ended.err.startswith(f"error: init={init}: {said}")


def test_networks_without_a_last_layer_of_their_own_are_not_begun_twice(file: str, tmp_path: Path) -> None:
    from labelnoise.experiment import saved_network, warm_start
    from labelnoise.networks.cnn import cnn4

    saved = saved_network.read(file)
    network = cnn4(10, 1, 28)
    network.head = None  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"^init=x: a second network needs a last layer of its own"):
        warm_start.begin_with(network, saved, True, "x")
