"""What the interface gives a method: stages, new starts, chained looks ahead, memories, saved teachers, named steps."""

import copy
import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import stop_at
from support.configs import chosen, composed, every
from support.permuted_truth import COMMON, small
from support.small_setups import small_setup
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.config.check import check
from labelnoise.data.train_set import TrainSet, normalise
from labelnoise.experiment.assemble import Assembled, assemble
from labelnoise.experiment.components import Components, make_loss
from labelnoise.experiment.metrics import summarise
from labelnoise.experiment.run import compose, run
from labelnoise.methods.erm import ERM
from labelnoise.networks.cnn import cnn4
from labelnoise.training import schedules
from labelnoise.training.clock import Clock
from labelnoise.training.device import prepare
from labelnoise.training.learner import Learner, Learners
from labelnoise.training.loop import fit
from labelnoise.training.method import Feed, Judgement, Setup, StepResult
from labelnoise.training.state import TrainState

IMAGES = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def learner(during: range = range(10), seed: int = 0, precision: torch.dtype = torch.float32) -> Learner:
    """A convolutional network with batch normalisation, which can be restarted."""

    def initial(start: int) -> nn.Module:
        torch.manual_seed(1000 * start + seed)
        return cnn4(3, 1, 8)

    momentum = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    return Learner(initial(0), momentum, schedules.cosine, during, None, precision, make_again=initial)


def learn(made: Learner, steps: int = 3) -> None:
    for _ in range(steps):
        made.update(F.cross_entropy(made(IMAGES), LABELS))


def state(module: nn.Module) -> list[Tensor]:
    return list(copy.deepcopy(module.state_dict()).values())


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(state(one), state(other), strict=True))


def built(*overrides: str) -> Assembled:
    """The method of a configuration, on 120 small digits."""
    cfg = composed(*COMMON, *overrides)
    return assemble(cfg, *small(), Components(make_loss(cfg), prepare("cpu", "float32", 1)))


# ------------------------------------------------------------------------------------------------------------ stages


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 200])
@pytest.mark.parametrize("fractions", [(), (0.3,), (0.3, 0.3), (0.0,), (0.0, 1.0), (0.3, 0.0), (1.0, 1.0, 1.0)])
def test_stages_divide_the_run(epochs: int, fractions: tuple[float, ...]) -> None:
    clock = Clock(epochs, 32)
    stages = clock.stages(*fractions)
    assert [epoch for stage in stages for epoch in stage] == list(range(epochs))
    assert len(stages) == len(fractions) + 1
    asked = 1 + sum(fraction > 0 for fraction in fractions)
    assert sum(len(stage) > 0 for stage in stages) == min(epochs, asked), "each lasts an epoch if it can"
    assert all(not stage for stage, fraction in zip(stages, fractions, strict=False) if fraction == 0)
    for clock.epoch in range(epochs):
        assert clock.epoch in stages[clock.stage(*fractions)]
    if epochs == 200 and fractions == (0.3, 0.3):
        assert stages == [range(0, 60), range(60, 120), range(120, 200)]


def test_a_length_of_nothing_is_no_epoch() -> None:
    clock = Clock(10, 32)
    assert [clock.length(fraction) for fraction in (0, 0.01, 0.26, 1)] == [0, 1, 3, 10]
    assert [clock.ramp(since, 0) for since in (-1, 0, 5)] == [0, 1, 1]


def first_steps(epoch: int, *overrides: str) -> set[tuple[str | int, ...]]:
    """The steps of an epoch of a method that has not trained."""
    method = built(*overrides).method
    method.clock.epoch = epoch
    method.begin_epoch()
    return {feed.step for feed in method.feeds()}


@pytest.mark.parametrize("name", ["car", "co_teaching_plus", "divide_mix", "marvel", "marvel_plus", "mslg"])
def test_without_a_warm_up_the_first_epoch_is_as_the_later_ones(name: str) -> None:
    run_of_ten = (f"method={name}", "epochs=10")
    late = first_steps(9, *run_of_ten, "method.warm_up=0.2")
    assert first_steps(0, *run_of_ten, "method.warm_up=0") == late
    assert first_steps(0, *run_of_ten, "method.warm_up=0.2") != late


