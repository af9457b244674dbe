"""The values that a run reports: the realised noise, and accuracies as fractions."""

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # torch takes a second to import, and `train.py --help` does not need it
    from torch import Tensor

    from labelnoise.data.dataset import Dataset

History = dict[str, list[float | None]]


def noise_facts(true_labels: "Tensor | None", noisy_labels: "Tensor", num_classes: int, seed: int) -> dict[str, Any]:
    """Facts about the realised noise; null for those that need true labels, if these are unknown.

    Shapes: true_labels (N,), noisy_labels (N,).
    Returns:
        realised_rate: fraction of wrong labels. transition: counts (C, C), rows the true class, columns the noisy one.
        label_hash: see `label_hash`. seed: as given. imprecise_share: fraction of labels of groups of classes
        (`losses.class_tree`), if there are any; these are in no other count.
    """
    precise = noisy_labels < num_classes
    imprecise = {} if bool(precise.all()) else {"imprecise_share": round(float((~precise).double().mean()), 6)}
    rate: float | None = None
    transition: list[list[int]] | None = None
    if true_labels is not None:
        counts = (true_labels * num_classes + noisy_labels)[precise].bincount(minlength=num_classes**2)
        transition = counts.view(num_classes, num_classes).tolist()
        rate = round(float(((true_labels != noisy_labels) & precise).double().mean()), 6)
    facts = {"realised_rate": rate, "transition": transition, "label_hash": label_hash(noisy_labels), "seed": seed}
    return facts | imprecise


def label_hash(labels: "Tensor") -> str:
    """First 16 hex digits of the sha256 of labels (N,): of their bytes as uint8, or as int64 where one exceeds 255."""
    fits = not len(labels) or int(labels.max()) < 256
    return hashlib.sha256((labels.byte() if fits else labels.long()).numpy().tobytes()).hexdigest()[:16]


def noise_in_short(name: str, facts: dict[str, Any], count: int) -> str:
    """One line about the noise in `count` labels, from `noise_facts`."""
    end = f"label hash {facts['label_hash']}, seed {facts['seed']}"
    if share := facts.get("imprecise_share"):
        end = f"{share:.2%} are of a group of classes, {end}"
    if (rows := facts["transition"]) is None:
        return f"{name}: {count:,} labels as given, how many are wrong is unknown, {end}"
    shares = [1 - row[c] / sum(row) if sum(row) else 0.0 for c, row in enumerate(rows)]
    return (
        f"{name}: {facts['realised_rate']:.2%} of {count:,} labels are wrong (by class {min(shares):.1%} "
        f"to {max(shares):.1%}), {end}"
    )


def validation_in_short(dataset: "Dataset", num_val: int, trusted: int = 0) -> str:
    """One line about the images that `test_acc_val` chooses its epoch by, and their labels; empty if there are none.

    Args:
        trusted: images of the data set's own part that are trusted (trusted_from=val), and so do not validate.
    """
    own = 0 if dataset.val_labels is None else len(dataset.val_labels) - trusted
    said = [f"trusted: {trusted:,} images of the data set's own clean part"] if trusted else []
    if num_val:
        end = ", in place of the data set's own part" if own else ""
        said.append(f"validation: {num_val:,} held-out images with their noisy labels{end}")
    elif own:
        kind = "own clean labels" if dataset.val_is_clean else "own labels, which may be wrong"
        said.append(f"validation: {own:,} images with the data set's {kind}")
    elif trusted:
        said.append("validation: none, see num_val")
    return "; ".join(said)


def summarise(history: History) -> dict[str, Any]:
    """The metrics of a history, as fractions. `oracle` lists those that were chosen by looking at the test set.

    test_acc_last: after the last epoch. test_acc_best: of the best epoch. test_acc_last10: mean of the last ten
    evaluations. test_acc_val: of the epoch with the best accuracy in validation (`validation_in_short`); null without.

    Where a run consists of several trainings (`stage`), only the epochs of the last one count: what comes before is the
    accuracy of a network that the run does not end with.
    """
    stages = history.get("stage", [0])
    first = stages.index(stages[-1])
    test = history["test_acc"][first:]
    evaluated = [value for value in test if value is not None]
    chosen = None
    if "val_acc" in history:
        val = [-1.0 if value is None else value for value in history["val_acc"][first:]]
        chosen = test[val.index(max(val))]
    metrics = {
        "test_acc_last": evaluated[-1],
        "test_acc_best": max(evaluated),
        "test_acc_last10": sum(evaluated[-10:]) / len(evaluated[-10:]),
        "test_acc_val": chosen,
    }
    return {name: None if v is None else round(v, 6) for name, v in metrics.items()} | {"oracle": ["test_acc_best"]}


def in_short(metrics: dict[str, Any]) -> str:
    """The accuracies in one line."""
    val = metrics["test_acc_val"]
    chosen = "" if val is None else f", at the epoch chosen by validation {val:.2%}"
    return (
        f"test accuracy: last epoch {metrics['test_acc_last']:.2%}, last 10 on average {metrics['test_acc_last10']:.2%}"
        f"{chosen}, best {metrics['test_acc_best']:.2%} (an oracle: chosen on the test set)"
        f"{_abstained(metrics)}"
    )


def _abstained(metrics: dict[str, Any]) -> str:
    """What is predicted by the threshold of a method that abstains (`abstaining.selective`), if there is one."""
    if "coverage" not in metrics:
        return ""
    right = metrics["selective_acc"]
    accuracy = "" if right is None else f", {right:.2%} of them rightly"
    return f"; it predicts {metrics['coverage']:.2%} of the test images{accuracy}, and abstains from the others"
