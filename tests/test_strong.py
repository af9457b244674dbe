"""Strong views: RandAugment's operations are torchvision's, every image draws its own, and a run with them resumes."""

from pathlib import Path

import hydra
import pytest
import torch
from support.command import Ended, stop_at
from support.configs import composed, every
from torch import Tensor
from torchvision.transforms import v2

from labelnoise.config.identity import effective, identity, run_id
from labelnoise.data import strong
from labelnoise.data.strong import BINS, SIGNED, operations, rand_augment, square
from labelnoise.data.train_set import TrainSet
from labelnoise.experiment.run import compose, run
from labelnoise.methods.erm import ERM
from labelnoise.training import checkpoints, signals
from labelnoise.training.method import Feed, StepResult

# In the order of `operations`.
NAMES = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast", "Sharpness"]
NAMES += ["Posterize", "Solarize", "AutoContrast", "Equalize", "Identity"]


def pictures(count: int, channels: int = 3, size: int = 32) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, size, size), dtype=torch.uint8, generator=draw)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("magnitude", [0, 5, BINS])
def test_operations_are_torchvisions(channels: int, sign: int, magnitude: int) -> None:
    """Image by image; a factor that is rounded to float32 in one of them may move a value by one."""
    theirs = v2.RandAugment(num_magnitude_bins=BINS + 1)
    images = pictures(4, channels)
    for number, (name, operation) in enumerate(zip(NAMES, operations(magnitude, 32, sign), strict=True)):
        strengths, signed = theirs._AUGMENTATION_SPACE[name]
        assert signed == (number < SIGNED)
        strength = strengths(BINS + 1, 32, 32)
        value = float(strength[magnitude]) * (sign if signed else 1) if strength is not None and strength.dim() else 0.0
        how = {"interpolation": theirs.interpolation, "fill": theirs._fill}
        expected = torch.stack([theirs._apply_image_or_video_transform(one, name, value, **how) for one in images])
        difference = (operation(images).int() - expected.int()).abs()
        assert int(difference.max()) <= 1, name
        assert float((difference > 0).double().mean()) < 0.05, name