def test_every_method_with_a_warm_up_honours_none_or_refuses_it() -> None:
    honours = {"car", "co_teaching_plus", "divide_mix", "drpl", "marvel", "marvel_plus", "mslg"}
    for name in every("method"):
        cfg = chosen("method", name, *COMMON)
        if "warm_up" not in cfg.method or name in honours:
            continue
        cfg.method.warm_up = 0.0
        with pytest.raises(ValueError, match=r"^method.warm_up=0.0: must be a number above 0 and at most 1$"):
            check(cfg)


def test_a_learners_schedule_runs_over_its_stage() -> None:
    made = learner(during=range(4, 8))
    rates = []
    for epoch in range(4, 8):
        made.begin_epoch(epoch)
        rates.append(made.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1 * schedules.cosine(epoch, 4) for epoch in range(4)])


def test_a_restart_is_a_new_beginning_in_place() -> None:
    made = learner()
    places = [value.data_ptr() for value in made.network.state_dict().values()]
    made.begin_epoch(9)
    learn(made)
    made.restart(during=range(3, 9))
    assert [value.data_ptr() for value in made.network.state_dict().values()] == places
    fresh = learner(seed=1000)
    assert equal(made.network, fresh.network), "running statistics too"
    assert not equal(made.network, learner().network), "not the first weights again"
    assert made.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    learn(made)
    learn(fresh)
    assert equal(made.network, fresh.network), "no momentum from before"
    made.restart(during=range(9, 10))
    assert equal(made.network, learner(seed=2000).network)


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_learner_resumes_whenever_it_was_restarted(restarts: int) -> None:
    source, target = learner(), learner()
    for number in range(restarts):
        learn(source)
        source.restart(during=range(number + 1, 9))
    learn(source)
    learn(target, 1)
    target.load_state_dict(copy.deepcopy(source.state_dict()))
    for one in (source, target):
        one.begin_epoch(5)
        learn(one)
    assert source.optimizer.param_groups[0]["lr"] == target.optimizer.param_groups[0]["lr"], "the same stage"
    assert equal(source.network, target.network)
    for one in (source, target):
        one.restart(during=range(8, 10))
        learn(one)
    assert equal(source.network, target.network)


def test_new_starts_differ_between_networks_and_depend_on_seed_init_alone() -> None:
    def starts(*seeds: str) -> list[list[Tensor]]:
        make = built(*seeds).method.make_learner
        found = []
        for made in (make(), make()):
            for start in range(3):
                found.append(state(made.network))
                made.restart(during=range(start, 9))
        return found

    def same(a: list[Tensor], b: list[Tensor]) -> bool:
        return all(map(torch.equal, a, b))

    found = starts()
    assert not any(same(a, b) for a, b in itertools.combinations(found, 2)), "three starts of two networks"
    assert all(map(same, found, starts("seed_data=7", "seed_noise=8")))
    assert not any(map(same, found, starts("seed_init=7")))


def test_the_last_stage_decides_what_is_best_and_what_is_chosen() -> None:
    history = {"test_acc": [0.9, 0.2, None, 0.5, 0.6, 0.4], "val_acc": [0.9, 0.1, None, 0.7, 0.2, 0.1]}
    whole = summarise(history)
    assert (whole["test_acc_best"], whole["test_acc_val"]) == (0.9, 0.9)
    staged = summarise({**history, "stage": [0, 0, 1, 1, 1, 1]})
    assert (staged["test_acc_best"], staged["test_acc_val"], staged["test_acc_last"]) == (0.6, 0.5, 0.4)
    assert staged["test_acc_last10"] == pytest.approx(0.5)


def test_a_run_of_two_trainings_says_which_an_epoch_belongs_to(tmp_path: Path) -> None:
    common = ["dataset=digits", "noise=sym", "rate=0.4", "num_trusted=1300", "threads=1", "epochs=4", "network=cnn4"]
    history = run(compose([*common, "method=refinery", "method.first=0.5", f"results={tmp_path}"]), quiet=True)[
        "history"
    ]
    assert history["stage"] == [0, 0, 1, 1]
    assert "stage" not in run(compose([*common, "method=divide_mix", f"results={tmp_path}"]), quiet=True)["history"]


# --------------------------------------------------------------------------------------------------------- one learner


