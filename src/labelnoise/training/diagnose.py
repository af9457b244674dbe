"""What an epoch's steps and a method's audit come to, beside the true labels where they are known."""

import torch
from torch import Tensor

from labelnoise.training.method import Audit
from labelnoise.training.state import Row, TrainState

# What each column of the ledger comes to.
OF_COLUMN = {
    "predicted": ("acc_clean", "acc_wrong_given", "acc_wrong_true"),
    "selected": ("label_precision", "label_recall"),
    "target": ("target_acc", "relabel_acc"),
}


def diagnose(state: TrainState, truth: Tensor | None, given: Tensor) -> Row:
    """The row of an epoch's steps; what needs true labels is null where there are none.

    Means of the steps are over images; `train_loss` is one. The memorisation curve is counted on the training pass's
    own outputs: `acc_clean` is the accuracy on images whose given label is true; on the mislabelled ones
    `acc_wrong_given` is the share predicted as their wrong label and `acc_wrong_true` as their true one. Of what a
    method selects, `label_precision` is the share of true labels and `label_recall` the share of the true labels that
    it has. `target_acc` is the accuracy of the labels that it trains towards, `relabel_acc` of those that it changed.

    Args:
        truth, given: (N,), true and given labels of the training set.
    """
    row: Row = {name: _mean(values, sizes) for name, (values, sizes) in state.means.items()}
    if truth is None:
        return row | dict.fromkeys(name for column in state.ledger for name in OF_COLUMN[column])
    return row | _compare(state.ledger, truth, given)


def _compare(ledger: dict[str, Tensor], truth: Tensor, given: Tensor) -> Row:
    row: Row = {}
    clean = truth == given
    if (predicted := ledger.get("predicted")) is not None:
        seen = predicted >= 0
        row["acc_clean"] = _share(predicted == truth, clean & seen)
        row["acc_wrong_given"] = _share(predicted == given, ~clean & seen)
        row["acc_wrong_true"] = _share(predicted == truth, ~clean & seen)
    if (selected := ledger.get("selected")) is not None:
        row["label_precision"] = _share(clean, selected == 1)
        row["label_recall"] = _share(selected == 1, clean & (selected >= 0))
    if (target := ledger.get("target")) is not None:
        row["target_acc"] = _share(target == truth, target >= 0)
        row["relabel_acc"] = _share(target == truth, (target >= 0) & (target != given))
    return row


def _share(part: Tensor, whole: Tensor) -> float | None:
    """Which fraction of the images in `whole` is in `part` too. Shapes: (N,), (N,), bool."""
    count = int(whole.sum())
    return int((part & whole).sum()) / count if count else None


def _mean(values: list[Tensor], sizes: list[int]) -> float:
    """The mean over images of a quantity that each step gives as the mean over its own."""
    weights = torch.tensor(sizes, dtype=torch.float64)
    return float((torch.stack(values).cpu().double() * weights).sum() / weights.sum())


def audit_metrics(audit: Audit, truth: Tensor | None, given: Tensor) -> Row:
    """How well a method tells wrong labels from right ones; null where truth is unknown or all labels are right.

    `clean_auc` is the area under the ROC curve of its scores, `proposed_acc` the accuracy of the labels it proposes.
    """
    from sklearn.metrics import roc_auc_score

    row: Row = {"clean_auc": None}
    if truth is not None:
        clean = (truth == given).cpu()
        if bool(clean.any()) and not bool(clean.all()):
            row["clean_auc"] = float(roc_auc_score(clean.numpy(), audit.clean.float().cpu().numpy()))
    if audit.proposed is not None:
        row["proposed_acc"] = None if truth is None else float((audit.proposed == truth).double().mean())
    return row
