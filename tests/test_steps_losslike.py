"""Methods with a loss of their own beside plain loops of their papers' equations, step by step in float64."""

import copy
import math

import pytest
import torch
from support.plain_training import CLASSES, Plain, one_hot, train_both
from torch import Tensor
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")


def test_elr() -> None:
    """Liu et al. 2020, equations 4 and 5; p is clipped, and normalised in t, as released."""
    clipped, pulls = [], []

    def loop(plain: Plain) -> None:
        t = plain.memory["target"] = torch.zeros(len(plain), CLASSES).double()
        for _ in plain.epochs():
            for index in plain.batches():
                z = plain.network(plain.view(index))
                p = F.softmax(z, 1).clamp(1e-4, 1 - 1e-4)
                clipped.append(float(p.detach().min()) == 1e-4)
                t[index] = 0.7 * t[index] + 0.3 * (p / p.sum(1, keepdim=True)).detach()
                reg = torch.log(1 - (p * t[index]).sum(1))
                pulls.append(float(reg.detach().min()))
                plain.descend(F.cross_entropy(z, plain.labels[index]) + 3 * reg.mean())

    train_both(loop, ["method=elr", "method.lam=3", "method.beta=0.7"], epochs=8)
    assert any(clipped)
    assert min(pulls) < -0.5


def test_sop() -> None:
    """Liu et al. 2022, equations 4 to 8: s_i = u^2 y - v^2 (1 - y); v and u by the squared error, u by both."""
    largest = {"u": 0.0, "v": 0.0}

    def loop(plain: Plain) -> None:
        us, vs = (1e-8 * torch.randn(len(plain), width) for width in (1, CLASSES))
        us, vs = plain.memory["u"], plain.memory["v"] = us.double(), vs.double()
        for _ in plain.epochs():
            for index in plain.batches():
                u, v = us[index].requires_grad_(), vs[index].requires_grad_()
                p, y = F.softmax(plain.network(plain.view(index)), 1), one_hot(plain.labels[index])
                more, less = (u**2 * y).clamp(max=1), (v**2 * (1 - y)).clamp(max=1)
                whole = (p + more - less.detach()).clamp(min=1e-4)
                share = (whole / whole.sum(1, keepdim=True)).clamp(min=1e-4)
                error = one_hot(p.argmax(1)) + more - less - y
                value = -(y * share.log()).sum(1).mean() + (error**2).sum(1).mean()
                du, dv = torch.autograd.grad(value, (u, v), retain_graph=True)
                us[index], vs[index] = (u - 40 * du).detach(), (v - 60 * dv).detach()
                plain.descend(value)
        largest.update(u=float(us.abs().max()), v=float(vs.abs().max()))

    train_both(loop, ["method=sop", "method.lr_u=40", "method.lr_v=60"], epochs=6)
    assert largest["u"] > 1  # clipped to 1 there
    assert largest["v"] > 0.1


@pytest.mark.parametrize(("normalize", "tau"), [(True, 0.5), (False, 0.1)])
def test_sr(normalize: bool, tau: float) -> None:
    """Zhou et al. 2021, algorithm 1; the floor of p in the penalty as released."""
    floored = []

    def loop(plain: Plain) -> None:
        lam = 0.3
        for epoch in plain.epochs():
            for index in plain.batches():
                z = plain.network(plain.view(index))
                z = (z / (z**2).sum(1, keepdim=True).sqrt() if normalize else z) / tau
                p = F.softmax(z, 1)
                floored.append(float(p.detach().min()) < 1e-7)
                penalty = (p.clamp(min=1e-7) ** 0.2).sum(1).mean()
                plain.descend(F.cross_entropy(z, plain.labels[index]) + lam * penalty)
            lam = 2 * lam if (epoch + 1) % 2 == 0 else lam

    own = f"method.temperature={tau} method.power=0.2 method.lam=0.3 method.growth=2 method.every=2"
    train_both(loop, ["method=sr", *own.split(), f"method.normalize={normalize}"])
    assert any(floored) != normalize


