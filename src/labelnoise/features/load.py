"""dataset=features: a data set of feature vectors, or of images as arrays, from one file."""

from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt, Lt, Predicate
from torch import Tensor

from labelnoise.arguments.ranges import checked
from labelnoise.data.dataset import Dataset
from labelnoise.data.from_arrays import images_of
from labelnoise.data.from_files import counted, mean_and_std, share_of_each
from labelnoise.features.content import ENDINGS, Content, as_tensor, read
from labelnoise.features.labels import classes_of, named, per_class
from labelnoise.features.tables import Missing, as_features

FeatureFile = Annotated[
    str, Predicate(lambda path: path.endswith(ENDINGS)), f"a file that ends in {', '.join(ENDINGS)}"
]
ROWS = 8192  # at once
LABELS = ("labels", "label")  # of a table or a file, where no name is given


@checked
def features(
    path: FeatureFile,
    labels: str | None = None,
    truth: str | None = None,
    test: Annotated[float, Gt(0), Lt(1)] = 0.2,
    split_seed: Annotated[int, Ge(0)] = 0,
    missing: Missing = None,
) -> Dataset:
    """The data set in a file that `features.content.read` reads; docs/features.md describes the file.

    Vectors keep their type, mean and deviation are those of each column in the training part. Images, (N, H, H) or with
    channels, must be uint8.

    Args:
        labels: of the given labels, an array or a column by its name, or a .npy file; None: `labels` or `label`.
        truth: of the true ones, likewise; None: `true_labels`, if it is there. Labels that are right are both.
        test: share of each class to set aside for testing, where the file has no test part.
        split_seed: of this choice.
        missing: how a table's missing numbers are filled, see `features.tables.as_features`.
    Raises:
        ValueError: the file or a name in it is wrong, arrays do not fit each other, or a value is not finite.
    """
    content = read(path)
    try:
        return _dataset(content, labels, truth, test, split_seed, missing)
    except ValueError as error:
        raise ValueError(f"features={path}: {error}") from None


def _dataset(
    content: Content, labels: str | None, truth: str | None, test: float, split_seed: int, missing: Missing
) -> Dataset:
    arrays, about, is_table = dict(content.arrays), content.about, content.is_table
    if not is_table and "features" not in arrays:
        raise ValueError(f"has no features, but {', '.join(sorted(arrays)) or 'nothing'}")
    given, name = named(arrays, labels, "labels", LABELS)
    if given is None:
        held = ", ".join(sorted(arrays)) or "nothing"
        raise ValueError(f"has no labels, but {held}; dataset.load.labels= names an array, a column or a .npy file")
    right, true_name = named(arrays, truth, "truth", ("true_labels",))
    known = {}
    for part in () if is_table else ("test", "val"):
        if f"{part}_features" in arrays and f"{part}_labels" not in arrays:
            raise ValueError(f"has {part}_features, but no {part}_labels")
        if f"{part}_labels" in arrays:
            known[part] = arrays[f"{part}_labels"]
    classes, numbers = classes_of(about, {"given": given, "right": right, **known})
    of_given, of_right = numbers["given"], numbers["right"]
    if of_right is not None and len(of_right) != len(of_given):
        raise ValueError(f"true labels: are {len(of_right):,}, and {len(of_given):,} labels are given")
    if len(of_given.unique()) < 2:
        raise ValueError("labels: are all of one class, must be of at least two")
    train = torch.arange(len(of_given))
    tested: Tensor | None = None
    if "test" not in numbers:
        chosen = torch.from_numpy(share_of_each((of_given if of_right is None else of_right).numpy(), test, split_seed))
        train, tested = (~chosen).nonzero().squeeze(1), chosen.nonzero().squeeze(1)
    if is_table:
        rows = {key: column for key, column in arrays.items() if key not in (name, true_name)}
        whole = torch.from_numpy(as_features(rows, train.numpy(), missing))
    else:
        whole = _features("features", arrays["features"], len(of_given))
    parts = {"train": whole if tested is None else whole[train]}
    parts["test"] = _features("test_features", arrays.get("test_features"), None) if tested is None else whole[tested]
    if "val" in numbers:
        parts["val"] = _features("val_features", arrays.get("val_features"), None)
    best = of_given if of_right is None else of_right
    of_parts = {"train": of_given[train], "test": numbers["test"] if tested is None else best[tested]}
    if "val" in numbers:
        of_parts["val"] = numbers["val"]
    for part, values in parts.items():
        if len(values) != len(of_parts[part]):
            raise ValueError(f"{part}: {len(values):,} rows of features and {len(of_parts[part]):,} labels")
        if values.shape[1:] != parts["train"].shape[1:]:
            wanted = tuple(parts["train"].shape[1:])
            raise ValueError(f"{part}: features of {tuple(values.shape[1:])}, those of training are of {wanted}")
    mean, std = _statistics(parts)
    return Dataset(
        name="features",
        source=None if about.get("dataset") is None else str(about["dataset"]),
        train_images=parts["train"],
        train_labels=of_parts["train"],
        true_labels=None if of_right is None else of_right[train],
        test_images=parts["test"],
        test_labels=of_parts["test"],
        val_images=parts.get("val"),
        val_labels=of_parts.get("val"),
        classes=classes,
        mean=mean,
        std=std,
        mistaken_for=per_class(about, "mistaken_for", len(classes)),
        superclass=per_class(about, "superclass", len(classes)),
        notices=(_notice(parts, classes, tested is not None),),
    )


