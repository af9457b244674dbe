"""The audit: rankings against true labels, the files that it writes, mistakes in its options."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.image_trees import image, table

from labelnoise.audit.default_loss import default_loss
from labelnoise.audit.evaluation import cuts, quality
from labelnoise.audit.page import Image, png, render
from labelnoise.cli.audit import audit
from labelnoise.data.held_out import fold_of, held_out
from labelnoise.experiment.run import compose, train
from labelnoise.losses.base import margin

SHORT = ["network=cnn4", "batch_size=8", "threads=1", "device=cpu"]
WRONG = ("cat/002.png", "dog/005.png", "dog/011.png")
SHADES = {"cat": 50, "dog": 200}


@pytest.fixture(scope="module")
def mislabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images to train on whose shade tells their class, three of them with the other label; 4 to test on."""
    root = tmp_path_factory.mktemp("images")
    rows = []
    for name, other in (("cat", "dog"), ("dog", "cat")):
        for i in range(14):
            path = image(root / name / f"{i:03}.png", SHADES[name], i).relative_to(root).as_posix()
            rows.append((path, other if path in WRONG else name, "test" if i >= 12 else "train"))
    table(root / "labels.csv", rows, ("path", "label", "split"))
    return root


def options(root: Path) -> list[str]:
    return ["dataset=folder", f"data_dir={root}", "dataset.load.labels=labels.csv", "dataset.load.size=8", *SHORT]


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "audit.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("folds", [0, 2])
def test_the_wrong_labels_come_first(folds: int, mislabelled: Path, tmp_path: Path, labelnoise) -> None:
    pytest.importorskip("cleanlab")
    loss = [] if folds == 0 else ["loss=mae"]
    given = [*options(mislabelled), *loss, "epochs=8", f"folds={folds}", f"out={tmp_path}", "show=5"]
    ended = labelnoise("audit", *given)
    assert ended.code == 0, ended.err
    rows = rows_of(tmp_path)
    assert {row["path"] for row in rows[:3]} == set(WRONG)
    assert len(rows) == 24
    assert [float(row["score"]) for row in rows] == sorted((float(row["score"]) for row in rows), reverse=True)
    for row in rows[:3]:
        truth = row["path"].split("/")[0]
        assert (row["given"] != truth, row["proposed"] == truth) == (True, True)
        assert float(row["probability"]) > 0.5
        assert row["cleanlab_quality"] < rows[-1]["cleanlab_quality"]
    text = (tmp_path / "audit.html").read_text()
    assert re.findall(r'data-path="([^"]+)"', text) == [row["path"] for row in rows[:5]]
    assert len(re.findall("data:image/png;base64,", text)) == 5
    assert ("loss=nce_agce: tolerant of 40% symmetric noise at 2 classes" in ended.out) == (folds == 0)
    assert len(list((tmp_path / "runs").glob("*.json"))) == max(folds, 1)


def test_an_audit_by_folds_goes_on_where_it_was_stopped(mislabelled: Path, tmp_path: Path, labelnoise) -> None:
    given = [*options(mislabelled), "loss=mae", "epochs=2", "folds=3", f"out={tmp_path}"]
    first = labelnoise("audit", *given)
    table_of_first = rows_of(tmp_path)
    kept = sorted((tmp_path / "folds").iterdir())
    assert (first.code, len(kept)) == (0, 3)
    kept[1].unlink()
    kept[2].write_bytes(b"torn")
    again = labelnoise("audit", *given)
    assert again.code == 0, again.err
    assert again.out.count("is done already (force=true trains it again)") == 1
    assert again.out.count("test accuracy") == 2, "two folds were trained"
    assert rows_of(tmp_path) == table_of_first
    assert "is done already" not in labelnoise("audit", *given, "force=true").out
    other = labelnoise("audit", *given, "seed=7")
    assert "is done already" not in other.out, "another run, another file"


def test_folds_of_a_data_set_with_injected_noise(tmp_path: Path, labelnoise) -> None:
    given = ["dataset=digits", "noise=sym", "rate=0.4", "folds=2", "epochs=1", "loss=mae", f"out={tmp_path}"]
    ended = labelnoise("audit", *given)
    assert ended.code == 0, ended.err
    rows = rows_of(tmp_path)
    assert len(rows) == 1437
    differs = [row["given"] != row["proposed"] for row in rows]
    assert sum(differs[:500]) > 0.9 * 500 > 3 * sum(differs[-500:]), "the labels in the file are the noisy ones"