def test_aldr_kl() -> None:
    """Zhu et al. 2023, equation 6 with the temperature's iteration; logits divided by their mean size, as released."""
    coldest = []

    def loop(plain: Plain) -> None:
        first, alpha, margin = 1.0, 2.0, 0.1
        t = torch.full((len(plain), 1), first).double()
        for _ in plain.epochs():
            for index in plain.batches():
                z = plain.network(plain.view(index))
                z = z * CLASSES / z.abs().sum(1, keepdim=True)
                with torch.no_grad():
                    q = F.softmax(z / t[index], 1) + 1e-5
                    q = q / q.sum(1, keepdim=True)
                    kl = (q * (CLASSES * q).log()).sum(1, keepdim=True)
                    t[index] = first - first * kl / (alpha * math.log(CLASSES))
                y, now = one_hot(plain.labels[index]), t[index]
                ahead = z - (z * y).sum(1, keepdim=True) + margin * (1 - y)
                robust = now * (ahead / now).exp().mean(1, keepdim=True).log()
                plain.descend((robust - alpha * math.log(CLASSES) / (2 * first) * (now - first) ** 2).mean())
        coldest.append(float(t.min()))
        plain.memory["temperature"] = t[:, 0]

    own = "method.initial=1 method.alpha=2 method.margin=0.1"
    train_both(loop, ["method=aldr_kl", *own.split()])
    assert 0.5 < min(coldest) < 0.9  # t0 / 2 where the prediction is certain


@pytest.mark.parametrize(("kind", "beta"), [("soft", 0.95), ("hard", 0.8)])
def test_bootstrap(kind: str, beta: float) -> None:
    """Reed et al. 2015, equations 6 and 7."""

    def loop(plain: Plain) -> None:
        for _ in plain.epochs():
            for index in plain.batches():
                p = F.softmax(plain.network(plain.view(index)), 1)
                own = p if kind == "soft" else one_hot(p.argmax(1))
                target = beta * one_hot(plain.labels[index]) + (1 - beta) * own
                plain.descend(-(target * p.log()).sum(1).mean())

    train_both(loop, ["method=bootstrap", f"method.kind={kind}"])


def test_mixup() -> None:
    """Zhang et al. 2018, equation 2; the larger share is the image's own."""
    shares = []

    def loop(plain: Plain) -> None:
        for _ in plain.epochs():
            for index in plain.batches():
                x, y = plain.view(index), one_hot(plain.labels[index])
                lam = torch.distributions.Dirichlet(torch.full((2,), 2.0).double()).sample().max()
                other = torch.randperm(len(index), generator=plain.draws)
                logs = F.log_softmax(plain.network(lam * x + (1 - lam) * x[other]), 1)
                plain.descend(-((lam * y + (1 - lam) * y[other]) * logs).sum(1).mean())
                shares.append(float(lam))

    train_both(loop, ["method=mixup", "method.alpha=2"])
    assert 0.5 <= min(shares) < 0.6
    assert max(shares) > 0.9


def observed(plain: Plain) -> Tensor:
    """T_ij, the share of the images of true class i that have label j; as the project keeps it, in float32."""
    pairs = one_hot(plain.truth).T @ one_hot(plain.labels)
    return (pairs / pairs.sum(1, keepdim=True)).float().double()


@torch.no_grad()
def anchored(plain: Plain, place: float) -> Tensor:
    """Patrini et al. 2017, equation 13, at a quantile: row i is the prediction for the anchor point of class i."""
    plain.network.eval()
    p = F.softmax(plain.network(plain.still()), 1)
    plain.network.train()
    order = [int(column.sort().indices[round(place * (len(plain) - 1))]) for column in p.T]
    return torch.stack([p[anchor] for anchor in order])


