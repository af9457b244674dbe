"""Methods with a teacher or a peer: what their distances do not see, and who learns from whom."""

import math
from collections.abc import Callable

import pytest
import torch
from support.small_setups import small_setup
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.distillation.attention_transfer import AttentionTransfer, attention_distance
from labelnoise.distillation.dhkd import DHKD, binary_divergence
from labelnoise.distillation.dml import DML
from labelnoise.distillation.kd import KD, softened_divergence
from labelnoise.distillation.relational import Relational
from labelnoise.distillation.similarity import SimilarityPreserving, similarity_distance
from labelnoise.distillation.teaching import Layers, Taught, layers
from labelnoise.losses.base import log_probs
from labelnoise.networks.base import Network
from labelnoise.networks.cnn import cnn4
from labelnoise.training.learner import Learner
from labelnoise.training.method import Method

GIVEN = [0, 1, 2, 1, 0, 2, 2, 1]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def rotation(size: int) -> Tensor:
    return torch.linalg.qr(normal(size, size, seed=5)).Q


def train(method: Method) -> None:
    clock, length = method.clock, method.clock.epochs
    for clock.epoch in range(length):
        method.begin_epoch()
        for feed in method.feeds():
            method.step(feed)


# ----------------------------------------------------------------------------------------------------------- distances


def test_kd_at_a_high_temperature_matches_logits() -> None:
    """Hinton et al. 2015, section 2.1: the gradient becomes (z - t) / C for logits of mean 0."""
    t, z = normal(6, 5), normal(6, 5, seed=1)
    t, z = t - t.mean(1, keepdim=True), (z - z.mean(1, keepdim=True)).requires_grad_()
    distance = softened_divergence(t, z, 1e4)
    (slope,) = torch.autograd.grad(distance, z)
    torch.testing.assert_close(distance, (z - t).square().sum(1).mean() / 10, rtol=1e-3, atol=0)
    torch.testing.assert_close(slope, (z - t) / 5 / 6, rtol=1e-3, atol=1e-5)


def test_kd_at_temperature_1_is_the_divergence_of_the_predictions() -> None:
    t, z = normal(6, 5), normal(6, 5, seed=1)
    p, q = t.softmax(1), z.softmax(1)
    torch.testing.assert_close(softened_divergence(t, z, 1.0), (p * (p / q).log()).sum(1).mean())


def relational() -> Relational:
    return Relational(small_setup(GIVEN), first=0.5, teacher=None, distance_weight=25.0, angle_weight=50.0)


def features(values: Tensor) -> Layers:
    return Layers(values, values, {})


def test_rkd_does_not_see_rotation_shift_and_scale() -> None:
    method, own = relational(), normal(7, 4)
    moved = 3 * own @ rotation(4) + normal(4, seed=2)
    assert float(method.distance(features(own), features(moved))) < 1e-20
    assert float(method.distance(features(own), features(own * torch.tensor([1.0, 1.0, 1.0, 4.0])))) > 0.1


def test_rkd_is_that_of_pairs_and_triplets() -> None:
    """Beside loops over them."""
    taught, own = normal(5, 4), normal(5, 6, seed=1)

    def far(x: Tensor) -> list[Tensor]:
        all_pairs = [(x[i] - x[j]).norm() for i in range(5) for j in range(5)]
        mean = sum(all_pairs) / 20
        return [one / mean for one in all_pairs]

    def turned(x: Tensor) -> list[Tensor]:
        def angle(i: int, j: int, k: int) -> Tensor:
            if i in (j, k):
                return torch.tensor(0.0).double()
            return F.cosine_similarity(x[j] - x[i], x[k] - x[i], dim=0)

        return [angle(i, j, k) for i in range(5) for j in range(5) for k in range(5)]

    def huber(a: list[Tensor], b: list[Tensor]) -> float:
        gaps = [abs(float(x - y)) for x, y in zip(a, b, strict=True)]
        return sum(gap**2 / 2 if gap < 1 else gap - 0.5 for gap in gaps) / len(gaps)

    expected = 25 * huber(far(taught), far(own)) + 50 * huber(turned(taught), turned(own))
    assert float(relational().distance(features(taught), features(own))) == pytest.approx(expected)


def test_rkd_stays_finite_where_images_coincide() -> None:
    own = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(relational().distance(features(normal(4, 3)), features(own)), own)
    assert bool(slope.isfinite().all())


def test_sp_does_not_see_rotation_and_scale() -> None:
    taught = normal(6, 3, 2, 2)
    moved = 0.5 * (taught.flatten(1) @ rotation(12)).view(6, 12, 1, 1)
    assert float(similarity_distance(taught, moved)) < 1e-20
    assert float(similarity_distance(taught, normal(6, 3, 2, 2, seed=1))) > 1e-2


def test_at_sees_places_not_channels() -> None:
    """Channels may be turned into each other, and all activations scaled; a place may not be moved."""
    taught = normal(4, 6, 3, 3)
    turned = 2 * torch.einsum("bchw,cd->bdhw", taught, rotation(6))
    assert float(attention_distance({(3, 3): taught}, {(3, 3): turned})) < 1e-20
    assert float(attention_distance({(3, 3): taught}, {(3, 3): taught.flip(3)})) > 1e-3