def test_no_comparison_without_known_truth_is_refused_before_training(labelnoise, tmp_path: Path) -> None:
    ended = labelnoise("audit", "dataset=digits", "compare=true", f"out={tmp_path / 'audit'}")  # no label is wrong
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "error: compare=true: dataset=digits has no known true labels that differ from the given\n"
    assert not (tmp_path / "audit").exists()


def test_rankings_are_compared_where_the_truth_is_known(mislabelled: Path, tmp_path: Path, capsys) -> None:
    truth = [(path, path.split("/")[0]) for path in (f"{n}/{i:03}.png" for n in SHADES for i in range(14))]
    table(mislabelled / "true.csv", truth)
    corrected = "dataset.load.corrected=true.csv"
    audit([*options(mislabelled), corrected, "loss=mae", "epochs=8", f"out={tmp_path}", "compare=true"])
    said = capsys.readouterr().out
    assert "3 of 24 labels are wrong (12.5%)" in said
    lines = dict(re.findall(r"^\| (ours|cross-entropy's loss after the last epoch) \|.* ([\d.]+) \|$", said, re.M))
    assert float(lines["ours"]) == 1.0
    assert 0 < float(lines["cross-entropy's loss after the last epoch"]) <= 1


def decided(folder: Path, *decisions: tuple[str, str, str, str]) -> Path:
    """A decisions.json beside the ranking of three images."""
    (folder / "audit.csv").write_text(
        "path,given,proposed,score\na.png,cat,dog,0.9\nc.png,cat,dog,0.8\nb.png,dog,dog,0\n"
    )
    keys = ("path", "given", "proposed", "decision")
    listed = [dict(zip(keys, decision, strict=True)) for decision in decisions]
    (folder / "decisions.json").write_text(json.dumps({"audit": "0" * 16, "decisions": listed}))
    return folder / "decisions.json"


def test_decisions_become_labels(tmp_path: Path, labelnoise) -> None:
    file = decided(tmp_path, ("a.png", "cat", "dog", "accept"), ("c.png", "cat", "dog", "reject"))
    ended = labelnoise("audit", f"decisions={file}", f"out={tmp_path}")
    assert (ended.code, ended.err) == (0, "")
    assert "1 of 3 labels changed, 2 decided" in ended.out
    assert (tmp_path / "labels.csv").read_text() == "path,label\na.png,dog\nb.png,dog\nc.png,cat\n"


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (("a.png", "cat", "emu", "accept"), "a.png is not in"),
        (("x.png", "cat", "dog", "accept"), "x.png is not in"),
        (("a.png", "cat", "dog", "maybe"), "must be 'accept' or 'reject'"),
    ],
)
def test_decisions_of_another_audit_are_refused(decision, message: str, tmp_path: Path, labelnoise) -> None:
    ended = labelnoise("audit", f"decisions={decided(tmp_path, decision)}", f"out={tmp_path}")
    assert ended.code == 1
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "labels.csv").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["folds=1"], "folds=1: must be 0, or a whole number from 2"),
        (["folds=x"], "folds=x: must be"),
        (["show=-1"], "show=-1: must be a whole number, at least 0"),
        (["compare=yes"], "compare=yes: must be true or false"),
        (["out="], "out=: must be a folder"),
        (["num_val=10"], "num_val=10: must be 0, labelnoise audit judges"),
        (["method=erm"], "method=erm: does not judge labels"),
        (["epoch=3"], "epoch"),
        (["decisions=x.json"], "decisions=FILE takes only out=DIR beside it"),
    ],
)
def test_mistakes_are_one_line(options: list[str], message: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        audit(["dataset=digits", *SHORT, *options])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("audit.*"))


def test_the_default_loss_is_tolerant_and_no_cross_entropy() -> None:
    name, line = default_loss(["dataset=digits"])
    assert name == "nce_agce"
    assert line.startswith("loss=nce_agce: tolerant of 40% symmetric noise at 10 classes")


# ------------------------------------------------------------------------------------------- what it rests on


