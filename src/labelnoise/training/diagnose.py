"""An epoch's steps and a method's judgement of the labels, compared with the true labels if they are known."""

import torch
from torch import Tensor

from labelnoise.training.method import Judgement
from labelnoise.training.state import Row, TrainState

# The quantities computed from each column of the ledger.
OF_COLUMN = {
    "predicted": ("acc_clean", "acc_wrong_given", "acc_wrong_true"),
    "selected": ("label_precision", "label_recall"),
    "target": ("target_acc", "relabel_acc"),
}


def diagnose(state: TrainState, truth: Tensor | None, given: Tensor, num_classes: int) -> Row:
    """The history row of an epoch's training steps. Quantities that need true labels are null if these are unknown.

    Means over steps, such as `train_loss`, are weighted by images. Accuracies use the outputs of the training passes.

    - `acc_clean`: accuracy on images whose given label is right.
    - `acc_wrong_given`, `acc_wrong_true`: share of the mislabelled images predicted as their given (wrong) label, and
      as their true label.
    - `label_precision`: share of the selected images whose label is right; `label_recall`: share of the correctly
      labelled images that are selected.
    - `target_acc`: accuracy of the labels that the method trains towards; `relabel_acc`: of the changed ones.

    Args:
        truth: (N,), true labels of the training set, or None.
        given: (N,), its given labels; those of groups of classes (`losses.class_tree`) are neither right nor wrong.
        num_classes: C.
    """
    row: Row = {name: _mean(values, sizes) for name, (values, sizes) in state.means.items()}
    if truth is None:
        return row | dict.fromkeys(name for column in state.ledger for name in OF_COLUMN[column])
    return row | _compare(state.ledger, truth, given, num_classes)


def _compare(ledger: dict[str, Tensor], truth: Tensor, given: Tensor, num_classes: int) -> Row:
    row: Row = {}
    clean, precise = truth == given, given < num_classes
    if (predicted := ledger.get("predicted")) is not None:
        seen = predicted >= 0
        row["acc_clean"] = _share(predicted == truth, clean & seen)
        row["acc_wrong_given"] = _share(predicted == given, ~clean & precise & seen)
        row["acc_wrong_true"] = _share(predicted == truth, ~clean & precise & seen)
    if (selected := ledger.get("selected")) is not None:
        row["label_precision"] = _share(clean, selected == 1)
        row["label_recall"] = _share(selected == 1, clean & (selected >= 0))
    if (target := ledger.get("target")) is not None:
        row["target_acc"] = _share(target == truth, target >= 0)
        row["relabel_acc"] = _share(target == truth, (target >= 0) & (target != given))
    return row


def _share(part: Tensor, whole: Tensor) -> float | None:
    """The fraction of the images in `whole` that are also in `part`; None if there are none. Shapes: (N,), bool."""
    count = int(whole.sum())
    return int((part & whole).sum()) / count if count else None


def _mean(values: list[Tensor], sizes: list[int]) -> float:
    """The mean over all images of a quantity that each step gives as the mean over its own images."""
    weights = torch.tensor(sizes, dtype=torch.float64)
    return float((torch.stack(values).cpu().double() * weights).sum() / weights.sum())


def judgement_metrics(judgement: Judgement, truth: Tensor | None, given: Tensor) -> Row:
    """How well a method distinguishes wrong labels from right ones; null if truth is unknown or all labels are right.

    `clean_auc` is the area under the ROC curve of its scores, `proposed_acc` the accuracy of the labels it proposes.
    """
    from sklearn.metrics import roc_auc_score

    row: Row = {"clean_auc": None}
    if truth is not None:
        clean = (truth == given).cpu()
        if bool(clean.any()) and not bool(clean.all()):
            row["clean_auc"] = float(roc_auc_score(clean.numpy(), judgement.clean.float().cpu().numpy()))
    if judgement.proposed is not None:
        row["proposed_acc"] = None if truth is None else float((judgement.proposed == truth).double().mean())
    return row