def test_at_needs_maps_of_one_size() -> None:
    with pytest.raises(
        ValueError,
        match=r"^method=kd_at: needs feature maps of one size in network and method.teacher; there are none$",
    ):
        attention_distance({(3, 3): normal(2, 1, 3, 3)}, {(4, 4): normal(2, 1, 4, 4)})


@pytest.mark.parametrize("method", [AttentionTransfer, SimilarityPreserving])
def test_networks_without_maps_are_refused_before_the_first_step(method: type[Taught]) -> None:
    """Not when the teacher is trained."""

    def flat(**_: object) -> Learner:
        network = Network(nn.Flatten(), nn.Linear(16, 3))
        return Learner(network, torch.optim.Adam, lambda *_: 1.0, range(10), None, torch.float32)

    made = method(small_setup(GIVEN)._replace(make_learner=flat), first=0.5, teacher=None, weight=1.0)
    with pytest.raises(ValueError, match=r"^method=kd_\w+: needs feature maps .*in network and method\.teacher; "):
        made.begin_epoch()


def test_a_network_without_features_is_refused_before_the_first_step() -> None:
    with pytest.raises(
        ValueError, match=r"^network: must have features\(images\) -> \(B, D\), which the method compares$"
    ):
        relational().begin_epoch()


def test_a_run_of_one_epoch_is_refused() -> None:
    """It would leave the student as it was at the start."""
    with pytest.raises(ValueError, match=r"^epochs=1: must be at least 2, because the method trains 2 networks$"):
        KD(small_setup(GIVEN, epochs=1), first=0.5, teacher=None, weight=0.9, temperature=4.0)


def test_layers_are_the_last_activations_of_each_resolution() -> None:
    """Of cnn4 on 8x8 pixels: after its two poolings, and the hidden layer."""
    network = cnn4(3, 1, 8).double().eval()
    made = Learner(network, torch.optim.Adam, lambda epoch, epochs: 1.0, range(1), None, torch.float32).eval()
    images = normal(2, 1, 8, 8)
    found = layers(made, images)
    assert list(found.maps) == [(4, 4), (2, 2)]
    first = network.body[:2](images)
    torch.testing.assert_close(found.maps[4, 4], first)
    torch.testing.assert_close(found.maps[2, 2], network.body[2:4](first))
    torch.testing.assert_close(found.logits, network.head(found.features))
    assert not any(part._forward_hooks for part in network.modules()), "nothing stays behind"


# ------------------------------------------------------------------------------------------------------------ training


def kd(weight: float = 0.9) -> KD:
    return KD(small_setup(GIVEN), first=0.5, teacher=None, weight=weight, temperature=4.0)


def linear(method: Taught) -> tuple[nn.Linear, nn.Linear]:
    return method.student.network[1], method.teacher.network[1]


def test_the_teacher_learns_first_then_the_student() -> None:
    method = kd()
    changed = []
    for method.clock.epoch in range(10):
        before = [layer.weight.clone() for layer in linear(method)]
        method.step(method.feeds()[0])
        changed.append(
            [not torch.equal(*both) for both in zip(before, [x.weight for x in linear(method)], strict=True)]
        )
    assert changed == [[False, True]] * 5 + [[True, False]] * 5
    assert (method.student.during, method.teacher.during) == (range(5, 10), range(5))
    assert method.network is method.student.network


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_students_step_is_that_of_the_equation(weight: float) -> None:
    """By hand, for a linear network: the logits' gradient is (1 - w) (p - e) / B + w T (p_T - t_T) / B."""
    method = kd(weight)
    method.clock.epoch = 5
    student, teacher = linear(method)
    x = method.train_set.plain(torch.arange(8)).flatten(1)
    z, t = (F.linear(x, layer.weight, layer.bias).detach() for layer in (student, teacher))
    before, e = student.weight.detach().clone(), F.one_hot(method.train_set.labels, 3)
    result = method.step(method.feeds()[0])
    slope = (1 - weight) * (z.softmax(1) - e) + 4 * weight * ((z / 4).softmax(1) - (t / 4).softmax(1))
    torch.testing.assert_close(student.weight.detach(), before - 0.1 * slope.T @ x / 8)
    assert result.target is not None
    assert result.index is not None
    assert torch.equal(result.target, t.argmax(1)[result.index])


def test_the_judgement_is_the_teachers() -> None:
    method = kd()
    train(method)
    judged = method.judgement()
    p = method.teacher.evaluated(method.train_set.plain(torch.arange(8))).softmax(1)
    torch.testing.assert_close(judged.clean, p[range(8), GIVEN].float())
    assert torch.equal(judged.proposed, p.argmax(1))


# ----------------------------------------------------------------------------------------------------------------- dml