def test_statistics_are_the_means_over_the_epochs(tmp_path: Path, monkeypatch) -> None:
    """Against the outputs of every step, added up in float64."""
    from labelnoise.training.criterion import Criterion

    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = Criterion.outputs

    def outputs(self, learner, batch):
        out = original(self, learner, batch)
        seen.append((batch.index, out.logits.detach().double()))
        return out

    monkeypatch.setattr(Criterion, "outputs", outputs)
    overrides = [
        "dataset=digits",
        "noise=sym",
        "rate=0.4",
        "method=audited_erm",
        "epochs=3",
        "batch_size=479",
        *SHORT[:1],
    ]
    method = train(compose([*overrides, "threads=1", "device=cpu", f"results={tmp_path}"]), quiet=True).method
    index = torch.cat([i for i, _ in seen])
    probs = torch.cat([logits.softmax(dim=1) for _, logits in seen]).numpy()
    given = method.train_set.labels.numpy()
    for i in (0, 7, 1436):
        mine = probs[(index == i).numpy()]
        assert len(mine) == 3
        others = np.delete(mine, given[i], axis=1).max(axis=1)
        assert method.mean_probabilities()[i].numpy() == pytest.approx(mine.mean(axis=0), abs=1e-6)
        assert float(method.mean_loss()[i]) == pytest.approx(-np.log(mine[:, given[i]]).mean(), rel=1e-5)
        assert float(method.mean_margin()[i]) == pytest.approx((mine[:, given[i]] - others).mean(), abs=1e-6)
        assert float(method.judgement().clean[i]) == pytest.approx(mine[:, given[i]].prod() ** (1 / 3), rel=1e-5)
        assert int(method.judgement().proposed[i]) == mine.mean(axis=0).argmax()


def test_it_trains_as_erm_does(tmp_path: Path) -> None:
    overrides = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "batch_size=128", "network=cnn4", "threads=1"]
    one, two = (
        train(compose([*overrides, "device=cpu", f"method={name}", f"results={tmp_path}"]), quiet=True).record
        for name in ("erm", "audited_erm")
    )
    assert one["history"]["train_loss"] == two["history"]["train_loss"]
    assert one["metrics"] == two["metrics"]
    assert 0.5 < two["history"]["clean_auc"][-1] <= 1


def test_margin_by_hand() -> None:
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert margin(probs, torch.tensor([0, 1])).tolist() == pytest.approx([0.2, -0.7])


def test_precision_and_area_by_hand() -> None:
    """Ranked right, wrong, wrong, right: precision 1/2 at the first and 2/3 at the second wrong one."""
    found = quality(torch.tensor([0.1, 0.9, 0.8, 0.7]), torch.tensor([False, False, True, True]))
    assert found.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert cuts(50_000) == (1_000, 5_000, 20_000)
    assert cuts(1_437) == (29, 144, 575)
    assert found.precision == {1: 0.0, 2: 0.5}


def test_folds_part_the_images_evenly(digits, tmp_path: Path) -> None:
    labels = (digits.train_labels + 1) % 10
    np.save(tmp_path / "labels.npy", labels.numpy())
    member = fold_of(labels, 5, seed=3)
    assert not torch.equal(member, fold_of(labels, 5, seed=4))
    counts = torch.stack([torch.bincount(labels[member == fold], minlength=10) for fold in range(5)])
    assert int((counts.max(dim=0).values - counts.min(dim=0).values).max()) <= 1
    for fold in range(5):
        part = held_out(lambda: digits, str(tmp_path / "labels.npy"), fold, 5, 3)
        assert torch.equal(part.test_images, digits.train_images[member == fold])
        assert torch.equal(part.test_labels, labels[member == fold])
        assert torch.equal(part.train_images, digits.train_images[member != fold])
        assert torch.equal(part.train_labels, labels[member != fold])
    with pytest.raises(ValueError, match=r"fold=5: must be below folds=5"):
        held_out(lambda: digits, str(tmp_path / "labels.npy"), 5, 5, 3)


def test_the_page_escapes_what_files_and_classes_are_called() -> None:
    pixels = torch.arange(64, dtype=torch.uint8).view(1, 8, 8)
    made = Image('"><script>x</script>.png', "<b>", "&", 0.5, 0.9, "true", pixels)
    text = render("folder", ("<b>", "&"), [made], 1)
    assert "<script>x" not in text
    assert "<b></b>" not in text
    assert "&lt;b&gt;" in text
    assert png(pixels.expand(3, 8, 8)).startswith("data:image/png;base64,")
    assert "unsafe-inline'; img" in text  # of the policy: styles alone
    assert text.count("<script>") == 1
