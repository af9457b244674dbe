"""The transition matrix for loss correction: the true one, read from a file, or estimated from anchor points."""

import json

import numpy as np
import torch
from torch import Tensor

from labelnoise.files.arrays import read_npy
from labelnoise.files.reading import read_bounded
from labelnoise.files.text import plain

ROW_SUM = 1e-3  # allowed deviation from 1 of a row's sum in a user's matrix
ANCHOR = "anchor"


def given_matrix(transition: bool | str, true: Tensor | None, num_classes: int) -> Tensor | None:
    """The matrix (C, C), rows the true class, that `method.transition` selects; None to estimate it by anchor points.

    Args:
        transition: true, for the next; a .npy or .json file; or anchor.
        true: (C, C), the noise's true matrix; None if it is not known.
    Raises:
        ValueError: the true matrix is not known, the file cannot be read or has no valid matrix, or an invalid option.
    """
    if transition == ANCHOR:
        return None
    if transition is True:
        if true is None:
            raise ValueError("method.transition=true: this data set has no true labels; use anchor or a file")
        matrix = true.float()
        empty = matrix.sum(dim=1, keepdim=True) == 0  # a class without images gets the identity's row
        return torch.where(empty, torch.eye(len(matrix), device=matrix.device), matrix)
    option = f"method.transition={str(transition).lower() if isinstance(transition, bool) else transition}"
    if not isinstance(transition, str) or not transition.endswith((".npy", ".json")):
        raise ValueError(f"{option}: must be true, anchor or a file that ends in .npy or .json")
    found, classes = _read(transition, option), num_classes
    if found.shape != (classes, classes):
        raise ValueError(
            f"{option}: has shape {found.shape}, must be ({classes}, {classes}), a row for each true class"
        )
    if not (np.isfinite(found).all() and (found >= 0).all() and (abs(found.sum(axis=1) - 1) <= ROW_SUM).all()):
        raise ValueError(f"{option}: must have rows of probabilities that sum to 1")
    return torch.from_numpy(found).float()


def _read(path: str, option: str) -> np.ndarray:
    try:
        content = read_npy(path) if path.endswith(".npy") else json.loads(read_bounded(path))
        return np.array(content, dtype=np.float64)
    except FileNotFoundError:
        raise ValueError(f"{option}: no such file") from None
    except (ValueError, TypeError, OverflowError, OSError, MemoryError, RecursionError) as error:
        raise ValueError(f"{option}: cannot be read as a matrix ({plain(str(error))})") from None


def anchor_estimate(probs: Tensor, quantile: float) -> Tensor:
    """The transition matrix from anchor points: row i is the prediction for the most confident image of class i.

    Shapes: (N, C), predicted probabilities of the noisy classes -> (C, C), rows sum to 1.
    Args:
        quantile: of the class's probability over the images: 1 takes the image with the largest, 0.97 the one at the
            97% quantile.
    Source: Patrini et al. 2017, arXiv:1609.03683, equations 12 and 13.
    """
    place = max(0, min(len(probs) - 1, round(quantile * (len(probs) - 1))))
    anchors = probs.argsort(dim=0, stable=True)[place]
    return probs[anchors]


def error_of(estimate: Tensor, true: Tensor) -> Tensor:
    """The sum of the absolute differences of two matrices, divided by the true one's sum; 0 to 2. Shapes: -> 0-d."""
    return (estimate - true).abs().sum() / true.sum()