def test_dmls_networks_are_symmetric() -> None:
    """If they change places at the start, they do at the end; and they come closer than without each other."""
    methods = [DML(small_setup(GIVEN), weight=weight) for weight in (1.0, 1.0, 0.0)]
    first, second = methods[1].both
    states = [{k: v.clone() for k, v in one.network.state_dict().items()} for one in (first, second)]
    first.network.load_state_dict(states[1])
    second.network.load_state_dict(states[0])
    for method in methods:
        train(method)
    one, swapped, alone = ([learner.network[1].weight.detach() for learner in method.both] for method in methods)
    assert torch.equal(one[0], swapped[1])
    assert torch.equal(one[1], swapped[0])
    assert float((one[0] - one[1]).norm()) < float((alone[0] - alone[1]).norm())


def test_dmls_gradient_does_not_reach_the_peer() -> None:
    """By hand, for a linear network: the logits' gradient is (p - e + p - p') / B."""
    method = DML(small_setup(GIVEN), weight=1.0)
    x = method.train_set.plain(torch.arange(8)).flatten(1)
    layers = [learner.network[1] for learner in method.both]
    p, other = (F.linear(x, layer.weight, layer.bias).softmax(1).detach() for layer in layers)
    before = layers[0].weight.detach().clone()
    index = torch.arange(8)
    method.step(method.feeds()[0]._replace(index={"train": index}))
    slope = (p - F.one_hot(method.train_set.labels, 3) + p - other).T @ x / 8
    torch.testing.assert_close(layers[0].weight.detach(), before - 0.1 * slope)


# ---------------------------------------------------------------------------------------------------------------- dhkd


def dhkd(align: bool) -> DHKD:
    setup = small_setup(GIVEN)
    make: Callable[..., Learner] = setup.make_learner

    def two_heads(extra_outputs: int = 0, **rest: object) -> Learner:
        return (
            Learner(Shared(), torch.optim.SGD, lambda *_: 1.0, range(10), None, torch.float32)
            if extra_outputs
            else make(**rest)
        )

    return DHKD(setup._replace(make_learner=two_heads), 0.5, None, weight=2.0, temperature=2.0, align=align)


class Shared(nn.Sequential):
    """A body of four features and two heads."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__(nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 6))


def test_binary_divergence_is_nothing_where_the_logits_match_only() -> None:
    """It sees what softmax does not: logits that are all higher."""
    t = normal(6, 5)
    assert float(binary_divergence(t, t.clone(), 2.0)) == pytest.approx(0, abs=1e-15)
    shifted = float(binary_divergence(t, t + 3, 2.0))
    s = 1 / (1 + math.exp(-1.5))
    assert shifted == pytest.approx(4 * 5 * (-math.log(2) - 0.5 * math.log(s) - 0.5 * math.log(1 - s)))
    assert float(softened_divergence(t, t + 3, 2.0)) == pytest.approx(0, abs=1e-15)
    z = torch.full((1, 2), 1e4, requires_grad=True)
    value = binary_divergence(-z.detach(), z, 2.0)
    value.backward()
    assert bool(value.isfinite())
    assert bool(z.grad.isfinite().all())


def test_dhkds_first_head_learns_from_labels_only() -> None:
    """And its second one from the teacher only."""
    method = dhkd(align=False)
    batch = method.train_set.batch(torch.arange(8))
    x = batch.images
    z, second = method.student(x).chunk(2, dim=1)
    lesson = method.lesson(batch)
    head = method.student.network[2].weight
    (slope,) = torch.autograd.grad(lesson.loss, head)
    (of_labels,) = torch.autograd.grad(F.cross_entropy(z, batch.labels), head, retain_graph=True)
    (of_teacher,) = torch.autograd.grad(2 * binary_divergence(method.teacher(x).detach(), second, 2.0), head)
    torch.testing.assert_close(slope[:3], of_labels[:3])
    torch.testing.assert_close(slope[3:], of_teacher[3:])
    assert torch.equal(method.predict(x), z)


@pytest.mark.parametrize("opposed", [True, False])
def test_dhkd_aligns_gradients_that_point_apart(opposed: bool) -> None:
    """After it, the second term's gradient is at a right angle to the first one's, or as before."""
    method = dhkd(align=True)
    weights = list(method.student.network.parameters())
    x = method.train_set.plain(torch.arange(8))
    given = F.cross_entropy(method.student(x)[:, :3], method.train_set.labels)
    pull = log_probs(method.student(x)[:, :3])[range(8), method.train_set.labels].mean() * (1 if opposed else -1)
    distance = 0.7 * pull + method.student(x)[:, 3:].square().mean()
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(v, weights, retain_graph=True)]) for v in (given, distance)
    ]
    g, other = flat
    assert (float(g @ other) < 0) == opposed
    aligned = torch.cat([a.flatten() for a in torch.autograd.grad(method.aligned(given, distance), weights)])
    left = aligned - g
    if opposed:
        assert abs(float(left @ g)) < 1e-6
        torch.testing.assert_close(left, other - (other @ g) / (g @ g) * g)
    else:
        torch.testing.assert_close(left, other)
