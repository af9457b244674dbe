"""Find the labels of a training set that are probably wrong: a ranking, and a page of thumbnails to review.

labelnoise audit dataset=folder data_dir=PATH
labelnoise audit dataset=folder data_dir=PATH folds=5 out=audit show=1000
labelnoise audit decisions=decisions.json out=audit
labelnoise audit dataset=digits noise=sym rate=0.4 compare=true
labelnoise audit dataset=cifar10 noise=human noise.labels=worse compare=true

Trains with a robust loss (loss=, or the one that theory suggests for the number of classes) and ranks the training
images by how likely their label is to be wrong. Takes train's options, and:

out=DIR       folder for audit.csv, audit.html and the runs (audit)
folds=N       train N networks and judge each image by the one not trained on it; 0: by one network as it trains (0)
show=N        images on the page, worst first (500)
compare=true  if the true labels are known, compare rankings; trains a second network with plain cross-entropy

audit.csv, worst first: path (or number), given and proposed label, the proposal's probability, score (larger: the given
label is more probably wrong), loss and margin (of the given label, means over the epochs), and, with the package
cleanlab (pip install 'labelnoise[audit]'), its label quality and whether confident learning calls the label an issue.
On the page, A accepts the proposed label, R keeps the given one, and S saves decisions.json. With decisions= nothing is
trained: DIR/labels.csv gets the given labels of DIR/audit.csv, or the proposed ones where they were accepted.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from labelnoise.audit.confident_learning import Second, confident_learning, installed
from labelnoise.audit.default_loss import default_loss
from labelnoise.audit.evaluation import table, wrong_labels
from labelnoise.audit.judging import Judged, judge, judge_out_of_fold
from labelnoise.audit.page import Image, render
from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.experiment.assemble import load_noisy
from labelnoise.files.atomic import write_whole
from labelnoise.files.csv_text import csv_text

if TYPE_CHECKING:
    from torch import Tensor

COLUMNS = ("path", "given", "proposed", "probability", "score", "loss", "margin", "cleanlab_quality", "cleanlab_issue")


class Options(NamedTuple):
    """Attributes: the audit's own options; overrides, those of the training."""

    out: Path
    folds: int
    show: int
    compare: bool
    overrides: list[str]


def audit(arguments: list[str]) -> None:
    """Train, rank, and write audit.csv and audit.html.

    Raises:
        ValueError: an option or the data is wrong; else as `labelnoise.experiment.run.train`.
    """
    given = dict(argument.partition("=")[::2] for argument in arguments)
    if "decisions" in given:
        _decide(given)
        return
    options = _options(arguments)
    cfg = compose(options.overrides)
    check(cfg)
    if cfg.num_val or cfg.num_trusted:
        option = "num_val" if cfg.num_val else "num_trusted"
        raise ValueError(f"{option}={cfg[option]}: must be 0, labelnoise audit judges every training image")
    if options.compare and wrong_labels(*load_noisy(cfg)) is None:  # before anything is trained
        name = cfg.dataset.name
        raise ValueError(f"compare=true: dataset={name} has no known true labels that differ from the given")
    chosen: list[str] = []
    if not any(override.startswith("loss=") for override in options.overrides):
        name, line = default_loss(options.overrides)
        chosen = [f"loss={name}"]
        print(line)
    judged = _judged(options, chosen)
    second = confident_learning(judged.labels, judged.probs) if installed() else None
    if second is None:
        print("without cleanlab's scores: cleanlab is not installed (pip install 'labelnoise[audit]')")
    order = (-judged.clean).argsort(descending=True, stable=True)
    _write(options, judged, second, order)
    if options.compare:
        print(_compared(options, judged, second))


def _decide(given: dict[str, str]) -> None:
    from labelnoise.audit.decisions import apply

    if others := given.keys() - {"decisions", "out"}:
        raise ValueError(f"{min(others)}={given[min(others)]}: decisions=FILE takes only out=DIR beside it")
    out = Path(given.get("out") or "audit").expanduser()
    apply(Path(given["decisions"]), out / "audit.csv", out / "labels.csv")


