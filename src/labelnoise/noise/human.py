"""CIFAR-10N and CIFAR-100N: human annotations."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.noise.base import Facts, known_truth

FILES = {
    "cifar10": (
        "CIFAR-10_human.pt",
        {
            "worse": "worse_label",
            "aggre": "aggre_label",
            "random1": "random_label1",
            "random2": "random_label2",
            "random3": "random_label3",
        },
    ),
    "cifar100": ("CIFAR-100_human.pt", {"noisy": "noisy_label"}),
}

Labels = Literal["worse", "aggre", "random1", "random2", "random3", "noisy"]


@checked
def human(facts: Facts, seed: int, labels: Labels, data_dir: str) -> Tensor:
    """The human annotations of a CIFAR training set, as published.

    Shapes: -> (N,), int64.
    Args:
        labels: worse, aggre, random1, random2 or random3 on CIFAR-10; noisy on CIFAR-100.
        data_dir: folder that contains cifar-n/CIFAR-10_human.pt and cifar-n/CIFAR-100_human.pt.
    Raises:
        ValueError: an unsupported data set, an unknown set of labels, or a file that is damaged or for other images.
        FileNotFoundError: the published file does not exist; the message says where to get it.
    Source: Wei et al. 2022, arXiv:2110.12088 (CC BY-NC 4.0).
    """
    if facts.name not in FILES:
        raise ValueError(f"noise=human: only for dataset={' and '.join(FILES)}, not {facts.name}")
    file, keys = FILES[facts.name]
    if labels not in keys:
        raise ValueError(f"noise.labels={labels}: must be one of {', '.join(keys)} on {facts.name}")
    path = Path(data_dir) / "cifar-n" / file
    if not path.is_file():
        raise FileNotFoundError(
            f"noise=human: {path} is not there; get {file} from github.com/UCSC-REAL/cifar-10-100n, folder data"
        )
    table = _load(path)
    try:
        true, noisy = (_whole_numbers(table[key]) for key in ("clean_label", keys[labels]))
    except (KeyError, TypeError, IndexError, ValueError):
        raise ValueError(f"noise=human: {path} is damaged: it holds no {keys[labels]}; get {file} again") from None
    in_range = noisy.shape == true.shape and ((noisy >= 0) & (noisy < facts.num_classes)).all()
    if not np.array_equal(true, known_truth(facts).numpy()) or not in_range:
        raise ValueError(f"noise=human: {path} is damaged: its labels are not those of {facts.name}'s images")
    return torch.from_numpy(noisy)


human.of_whole = True  # type: ignore[attr-defined]  # read by `labelnoise.experiment.assemble`


def _whole_numbers(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if not np.issubdtype(array.dtype, np.integer):
        raise TypeError(f"{array.dtype} values")
    return array.astype(np.int64)


def _load(path: Path) -> Any:
    """The published dictionary of arrays; only numpy's array types are allowed in it."""
    rebuild = np.empty(0).__reduce__()[0]
    renamed = (rebuild, "numpy.core.multiarray._reconstruct")  # its name in the published files
    allowed: list[Any] = [np.ndarray, np.dtype, type(np.dtype(np.int64)), rebuild, renamed]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, weights_only=True)
    except Exception as error:  # a damaged file may raise any error; torch's message, omitted here, advises to load it
        # unsafely
        kind = type(error).__name__
        raise ValueError(f"noise=human: {path} is damaged or not the published file ({kind}); get it again") from None
