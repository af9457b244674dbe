"""record_predictions=true: what is in the .npz beside a record, and that it changes nothing else. Predictions from
Python are float32, and belong to the images that the indices name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.command import Ended, stop_at

from labelnoise import compose, train
from labelnoise.experiment.run import Trained
from labelnoise.records import store
from labelnoise.training import checkpoints
from labelnoise.training.predictions import Predictions

SHORT = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=3", "num_val=400", "num_trusted=500", "threads=1"]
RECORDED = [*SHORT, "eval_every=2", "record_predictions=true"]


def arrays(folder: Path) -> dict[str, np.ndarray]:
    (path,) = folder.glob("*.npz")
    with np.load(path) as file:  # allow_pickle=False is the default
        return dict(file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, dict[str, np.ndarray]]:
    folder = tmp_path_factory.mktemp("whole")
    result = train(compose([*RECORDED, f"results={folder}"]), quiet=True)
    return result, arrays(folder)


def test_the_file_has_every_image_that_was_trained_on(trained: tuple[Trained, dict[str, np.ndarray]]) -> None:
    run, file = trained
    assert file["index"].tolist() == run.train_index.tolist()
    assert len(file["index"]) == 537
    assert (file["given"] == run.noisy_labels[run.train_index].numpy()).all()
    assert (file["true"] == run.dataset.true_labels[run.train_index].numpy()).all()
    assert (file["given"] != file["true"]).mean() == pytest.approx(0.4, abs=0.05)
    assert file["epoch"].tolist() == [2, 3], "the evaluated ones"
    assert (file["probabilities"].dtype, file["given_probability"].dtype) == (np.float16, np.float16)
    assert file["predicted"].dtype == np.uint8


def test_the_last_epochs_predictions_are_the_trained_methods(trained: tuple[Trained, dict[str, np.ndarray]]) -> None:
    run, file = trained
    expected = run.probabilities(run.dataset.train_images[run.train_index])
    assert expected.dtype == torch.float32
    assert np.abs(file["probabilities"] - expected.numpy()).max() < 1e-3
    assert (file["predicted"][-1] == expected.argmax(dim=1).numpy()).all()
    given = file["probabilities"][np.arange(537), file["given"]]
    assert (file["given_probability"][-1] == given).all()
    assert (file["predicted"][0] != file["predicted"][-1]).any(), "of another epoch"


def test_they_are_of_images_without_augmentation(trained: tuple[Trained, dict[str, np.ndarray]]) -> None:
    method, found = trained[0].method, Predictions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method.train_set, "_augment", lambda images, generator: 255 - images)
        found.note(method, 3)
    assert (found.predicted[0].numpy() == trained[1]["predicted"][-1]).all()


def test_the_indices_name_the_images(trained: tuple[Trained, dict[str, np.ndarray]]) -> None:
    run, _ = trained
    indices = (run.train_index, run.val_index, run.trusted_index)
    assert torch.cat(indices).sort().values.tolist() == list(range(1437)), "every image once"
    ours, trusted = run.method.train_set, run.method.train_set.trusted
    assert trusted is not None
    assert torch.equal(ours.labels, run.noisy_labels[run.train_index])
    assert torch.equal(ours.images, run.dataset.train_images[run.train_index])
    assert torch.equal(trusted.labels, run.dataset.true_labels[run.trusted_index])
    assert len(run.val_index) == 400


def test_nothing_else_changes_and_a_stopped_run_keeps_its_epochs(
    trained: tuple[Trained, dict[str, np.ndarray]], train: Callable[..., Ended], tmp_path: Path
) -> None:
    whole, file = trained
    plain = [*SHORT, "eval_every=2", f"results={tmp_path}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "AT_LEAST", 0.0)
        stop_at(42, patch)  # of 51 steps: in the third epoch
        assert train(*plain, "record_predictions=true").code == 75
    assert not list(tmp_path.glob("*.npz"))
    assert train(*plain, "record_predictions=true").code == 0
    again = arrays(tmp_path)
    assert again.keys() == file.keys()
    assert all((again[name] == file[name]).all() for name in file)
    assert "is done already" in train(*plain, "record_predictions=true").out
    assert train(*plain, "force=true").code == 0
    assert not list(tmp_path.glob("*.npz")), "those of the earlier training"
    (path,) = tmp_path.glob("*.json")
    record = store.load(path)
    assert [record[key] == whole.record[key] for key in ("run_id", "metrics", "history")] == [True] * 3
    assert "is done already" not in train(*plain, "record_predictions=true").out
    assert arrays(tmp_path).keys() == file.keys()


def test_predictions_of_a_run_in_bfloat16_are_float32(tmp_path: Path) -> None:
    job = ["dataset=digits", "noise=sym", "rate=0.4", "epochs=1", "num_trusted=1300", "threads=1"]
    run = train(compose([*job, "precision=bfloat16", f"results={tmp_path}"]), quiet=True)
    images = run.method.train_set.plain(torch.arange(20))
    run.method.eval()
    assert run.method.predict(images).dtype == torch.float32
    run.method.train()
    assert run.method.predict(images).dtype == torch.bfloat16, "in training the step decides"
    assert run.probabilities(run.dataset.test_images).sum(dim=1).allclose(torch.ones(360))