def test_looks_ahead_are_chained() -> None:
    """Two virtual steps and the slope of what comes after, against finite differences in float64."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    made = Learner(network, partial(torch.optim.SGD, lr=0.3), schedules.constant, range(1), None, torch.float32)
    images, start = IMAGES.double(), copy.deepcopy(network.state_dict())

    def after(weights: Tensor) -> Tensor:
        """The loss on half of the images after two steps on the other half, whose losses have these weights."""
        ahead = None
        for rate in (None, 0.7):
            losses = F.cross_entropy(made(images[:3], ahead), LABELS[:3], reduction="none")
            ahead = made.lookahead((weights * losses).sum(), ahead, rate)
        return F.cross_entropy(made(images[3:], ahead), LABELS[3:])

    weights = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(after(weights), weights)
    for k in range(3):
        shift = torch.zeros(3, dtype=torch.float64).index_fill_(0, torch.tensor(k), 1e-5)
        difference = (after(weights.detach() + shift) - after(weights.detach() - shift)) / 2e-5
        assert float(slope[k]) == pytest.approx(float(difference.detach()), rel=1e-6)

    for rate in (0.3, 0.7):  # the same two steps by torch's optimizer
        optimizer = torch.optim.SGD(network.parameters(), lr=rate)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images[:3]), LABELS[:3], reduction="none")
        (weights.detach() * loss).sum().backward()
        optimizer.step()
    expected = F.cross_entropy(network(images[3:]), LABELS[3:])
    network.load_state_dict(start)
    assert float(after(weights).detach()) == pytest.approx(float(expected.detach()), rel=1e-12)


def test_features_at_other_weights() -> None:
    made, other = learner(), learner(seed=5)
    weights = dict(other.network.named_parameters())
    before = state(made.network)
    logits, features = made.with_features(IMAGES, weights)
    expected = copy.deepcopy(made.network)
    expected.load_state_dict({**expected.state_dict(), **other.network.state_dict()})
    torch.testing.assert_close(features, expected.features(IMAGES))
    torch.testing.assert_close(logits, expected(IMAGES))
    torch.testing.assert_close(logits, made(IMAGES, weights))
    assert all(map(torch.equal, before, state(made.network))), "running statistics too"
    assert features.shape == (6, made.num_features)
    assert learner(precision=torch.bfloat16).with_features(IMAGES, weights)[0].dtype == torch.bfloat16


def test_an_update_fills_its_own_gradients_only() -> None:
    made, other = learner(), learner(seed=1)
    own = torch.ones(6, requires_grad=True)
    made.update((own * F.cross_entropy(made(IMAGES) + other(IMAGES), LABELS, reduction="none")).mean())
    assert all(weight.grad is not None for weight in made.network.parameters())
    assert own.grad is None
    assert all(weight.grad is None for weight in other.network.parameters())


def test_a_teacher_answers_as_in_evaluation_and_learns_nothing() -> None:
    made = learner()
    learn(made)
    made.train()
    before = state(made.network)
    answered = made.evaluated(IMAGES)
    assert made.network.training
    assert not answered.requires_grad
    assert all(map(torch.equal, before, state(made.network)))
    assert torch.equal(answered, made.network.eval()(IMAGES))


# --------------------------------------------------------------------------------------------------------- the method


class Named(ERM):
    """Two kinds of steps, one with numbers of its own."""

    def feeds(self) -> list[Feed]:
        return [*self.every_image("train"), *self.every_image("count", 2, "x")]

    def count_step(self, feed: Feed, number: int, text: str) -> StepResult:
        loss = torch.tensor(float(number))
        return StepResult(loss, metrics={text: loss})


def test_a_step_is_found_by_its_name() -> None:
    method = Named(small_setup([0, 1, 2]))
    one, two = (method.step(feed) for feed in method.feeds())
    assert one.predicted is not None
    assert (float(two.loss), list(two.metrics)) == (2.0, ["x"])
    with pytest.raises(AttributeError, match=r"Named has no mix_step, for its feeds \('mix', 1\)"):
        method.step(Feed(("mix", 1), {}))


def test_a_memory_has_a_place_for_each_image() -> None:
    method = ERM(small_setup([0, 1, 2, 0]))
    method.remember("seen", dtype=torch.long)
    method.remember("target", (3,), F.one_hot(torch.tensor([0, 1, 2, 0]), 3))
    method.remember("share", (2,), 0.5)
    assert (method.seen.dtype, method.seen.tolist()) == (torch.long, [0] * 4)
    assert (method.target.dtype, method.target.argmax(1).tolist()) == (torch.float32, [0, 1, 2, 0])
    assert torch.equal(method.share, torch.full((4, 2), 0.5))
    assert list(method.memories()) == ["seen", "target", "share"]
    assert {"seen", "target", "share"} < set(method.state_dict())


@pytest.mark.parametrize("name", every("method"))
def test_what_a_method_stores_for_each_image_is_a_memory(name: str) -> None:
    cfg = chosen("method", name, *COMMON, num_trusted=20)
    method = assemble(cfg, *small(), Components(make_loss(cfg), prepare("cpu", "float32", 1))).method
    count = len(method.train_set)
    of_images = {own for own, buffer in method._buffers.items() if buffer is not None and buffer.shape[:1] == (count,)}
    assert count > 100
    assert of_images == method.memories().keys()


def test_learners_in_a_list() -> None:
    two = Learners(learner(seed=seed) for seed in (0, 1))
    assert [type(one) for one in two] == [Learner, Learner]
    assert two[1] is list(two)[1]
    assert len(two.state_dict()) == 2 * len(two[0].state_dict())


def test_the_audit_of_soft_targets() -> None:
    target = torch.tensor([[0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    audit = Judgement.of_target(target, torch.tensor([2, 1]))
    assert audit.clean.tolist() == pytest.approx([0.3, 0.8])
    assert audit.proposed is not None
    assert audit.proposed.tolist() == [0, 1]


class Doubting(ERM):
    """With two further predictions: one that is wrong where the method is right, and the same one."""

    def apart(self) -> dict[str, object]:
        return {"opposite": lambda images: -self.predict(images), "same": self.predict}


def test_further_predictions_are_evaluated_apart() -> None:
    made = built("epochs=2", "eval_every=2")
    method = Doubting(Setup(*(getattr(made.method, n) for n in ("make_learner", "loss", "train_set", "clock"))))
    progress = TrainState()
    fit(method, progress, made.evaluation)
    history = progress.history
    assert history["same_test_acc"] == history["test_acc"]
    assert history["test_acc"][0] is None
    assert history["opposite_test_acc"][0] is None
    test = made.evaluation.test
    with torch.no_grad():
        least = method.eval().predict(normalise(test.images, test.mean, test.std)).argmin(dim=1)
    assert history["opposite_test_acc"][1] == pytest.approx(float((least == test.labels).double().mean()))


def test_a_method_knows_the_superclasses() -> None:
    assert built().method is not None
    cfg = composed(*COMMON, "method._target_=test_interface.Superclassed")
    dataset, labels = small()
    groups = torch.arange(10) // 2
    place = prepare("cpu", "float32", 1)
    for given in (groups, None):
        method = assemble(cfg, dataset._replace(superclass=given), labels, Components(make_loss(cfg), place)).method
        assert method.seen is given if given is None else torch.equal(method.seen, given)


class Superclassed(ERM):
    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.register_buffer("seen", setup.superclass, persistent=False)


# ------------------------------------------------------------------------------------------------------ a saved teacher


class Taught(ERM):
    """With a saved teacher, whose answers for the training images it remembers."""

    def __init__(self, setup: Setup, teacher: str) -> None:
        super().__init__(setup)
        assert setup.load_network is not None
        self.teacher = setup.load_network(teacher, "method.teacher")
        self.remember("taught", (setup.train.num_classes,))

    def train_step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        self.taught[index] = self.teacher(self.train_set.plain(index))
        return super().train_step(feed)


@pytest.mark.parametrize("own", ["loss=ce", "loss=gambler"])
def test_a_saved_network_teaches(own: str, tmp_path: Path) -> None:
    common = ["dataset=digits", "num_trusted=1300", "threads=1", "epochs=1", "network=cnn4", "precision=float32"]
    first = [*common, own, "save_model=true", f"results={tmp_path}"]
    record = run(compose(first), quiet=True)
    from labelnoise.experiment.run import train

    trained = train(compose([*first, "force=true"]), quiet=True).method.eval()
    file = tmp_path / f"{record['run_id']}.safetensors"
    job = [*common, "method._target_=test_interface.Taught", f"+method.teacher={file}", f"results={tmp_path}/student"]
    again = train(compose(job), quiet=True)
    with torch.no_grad():
        expected = trained.predict(trained.train_set.plain(torch.arange(137)))
    torch.testing.assert_close(again.method.taught, expected)
    assert not again.method.teacher.network.training, "also while the method trains"
    assert not any(weight.requires_grad for weight in again.method.teacher.parameters())
    copied = tmp_path / "elsewhere.safetensors"
    copied.write_bytes(file.read_bytes())
    elsewhere = run(compose([*job[:-2], f"+method.teacher={copied}", job[-1]]), quiet=True)
    assert elsewhere["run_id"] == again.record["run_id"], "the content counts, not the path"
    assert elsewhere["config"]["method"]["teacher"].startswith("sha256:")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("none.safetensors", "method.teacher=none.safetensors: cannot be read (No such file or directory)"),
        ("text.safetensors", "method.teacher=text.safetensors: not a network saved with save_model=true ("),
    ],
)
def test_what_is_no_teacher_is_refused(file: str, said: str, tmp_path: Path, monkeypatch, train) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("no network")
    job = ["dataset=digits", "threads=1", "epochs=1", "method._target_=test_interface.Taught"]
    ended = train(*job, f"+method.teacher={file}", "results=runs")
    assert ended.code == 1
    assert said in ended.err
    assert not Path("runs").exists()


def test_images_are_normalised_as_the_teacher_knows_them() -> None:
    from labelnoise.training.frozen import Frozen

    pixels = np.random.RandomState(0).rand(4, 3, 2, 2)
    trained, given = ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)), ((0.5, 0.5, 0.5), (0.1, 0.3, 0.2))

    def scaled(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        columns = [np.array(v)[:, None, None] for v in (mean, std)]
        return torch.from_numpy((pixels - columns[0]) / columns[1]).float()

    asked = Frozen(nn.Flatten(), 100, torch.float32, trained, given)(scaled(*given))
    torch.testing.assert_close(asked, scaled(*trained).flatten(1))
    same = Frozen(nn.Flatten(), 3, torch.float32, given, given)(scaled(*given))
    assert torch.equal(same, scaled(*given).flatten(1)[:, :3]), "bit for bit, and without further outputs"


# ------------------------------------------------------------------------------------------------ the step's number


def test_a_loss_may_know_the_number_of_the_update() -> None:
    made = built("loss._target_=support.toy_losses.of_step", "epochs=2")
    progress = TrainState()
    fit(made.method, progress, made.evaluation)
    count = -(-len(made.method.train_set) // 60)
    sizes = [len(index) for index in torch.arange(len(made.method.train_set)).split(60)]
    numbers = [[0, 1], [2, 3]]
    assert count == 2
    expected = [sum(n * size for n, size in zip(row, sizes, strict=True)) / sum(sizes) for row in numbers]
    assert progress.history["train_loss"] == pytest.approx(expected, abs=1e-4), "before this update: 0, 1, 2, ..."
    assert built().method.clock.steps is None, "nothing counts where no loss asks"


def test_the_number_of_the_update_survives_a_stop(tmp_path: Path, monkeypatch) -> None:
    from labelnoise.training import checkpoints, signals

    common = ["dataset=digits", "num_trusted=1300", "threads=1", "epochs=3", "network=cnn4"]
    job = [*common, "loss._target_=support.toy_losses.of_step"]
    whole = run(compose([*job, f"results={tmp_path}/whole"]), quiet=True)
    monkeypatch.setattr(checkpoints, "AT_LEAST", 0.0)
    stop_at(7, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(compose([*job, f"results={tmp_path}"]), quiet=True)
    monkeypatch.undo()
    assert run(compose([*job, f"results={tmp_path}"]), quiet=True)["history"] == whole["history"]


def test_trusted_images_are_a_training_set_of_their_own() -> None:
    trusted = built("method=l2rw").method.train_set.trusted
    assert isinstance(trusted, TrainSet)
    assert trusted.view(torch.tensor([0, 1])).shape == (2, 1, 8, 8)