@pytest.mark.parametrize("transition", ["true", "anchor"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_correction(direction: str, transition: str) -> None:
    """Patrini et al. 2017, theorems 1 and 2; T is estimated after the first epoch, and p clipped as released."""
    clipped, below = [], []

    def loop(plain: Plain) -> None:
        T = observed(plain) if transition == "true" else torch.eye(CLASSES).double()
        for epoch in plain.epochs():
            if transition == "anchor" and epoch == 1:
                T = anchored(plain, 0.97)
            plain.memory["matrix"], inverse = T, torch.linalg.inv(T)
            if transition == "true":
                inverse = inverse.float().double()
            for index in plain.batches():
                p, y = F.softmax(plain.network(plain.view(index)), 1), plain.labels[index]
                if direction == "forward":
                    given = p @ T
                    given = given / given.sum(1, keepdim=True)  # rows in float32 sum to 1 within 1e-7
                    plain.descend(-given[range(len(y)), y].log().mean())
                else:
                    clipped.append(float(p.detach().min()) < 0.02)
                    values = -(inverse[y] * p.clamp(0.02, 0.98).log()).sum(1)
                    below.append(float(values.detach().min()) < 0)
                    plain.descend(values.mean())

    own = [f"method={direction}", f"method.transition={transition}", "method.warm_up=0.25", "method.quantile=0.97"]
    train_both(loop, own + ["method.clip=0.02"] * (direction == "backward"))
    assert any(clipped) == any(below) == (direction == "backward")  # the inverse has negative weights


def test_l2rw() -> None:
    """Ren et al. 2018, equation 12: at eps = 0 an image's weight is the product of its gradient and the trusted ones'.

    The trusted images leave no trace in the running statistics. Of 81 images the last joins a batch of eight.
    """
    positive = []

    def loop(plain: Plain) -> None:
        weights = list(plain.network.parameters())
        total = plain.memory["weight"] = torch.zeros(len(plain)).double()
        for _ in plain.epochs():
            few = torch.randperm(len(plain.trusted), generator=plain.draws)
            turns = plain.portions(few)
            for step, index in enumerate(plain.batches()):
                x, turn = plain.view(index), turns[step % len(turns)]
                trusted = plain.view(turn, plain.trusted)
                losses = F.cross_entropy(plain.network(x), plain.labels[index], reduction="none")
                twin = copy.deepcopy(plain.network)
                aim = F.cross_entropy(twin(trusted), plain.trusted_labels[turn])
                towards = torch.autograd.grad(aim, list(twin.parameters()))
                each = [torch.autograd.grad(loss, weights, retain_graph=True) for loss in losses]
                gains = torch.stack(
                    [sum((a * b).sum() for a, b in zip(own, towards, strict=True)) for own in each]
                ).clamp(min=0)
                positive.append(int((gains > 0).sum()))
                shares = gains / gains.sum() if gains.any() else gains
                total[index] += len(index) * shares
                plain.descend((shares * losses).sum())

    both = train_both(loop, ["method=l2rw"], trusted=20)
    assert both.chosen() == positive
    assert min(positive) == 0  # no image helps: no gradient
    assert 4 < max(positive) < 8


def test_cam_softmax() -> None:
    """The label's cosine x becomes (1 + x)^k / 2^(k - 1) - 1, and c falls with every update until it stays."""
    angles = []

    def loop(plain: Plain) -> None:
        c, bias = math.pi / 2, plain.network[-1].bias
        first = bias.detach().clone()
        for _ in plain.epochs():
            for index in plain.batches():
                f, w = plain.network[:-1](plain.view(index)), plain.network[-1].weight
                x = (f / (f**2).sum(1, keepdim=True).sqrt()) @ (w / (w**2).sum(1, keepdim=True).sqrt()).T
                k = -1 / (math.log2(math.cos(c) + 1) - 1)
                y = one_hot(plain.labels[index])
                value = F.cross_entropy(20 * (y * ((x + 1) ** k / 2 ** (k - 1) - 1) + (1 - y) * x), plain.labels[index])
                gradients = torch.autograd.grad(value, list(plain.network.parameters()), allow_unused=True)
                plain.follow(tuple(torch.zeros(CLASSES) if g is None else g for g in gradients), 0)
                bias.data.copy_(first)  # takes no part, so it does not decay either
                plain.losses.append(float(value.detach()))
                angles.append(c)
                c = max(0.8, c - 0.02)

    both = train_both(loop, ["method=cam_softmax", "method.decay=0.02", "method.last=0.8"], learns=False)
    assert [float(step.metrics["angle"]) for step in both.steps] == pytest.approx(angles)
    assert angles[-1] == angles[-10] == 0.8 < angles[20] < angles[0]