def _features(what: str, values: Any, count: int | None) -> Tensor:
    if values is None:
        raise ValueError(f"has no {what} for its labels")
    try:
        tensor = as_tensor(values)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None
    if tensor.dim() in (3, 4):
        return images_of(what, tensor)
    if tensor.dim() != 2 or not tensor.numel():
        raise ValueError(f"{what}: have shape {tuple(tensor.shape)}, must be (N, D), or images (N, H, H[, channels])")
    if count is not None and len(tensor) != count:
        raise ValueError(f"{what}: {len(tensor):,} rows, and {count:,} labels")
    return tensor if tensor.is_floating_point() else tensor.float()


def _statistics(parts: dict[str, Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of the training part, each channel's or column's; a constant column has deviation 1.

    Raises:
        ValueError: a value is not finite; names its place.
    """
    train = parts["train"]
    if train.dim() == 4:
        return mean_and_std(counted(train))
    total, squares = (torch.zeros(train.shape[1], dtype=torch.float64) for _ in range(2))
    shift = train[0].double()
    for part, values in parts.items():
        for start in range(0, len(values), ROWS):
            rows = values[start : start + ROWS].double()
            if not rows.isfinite().all():
                row, column = (~rows.isfinite()).nonzero()[0].tolist()
                what = f"{part} row {start + row}, column {column}"
                raise ValueError(f"{what} is {float(rows[row, column])}; features must be finite")
            if part == "train":
                total += (rows - shift).sum(dim=0)
                squares += (rows - shift).square().sum(dim=0)
    mean = total / len(train)
    std = (squares / len(train) - mean.square()).clamp_min(0).sqrt()
    std = torch.where(std > 1e-12 * (shift + mean).abs().clamp_min(1), std, 1.0)
    return tuple((shift + mean).tolist()), tuple(std.tolist())


def _notice(parts: dict[str, Tensor], classes: tuple[str, ...], cut: bool) -> str:
    shape = "x".join(map(str, parts["train"].shape[1:]))
    sizes = f"{len(parts['train']):,} for training, {len(parts['test']):,} for testing"
    what = "images of " if parts["train"].dim() == 4 else "vectors of length "
    return f"features: {what}{shape}, {len(classes)} classes, {sizes}" + (" (set aside)" if cut else "")