def test_every_image_draws_its_own() -> None:
    images = (60 + pictures(1) // 2).expand(200, -1, -1, -1).contiguous()  # so that AutoContrast changes it
    seen = {bytes(one.numpy().tobytes()) for one in rand_augment(images, draws(), 1, 10, 0.0)}
    assert len(seen) == 2 * SIGNED + 5, "every operation, those with a sign in both directions"
    assert len({one.numpy().tobytes() for one in rand_augment(images, draws(), 2, 10, 0.0)}) > 100


def test_an_image_does_not_depend_on_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(16)
    whole = rand_augment(images, draws(), 2, 10, 0.5)
    other = images.clone()
    other[8:] = 255 - other[8:]
    assert torch.equal(rand_augment(other, draws(), 2, 10, 0.5)[:8], whole[:8])
    # as on a GPU, where every operation is applied to all images
    monkeypatch.setattr(strong, "_where", lambda c, f, x, others: torch.where(c[:, None, None, None], f(x), others))
    assert torch.equal(rand_augment(images, draws(), 2, 10, 0.5), whole)


def test_draws_come_from_the_generator_alone() -> None:
    images, generator = pictures(8), draws()
    before = torch.get_rng_state()
    first, second = (rand_augment(images, generator, 2, 10, 0.5) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(first, second)
    assert torch.equal(first, rand_augment(images, draws(), 2, 10, 0.5))


def test_cutout_is_torchvisions_erasing() -> None:
    centres = torch.tensor([[0, 16, 31, 5], [0, 16, 20, 31]])
    images, side = pictures(4), 8
    hidden = images.masked_fill(square(centres, 32, side), 0)
    for one, found, (row, column) in zip(images, hidden, centres.T.tolist(), strict=True):
        top, left = row - side // 2, column - side // 2
        height, width = min(top + side, 32) - max(top, 0), min(left + side, 32) - max(left, 0)
        expected = v2.functional.erase(one, max(top, 0), max(left, 0), height, width, torch.zeros(1, dtype=torch.uint8))
        assert torch.equal(found, expected)
    assert torch.equal(rand_augment(images, draws(), 0, 0, 0.0), images)
    assert not rand_augment(images, draws(), 0, 0, 1.0).eq(images).all()


@pytest.mark.parametrize("wrong", [{"ops": 15}, {"magnitude": 31}, {"cutout": 1.5}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name}="):
        rand_augment(pictures(1), draws(), **{"ops": 2, "magnitude": 10, "cutout": 0.5, **wrong})


# ----------------------------------------------------------------------------------------------------- views and runs


class OnStrongViews(ERM):
    """Plain training on the strong view."""

    def train_step(self, feed: Feed) -> StepResult:
        index = feed.index["train"]
        loss = self.loss(self.learner(self.train_set.view(index, "strong")), self.train_set.labels[index]).mean()
        self.learner.update(loss)
        return StepResult(loss.detach())


def test_a_strong_view_is_the_weak_one_and_more() -> None:
    generator = draws()

    def weak(images: Tensor, generator: torch.Generator) -> Tensor:
        return images // 2 + torch.randint(0, 9, (1,), generator=generator).to(torch.uint8)

    def more(images: Tensor, given: torch.Generator) -> Tensor:
        assert given is generator, "whose state a checkpoint has"
        return 255 - images

    train = TrainSet(pictures(4), torch.arange(4), 4, (0.5,) * 3, (0.5,) * 3, weak, generator, None, more)
    index = torch.tensor([2, 0])
    generator.manual_seed(1)
    one = train.view(index)
    generator.manual_seed(1)
    other = train.view(index, "strong")
    torch.testing.assert_close(other, -one, msg="255 - x is -x where mean and deviation are a half")


DIGITS = ["dataset=digits", "noise=sym", "rate=0.4", "num_trusted=1240", "threads=1", "epochs=2"]
STRONG = ["method._target_=test_strong.OnStrongViews", "dataset.strong=${strong}", "strong.cutout=0.3"]


def test_a_run_with_strong_views_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(compose([*DIGITS, *STRONG, f"results={tmp_path}/whole"]), quiet=True)
    assert whole["config"]["dataset"]["strong"] == {
        **{"_target_": "rand_augment", "_partial_": True},
        **{"ops": 2, "magnitude": 10, "cutout": 0.3},
    }
    monkeypatch.setattr(checkpoints, "AT_LEAST", 0.0)
    stop_at(4, monkeypatch)
    with pytest.raises(signals.Stopped):
        run(compose([*DIGITS, *STRONG, f"results={tmp_path}"]), quiet=True)
    monkeypatch.undo()
    torch.manual_seed(99)  # what was drawn before must not matter
    again = run(compose([*DIGITS, *STRONG, f"results={tmp_path}"]), quiet=True)
    assert (again["history"], again["run_id"]) == (whole["history"], whole["run_id"])


def test_without_a_strong_augmentation_the_method_says_so(tmp_path: Path, train, monkeypatch) -> None:
    ended: Ended = train(*DIGITS, STRONG[0], f"results={tmp_path}/runs")
    assert ended.code == 1
    assert ended.err.strip() == "error: dataset.strong=null: this method needs a strong augmentation, such as ${strong}"
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("name", every("dataset"))
def test_every_data_set_has_a_strong_view(name: str) -> None:
    whole = composed(f"dataset={name}", "dataset.strong=${strong}")
    made = hydra.utils.instantiate(whole.dataset.strong)
    assert made(pictures(2), draws()).shape == (2, 3, 32, 32)
    plain = effective(composed(f"dataset={name}")) if name in ("digits", "cifar10") else None
    if plain is not None:
        assert '"strong"' not in identity(plain), "no earlier id has it"
        assert run_id(effective(whole)) != run_id(plain)


def test_cutouts_side_is_the_papers() -> None:
    """DeVries, Taylor 2017: 16 pixels on CIFAR-10, 8 on CIFAR-100."""
    sides = {name: composed(f"dataset={name}").strong.cutout * 32 for name in ("cifar10", "cifar100")}
    assert sides == {"cifar10": 16, "cifar100": 8}
