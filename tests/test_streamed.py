"""Images decoded for every batch: the same pixels, batches and records as images in memory."""

from pathlib import Path

import pytest
import torch
from support.image_trees import tree

from labelnoise.data import streamed
from labelnoise.data.augment import crop_flip_rotate
from labelnoise.data.dataset import Dataset
from labelnoise.data.folder import folder
from labelnoise.data.streamed import StreamedImages, StreamedTrainSet
from labelnoise.data.train_set import TrainSet
from labelnoise.experiment.run import compose, run

SHADES = {"cat": 60, "dog": 190}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree(tmp_path_factory.mktemp("images"), SHADES, 12)


@pytest.fixture(scope="module")
def both(made: Path) -> tuple[Dataset, Dataset]:
    return folder(str(made), size=8), folder(str(made), size=8, stream=True)


def train_set(data: Dataset) -> TrainSet:
    kind = StreamedTrainSet if isinstance(data.train_images, StreamedImages) else TrainSet

    def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return crop_flip_rotate(images, generator, 2, True, 0.0)

    generator = torch.Generator().manual_seed(3)
    return kind(data.train_images, data.train_labels, 2, data.mean, data.std, augment, generator)


def test_the_data_set_is_the_same(both: tuple[Dataset, Dataset]) -> None:
    held, streams = both
    assert isinstance(streams.train_images, StreamedImages)
    assert streams.train_images.shape == held.train_images.shape
    everyone = torch.arange(len(held.train_labels))
    assert torch.equal(streams.train_images[everyone], held.train_images)
    assert torch.equal(streams.train_images[3], held.train_images[3])
    assert torch.equal(streams.train_images.part(everyone[5:])[everyone[:2]], held.train_images[5:7])
    assert torch.equal(streams.test_images, held.test_images)
    assert (streams.mean, streams.std) == (held.mean, held.std)
    assert (streams.paths, streams.classes) == (held.paths, held.classes)


def test_every_member_gives_the_same_batches(both: tuple[Dataset, Dataset]) -> None:
    held, streams = (train_set(data) for data in both)
    assert len(held) == len(streams) == 20
    for _ in range(2):
        ours, theirs = streams.order(6), held.order(6)
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.equal(mine, other)
            for got, wanted in zip(streams.batch(mine), held.batch(other), strict=True):
                assert torch.equal(got, wanted)
            assert torch.equal(streams.view(mine), held.view(other))  # a second view of the same images
            assert torch.equal(streams.plain(mine), held.plain(other))
    some = torch.tensor([19, 0, 7])
    assert torch.equal(streams.plain(some), held.plain(some))
    assert torch.equal(torch.cat(streams.order(4, some)), torch.cat(held.order(4, some)))


def test_batches_in_another_order_than_announced_are_right(both: tuple[Dataset, Dataset]) -> None:
    held, streams = (train_set(data) for data in both)
    parts = streams.order(5)
    for part in (parts[1], parts[0], parts[0][:2], parts[2]):
        assert torch.equal(streams.plain(part), held.plain(part))


def test_the_next_batches_are_decoded_ahead(both: tuple[Dataset, Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = StreamedImages.ahead

    def ahead(self: StreamedImages, positions: list[int]) -> object:
        asked.append(len(positions))
        return original(self, positions)

    monkeypatch.setattr(StreamedImages, "ahead", ahead)
    monkeypatch.setattr(streamed, "workers_for_decoding", lambda: 1)
    trained = train_set(both[1])
    parts = trained.order(2)
    trained.batch(parts[0])
    assert asked == [2] * 3  # the batch itself and AHEAD more
    for part in parts[1:]:
        trained.batch(part)
    assert sum(asked) == 20  # each image once


def test_a_run_gives_the_same_record(made: Path, tmp_path: Path) -> None:
    short = ["dataset=folder", f"data_dir={made}", "dataset.load.size=8", "network=cnn4", "epochs=2", "batch_size=8"]
    records = [
        run(
            compose([*short, "threads=1", "num_val=4", f"results={tmp_path}", f"dataset.load.stream={stream}"]),
            quiet=True,
        )
        for stream in ("true", "false")
    ]
    assert records[0]["history"] == records[1]["history"]
    assert records[0]["metrics"] == records[1]["metrics"]


def test_an_image_that_went_away_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path, SHADES, 3)
    data = folder(str(root), size=8, stream=True)
    (root / (data.paths or ())[0]).unlink()
    with pytest.raises(
        OSError, match=r"000.png: could be read when the data set was loaded, but not any more \(no such file\)"
    ):
        data.train_images[torch.tensor([0])]


def test_it_is_chosen_where_memory_does_not_suffice(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("labelnoise.data.from_files.memory", lambda: 2 * 20 * 8 * 8 * 3 - 1)
    assert isinstance(folder(str(made), size=8).train_images, StreamedImages)
    monkeypatch.setattr("labelnoise.data.from_files.memory", lambda: 2 * 20 * 8 * 8 * 3)
    assert isinstance(folder(str(made), size=8).train_images, torch.Tensor)
