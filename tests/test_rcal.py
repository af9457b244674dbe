"""RCAL: beside a plain loop; its distributions on planted classes; a first stage that several runs share."""

import json
from pathlib import Path

import pytest
import torch
from sklearn.neighbors import LocalOutlierFactor
from support import plain_training
from support.plain_training import CLASSES, Pictures, Plain, cnn4, normalised, pictures, shifted_and_flipped, train_both
from torch import Tensor, nn
from torch.nn import functional as F

from labelnoise.distillation.rcal import contrastive
from labelnoise.estimates.calibrated_classes import INLYING, calibrated_classes, local_outlier_factors

pytestmark = pytest.mark.usefixtures("one_thread")


def with_a_tail(wrong: float) -> Pictures:
    """Most labels of two classes are another's."""
    data = pictures(wrong)
    return data._replace(
        labels=torch.where((data.labels > 7) & (torch.arange(len(data.labels)) % 3 > 0), 2, data.labels)
    )


def test_rcal_beside_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs without labels, two with them, image by image and class by class."""
    monkeypatch.setattr(plain_training, "pictures", with_a_tail)
    tails: list[int] = []

    def strong(plain: Plain, index: Tensor) -> Tensor:
        images = shifted_and_flipped(plain.images[index], plain.draws)
        rows, columns = torch.randint(0, 8, (2, len(index)), generator=plain.draws).tolist()
        for image, row, column in zip(images, rows, columns, strict=True):
            image[:, max(row - 2, 0) : row + 2, max(column - 2, 0) : column + 2] = 0
        return normalised(images)

    def apart(plain: Plain, index: Tensor) -> Tensor:
        views = torch.cat([strong(plain, index), strong(plain, index)])
        p, n = F.normalize(plain.networks[1](views), dim=1), len(index)
        value = torch.zeros(()).double()
        for i in range(2 * n):
            alike = {j: (p[i] @ p[j] / 0.3).exp() for j in range(2 * n) if j != i}
            value = value - (alike[(i + n) % (2 * n)] / sum(alike.values())).log()
        return value / (2 * n)

    def distributions(z: Tensor, y: Tensor) -> tuple[list[Tensor], list[Tensor], list[int]]:
        counts = [int((y == k).sum()) for k in range(CLASSES)]
        means, spreads = [], []
        for k in range(CLASSES):
            of_label = z[y == k]
            lof = LocalOutlierFactor(n_neighbors=min(20, len(of_label) - 1)).fit(of_label.numpy())
            known = of_label[torch.from_numpy(lof.negative_outlier_factor_ >= -1.5)]
            means.append(known.mean(0))
            spreads.append(sum(torch.outer(v, v) for v in known - means[k]) / len(known))
        heads = [k for k in range(CLASSES) if counts[k] >= max(counts) / 2]
        tails.extend(set(range(CLASSES)) - set(heads))
        m, s = list(means), list(spreads)
        for k in set(range(CLASSES)) - set(heads):
            near = sorted(heads, key=lambda c: float((means[k] - means[c]).norm()))[:2]
            w = [counts[c] * float((-(means[k] - means[c]).norm()).exp()) for c in near]
            m[k] = 0.6 * means[k] + 0.4 * sum(a * means[c] for a, c in zip(w, near, strict=True)) / sum(w)
            s[k] = 0.6 * spreads[k] + 0.4 * sum(a * spreads[c] for a, c in zip(w, near, strict=True)) / sum(w)
        return m, [one + 0.2 * one.trace() / 128 * torch.eye(128) for one in s], counts

    def loop(plain: Plain) -> None:
        classifier, encoder = plain.networks
        for epoch in plain.epochs():
            plain.rate = (0.01, 0.005)[epoch % 2]
            if epoch == 2:
                plain.draws.manual_seed(4)
                torch.manual_seed(4)
                for mine, first in zip(
                    classifier[:12].state_dict().values(), encoder[:12].state_dict().values(), strict=True
                ):
                    mine.copy_(first)
                classifier.eval()
                with torch.no_grad():
                    z = classifier[:12](plain.still())
                classifier.train()
                m, s, counts = distributions(z, plain.labels)
                missing = torch.tensor([max(counts) - count for count in counts]).float()
                points = round(8 * float(missing.sum()) / len(plain))
                plain.memory["means"], plain.memory["pretrained"] = torch.stack(m), z
            for index in plain.batches():
                if epoch < 2:
                    plain.descend(apart(plain, index), 1)
                    continue
                x, y = plain.view(index), plain.labels[index]
                share = torch.distributions.Dirichlet(torch.full((2,), 0.8).double()).sample().max()
                other = torch.randperm(len(index), generator=plain.draws)
                f = classifier[:12](share * x + (1 - share) * x[other])
                logits = classifier[12](f)
                of_images = [F.cross_entropy(logits, label, reduction="none") for label in (y, y[other])]
                drawn = torch.multinomial(missing, points, replacement=True, generator=plain.draws)
                noise = torch.randn(points, 128, dtype=torch.float64, generator=plain.draws)
                made = torch.stack([m[k] + torch.linalg.cholesky(s[k]) @ e for k, e in zip(drawn, noise, strict=True)])
                of_points = F.cross_entropy(classifier[12](made), drawn, reduction="none")
                every = torch.cat([share * of_images[0] + (1 - share) * of_images[1], of_points])
                old = share * z[index] + (1 - share) * z[index][other]
                plain.descend(every.mean() + 0.5 * ((f - old) ** 2).mean())

    own = ["method=rcal", "method.contrast=0.5", "method.temperature=0.3", "method.projection=12", "method.nearest=2"]
    more = ["method.own=0.6", "method.spread=0.2", "method.anchor=0.5", "method.alpha=0.8"]
    views = ["strong.ops=0", "strong.cutout=0.5"]
    encoder = cnn4()
    encoder[12] = nn.Linear(128, 12).double()
    train_both(loop, [*own, *more, *views], networks=0, own=(cnn4(), encoder), rel=1e-8)
    assert {8, 9} <= set(tails)


def test_the_contrast_is_least_for_equal_views_far_from_others() -> None:
    own = torch.eye(6).double()
    assert float(contrastive(torch.cat([own, own]), 0.01)) < 1e-12
    assert float(contrastive(torch.cat([own, own.roll(1, 0)]), 0.01)) > 10
    equal = torch.ones(12, 3).double()
    assert float(contrastive(equal, 0.5)) == pytest.approx(torch.tensor(11.0).log())


def planted() -> tuple[Tensor, Tensor, Tensor]:
    """Ten classes in clusters, from 200 images to 20, each of the last five near one of the first five; a fifth of the
    labels are another class's, as often as that class is large."""
    draw = torch.Generator().manual_seed(0)
    sizes = torch.tensor([200, 190, 180, 170, 160, 40, 35, 30, 25, 20])
    truth = torch.arange(10).repeat_interleave(sizes)
    centres = 8 * torch.eye(10, 16).double()
    centres[5:] = centres[:5] + 1
    features = centres[truth] + torch.randn(len(truth), 16, generator=draw, dtype=torch.float64)
    wrong = torch.rand(len(truth), generator=draw) < 0.2
    others = sizes.double().repeat(len(truth), 1).scatter(1, truth[:, None], 0.0)
    moved = torch.multinomial(others, 1, generator=draw).squeeze(1)
    return features, torch.where(wrong, moved, truth), truth


