"""Noise on an array of labels, without a data set."""

import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from labelnoise.config.groups import CONFIGS, choices

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from torch import Tensor


def noisy_labels(
    labels: Any,
    num_classes: int,
    noise: "str | Callable[..., Tensor]",
    *,
    seed: int = 1,
    images: Any = None,
    mistaken_for: Mapping[int, int] | None = None,
    name: str = "labels",
    **options: Any,
) -> "Tensor":
    """The labels that a noise makes of true labels, the same as on the command line.

    Shapes: labels (N,) of any integer type, from 0 -> (N,), int64, a tensor on the CPU.
    Args:
        noise: as in `noise=`, such as "sym"; or a noise function of one's own.
        seed: as `seed_noise=`.
        images: for a noise that looks at them, such as "instance"; as `labelnoise.from_arrays` takes them.
        mistaken_for: for "asym", class -> the class that it is mistaken for.
        name: the data set's, for a noise that asks for it: the released codes' "sym_zhou2021" and "asym_zhou2021".
        options: of the noise, such as rate=0.4.
    Raises:
        ValueError: there is no such noise, an option is out of range, or the labels are not whole numbers below
            num_classes.
        TypeError: an option is missing, or the noise has no such option.
    """
    from labelnoise.data.dataset import pairs
    from labelnoise.data.from_arrays import images_of, labels_of

    truth = labels_of("labels", labels, num_classes)
    pixels = None if images is None else images_of("images", images)
    if pixels is not None and len(pixels) != len(truth):
        raise ValueError(f"images: are {len(pixels):,}, must be {len(truth):,}, one for each label")
    confused = None if mistaken_for is None else pairs(num_classes, dict(mistaken_for))
    function = _named(noise) if isinstance(noise, str) else noise
    return function(_Labels(name, truth, num_classes, pixels, confused), seed, **options)


def _named(noise: str) -> "Callable[..., Tensor]":
    """The function of a file of configs/noise."""
    if noise not in (known := choices("noise")):
        raise ValueError(f"noise={noise}: no such noise; one of {', '.join(known)}")
    content: Any = OmegaConf.to_container(OmegaConf.load(CONFIGS / "noise" / f"{noise}.yaml"), resolve=False)
    return pkgutil.resolve_name(content.get("noise", content)["_target_"])


class _Labels:
    """The facts (`labelnoise.noise.base.Facts`) of bare labels, which are the true ones."""

    def __init__(
        self, name: str, labels: "Tensor", num_classes: int, images: "Tensor | None", mistaken_for: "Tensor | None"
    ) -> None:
        self.name, self.num_classes, self._images, self.mistaken_for = name, num_classes, images, mistaken_for
        self.train_labels = self.true_labels = labels

    @property
    def train_images(self) -> "Tensor":
        if self._images is None:
            raise ValueError("images: this noise looks at them; give images=, one for each label")
        return self._images