def _options(arguments: list[str]) -> Options:
    given, overrides = split_named(arguments, "out", "folds", "show", "compare")
    folds, show, compare = given.get("folds", "0"), given.get("show", "500"), given.get("compare", "false")
    if not folds.isdecimal() or int(folds) == 1 or int(folds) > 100:
        raise ValueError(f"folds={folds}: must be 0, or a whole number from 2 to 100")
    if not show.isdecimal():
        raise ValueError(f"show={show}: must be a whole number, at least 0")
    if compare not in ("true", "false"):
        raise ValueError(f"compare={compare}: must be true or false")
    if given.get("out") == "":
        raise ValueError("out=: must be a folder")
    out = Path(given.get("out", "audit")).expanduser()
    if not any(a.startswith("method=") for a in overrides):
        overrides.append("method=audited_erm")
    if not any(a.startswith("results=") for a in overrides):
        overrides.append(f"results={out / 'runs'}")
    return Options(out, int(folds), int(show), compare == "true", overrides)


def _judged(options: Options, chosen: list[str]) -> Judged:
    cfg = compose([*options.overrides, *chosen])
    return judge_out_of_fold(cfg, options.folds, options.out) if options.folds else judge(cfg)


def _write(options: Options, judged: Judged, second: Second | None, order: "Tensor") -> None:
    dataset, classes = judged.dataset, judged.dataset.classes
    rows: list[tuple[str, ...]] = [COLUMNS]
    shown = []
    for rank, (i, number) in enumerate(zip(order.tolist(), dataset.original(order).tolist(), strict=True)):
        path = str(number) if dataset.paths is None else dataset.paths[i]
        given, proposed = classes[judged.labels[i]], classes[judged.proposed[i]]
        probability, score = float(judged.probs[i, judged.proposed[i]]), float(1 - judged.clean[i])
        opinion = ("", "") if second is None else (f"{second.quality[i]:.4f}", str(bool(second.issue[i])).lower())
        numbers = (f"{probability:.4f}", f"{score:.6f}", f"{judged.loss[i]:.4f}", f"{judged.margin[i]:.4f}")
        rows.append((path, given, proposed, *numbers, *opinion))
        if rank < options.show:
            shown.append(Image(path, given, proposed, probability, score, opinion[1], dataset.train_images[i]))
    csv_file = write_whole(options.out / "audit.csv", csv_text(rows).encode())
    page = write_whole(options.out / "audit.html", render(dataset.name, classes, shown, len(order)).encode())
    print(f"{csv_file} written: {len(order):,} images, worst first")
    print(f"{page} written: the first {len(shown):,} to decide on")


def _compared(options: Options, judged: Judged, second: Second | None) -> str:
    """The table of rankings; trains a second network with cross-entropy for as many epochs."""
    wrong = wrong_labels(judged.dataset, judged.labels)
    assert wrong is not None
    rankings = {"ours": -judged.clean}
    if second is not None:
        rankings["cleanlab on our probabilities"] = -second.quality
        rankings["cleanlab on the same network's last epoch"] = -confident_learning(judged.labels, judged.last).quality
    from labelnoise.losses.base import of_label

    print("training with plain cross-entropy to compare")
    others = [override for override in options.overrides if not override.startswith("loss=")]
    plain = _judged(options._replace(overrides=others), ["loss=ce"])
    rankings["cross-entropy's loss after the last epoch"] = -of_label(plain.last, plain.labels)
    if installed():
        rankings["cleanlab on cross-entropy's last epoch"] = -confident_learning(plain.labels, plain.last).quality
    count = int(wrong.sum())
    return f"\n{count:,} of {len(wrong):,} labels are wrong ({count / len(wrong):.1%})\n{table(rankings, wrong)}"