def test_calibrated_means_lie_nearer_to_the_clean_ones_than_noisy_ones_do() -> None:
    features, labels, truth = planted()
    factors = local_outlier_factors(features, labels, 10)
    found = calibrated_classes(features, labels, factors >= INLYING, 10, nearest=1, own=0.9, spread=0.1)
    clean, noisy = (torch.stack([features[given == k].mean(0) for k in range(10)]) for given in (truth, labels))
    ours, theirs = ((means - clean).norm(dim=1) for means in (found.means, noisy))
    assert float(ours.mean()) < 0.6 * float(theirs.mean())
    assert int((ours < theirs).sum()) >= 9
    right, wrong = (factors[labels == truth].median(), factors[labels != truth].median())
    assert float(right) > -1.2 > float(wrong)


def test_a_class_without_images_is_that_of_its_nearest_head_classes() -> None:
    features, labels, _ = planted()
    labels = torch.where(labels == 9, 0, labels)
    found = calibrated_classes(features, labels, torch.ones_like(labels, dtype=torch.bool), 10, 2, 0.9, 0.1)
    assert bool(torch.linalg.eigvalsh(found.covariances).gt(0).all())
    near = (found.means[:5] - features.mean(dim=0)).norm(dim=1).argsort()[:2]
    first, second = found.means[near]
    between = found.means[9] - first, second - first
    share = float((between[0] @ between[1]) / (between[1] @ between[1]))
    assert 0 < share < 1
    torch.testing.assert_close(between[0], share * between[1])


def test_runs_that_train_alike_share_the_first_stage(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of runs with other labels: it is computed once, and the records are those of runs that share nothing."""
    small = ["dataset.imbalance=100", "batch_size=64", "epochs=6", "strong.ops=1"]
    steps: list[int] = []

    def counted(projections: Tensor, temperature: float) -> Tensor:
        steps.append(len(projections))
        return contrastive(projections, temperature)

    monkeypatch.setattr("labelnoise.distillation.rcal.contrastive", counted)

    def histories(results: str, *overrides: str) -> list[str]:
        folder = tmp_path / results
        train("dataset=digits", "method=rcal", "noise=sym", *small, *overrides, f"results={folder}")
        return [json.dumps(json.loads(path.read_text())["history"]) for path in folder.glob("*.json")]

    histories("together", "rate=0.2")
    assert len(steps) == 18, "six an epoch"
    together = histories("together", "rate=0.4")
    assert len(steps) == 18 + 6, "the first epoch, to see whether it is known"
    assert histories("alone", "rate=0.4")[0] in together
    (kept,) = (tmp_path / "together" / "shared").iterdir()
    kept.write_bytes(b"no weights")
    told = train("dataset=digits", "method=rcal", "noise=sym", *small, "rate=0.6", f"results={tmp_path / 'together'}")
    assert told.code == 1
    assert told.err == f"error: {kept}: is not the first stage that a run shared; remove it\n"
    histories("together", "rate=0.4", "seed_init=5")
    assert len(list(kept.parent.iterdir())) == 2, "another network, another first stage"
