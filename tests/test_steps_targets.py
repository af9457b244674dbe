"""Methods that replace labels beside plain loops of their papers' equations, step by step in float64."""

import math
from collections.abc import Iterator
from itertools import chain, count

import pytest
import torch
from sklearn.mixture import GaussianMixture
from support.plain_training import CLASSES, Plain, one_hot, train_both
from torch import Tensor, nn
from torch.nn import functional as F

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("soft", [True, False])
def test_refinery(soft: bool) -> None:
    """Tanaka et al. 2018, equations 4 to 9: labels are replaced from the third epoch on, by means of two epochs; after
    the fourth a new network trains on them. The prior is uniform, and constants of its divergence count."""
    agreed = []

    def loop(plain: Plain) -> None:
        s, past = one_hot(plain.labels), []
        for epoch in plain.epochs():
            first, length = epoch < 4, plain.length - 4
            plain.rate = 0.01 if first else 0.01 * 0.5 * (1 + math.cos(math.pi * (epoch - 4) / length))
            if 2 <= epoch <= 4:
                s = (past[-1] + past[-2]) / 2
                s = s if soft else one_hot(s.argmax(1))
                agreed.append(float((s.argmax(1) == plain.labels).double().mean()))
            plain.memory["target"] = s
            past.append(torch.zeros(len(plain), CLASSES).double())
            for index in plain.batches():
                p = F.softmax(plain.networks[not first](plain.view(index)), 1)
                past[-1][index] = p.detach()
                value = -(s[index] * p.log()).sum(1).mean()
                if first:
                    prior = (0.1 * (0.1 / p.mean(0)).log()).sum()
                    value = value + 1.2 * prior - 0.8 * (p * p.log()).sum(1).mean()
                plain.descend(value, int(not first))

    own = "method.alpha=1.2 method.beta=0.8 method.begin=0.34 method.first=0.67 method.averaged=0.34"
    both = train_both(loop, ["method=refinery", *own.split(), f"method.soft={soft}"], networks=2, epochs=6)
    assert all(0.1 < share < 0.9 for share in agreed)
    assert len(set(agreed)) > 1
    replaced = [bool((step.target != both.plain.labels[step.index]).any()) for step in both.steps]
    assert not any(replaced[:26])
    assert any(replaced[26:])


def clean(plain: Plain, network: nn.Module) -> Tensor:
    """Li et al. 2020, section 3.1: the posterior of the component with the smaller mean loss."""
    network.eval()
    with torch.no_grad():
        losses = F.cross_entropy(network(plain.still()), plain.labels, reduction="none")
    network.train()
    scaled = ((losses - losses.min()) / (losses.max() - losses.min())).numpy().reshape(-1, 1)
    mixture = GaussianMixture(n_components=2, max_iter=10, tol=1e-2, reg_covar=5e-4, random_state=0).fit(scaled)
    return torch.from_numpy(mixture.predict_proba(scaled)[:, int(mixture.means_.argmin())])


def sharp(p: Tensor) -> Tensor:
    """Equation 9 with T = 0.5."""
    return p**2 / (p**2).sum(1, keepdim=True)


def halves(plain: Plain, w: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the images above 0.5, each with one of the others, which are cycled through in new orders."""
    certain, rest = (w > 0.5).nonzero().flatten(), (w <= 0.5).nonzero().flatten()
    labelled = plain.batches(certain)
    unlabelled = chain.from_iterable(plain.batches(rest) for _ in count())
    return zip(labelled, unlabelled, strict=False)


def co_divide(plain: Plain, k: int, weight: float, w: Tensor, x: Tensor, u: Tensor) -> None:
    """A step of network k: algorithm 1, lines 8 to 26; the two views of both parts share one pass, as stated."""
    mine, other = plain.networks[k], plain.networks[1 - k]
    both = torch.cat([x, u])
    views = [plain.view(both) for _ in range(2)]
    with torch.no_grad():
        own = F.softmax(mine(torch.cat(views)), 1).view(2, len(both), CLASSES).mean(0)
        other.eval()
        theirs = sum(F.softmax(other(view[len(x) :]), 1) for view in views) / 2
        other.train()
        share = w[x][:, None]
        refined = sharp(share * one_hot(plain.labels[x]) + (1 - share) * own[: len(x)])
        guessed = sharp((own[len(x) :] + theirs) / 2)
    images = torch.cat([*(view[: len(x)] for view in views), *(view[len(x) :] for view in views)])
    targets = torch.cat([refined, refined, guessed, guessed])
    lam = torch.distributions.Dirichlet(torch.full((2,), 4.0).double()).sample().max()
    partner = torch.randperm(len(images), generator=plain.draws)
    p = F.softmax(mine(lam * images + (1 - lam) * images[partner]), 1)
    targets = lam * targets + (1 - lam) * targets[partner]
    labelled = 2 * len(x)
    value = -(targets[:labelled] * p[:labelled].log()).sum(1).mean()
    value = value + weight * ((targets[labelled:] - p[labelled:]) ** 2).mean()
    prior = (0.1 * (0.1 / p.mean(0)).log()).sum()
    plain.descend(value + prior, k, noted=value)


@pytest.mark.parametrize(("penalty", "epochs"), [(False, 2), (True, 4)])
def test_divide_mix(penalty: bool, epochs: int) -> None:
    """Li et al. 2020, algorithm 1: one epoch of warm-up, then the weight of the unlabelled grows over two epochs."""
    divided = []

    def loop(plain: Plain) -> None:
        for epoch in plain.epochs():
            if epoch == 0:
                for k, orders in enumerate([plain.batches(), plain.batches()]):
                    for index in orders:
                        z = plain.networks[k](plain.view(index))
                        p, given = F.softmax(z, 1), F.cross_entropy(z, plain.labels[index])
                        entropy = -(p * p.log()).sum(1).mean()
                        plain.descend(given - entropy if penalty else given, k, noted=given)
                continue
            w = [clean(plain, network) for network in plain.networks]
            plain.memory["clean"] = torch.stack(w, dim=1)
            feeds = [list(halves(plain, w[1 - k])) for k in (0, 1)]  # drawn before the epoch
            for k in (0, 1):
                for x, u in feeds[k]:
                    divided.append((len(x), len(u)))
                    co_divide(plain, k, 25 * min(1.0, (epoch - 1) / 2), w[1 - k], x, u)

    stages = f"method.warm_up={1 / epochs} method.ramp={2 / epochs} method.confidence_penalty={penalty}"
    own = "method.lam_u=25 method.alpha=4 method.temperature=0.5"
    both = train_both(loop, ["method=divide_mix", *stages.split(), *own.split()], networks=2, epochs=epochs)
    mixed = both.steps[26:]
    assert len(mixed) == len(divided) > 8
    assert all(labelled and unlabelled for labelled, unlabelled in divided)
    assert any(bool((step.target != both.plain.labels[step.index]).any()) for step in mixed if step.index is not None)
