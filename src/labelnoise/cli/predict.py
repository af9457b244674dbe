"""Classify a data set's test images with a saved network (save_model=true) and report its accuracy.

labelnoise predict model=runs/0123456789ab.safetensors dataset=cifar10 out=predictions.csv

out= writes one line per image: true class, predicted class and the predicted class's probability.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.experiment import saved_network
from labelnoise.experiment.assemble import load_noisy
from labelnoise.files.atomic import write_whole
from labelnoise.files.csv_text import csv_text

if TYPE_CHECKING:  # torch takes a second to import, and --help does not need it
    from torch import Tensor

    from labelnoise.data.dataset import Dataset
    from labelnoise.training.device import Runtime

BATCH = 1000


def predict(arguments: list[str]) -> None:
    """Print the accuracy; write `out=`.

    Args:
        arguments: model=, out= and train's options; dataset, data_dir, device and threads are used.
    Raises:
        ValueError: an option is wrong, or the network is not for this data set.
    """
    from labelnoise.training.device import prepare

    own, overrides = split_named(arguments, "model", "out")
    if not own.get("model"):
        raise ValueError("model: needs a value, model=<results>/<run_id>.safetensors")
    cfg = compose(overrides)
    check(cfg)
    saved = saved_network.read(own["model"], overrides)
    runtime = prepare(cfg.device, "float32", cfg.threads)
    dataset, _ = load_noisy(cfg)
    # Checked before building, so that the data set, not the file, decides how large the network gets.
    if list(dataset.train_images.shape[1:]) != saved.about.shape or list(dataset.classes) != saved.about.classes:
        raise ValueError(f"dataset={dataset.name}: other images or classes than model={own['model']} was trained on")
    probs = probabilities(saved, own["model"], dataset.test_images, runtime, cfg.threads)
    confidence, predicted = probs.max(dim=1)
    right = (predicted == dataset.test_labels).double().mean()
    print(f"{dataset.name}: {right:.2%} of {len(predicted):,} test images")
    if "out" in own:
        write_whole(Path(own["out"]), _as_csv(dataset, predicted, confidence).encode())
        print(f"{own['out']} written")


def probabilities(
    saved: saved_network.SavedNetwork, path: str, images: "Tensor", runtime: "Runtime", threads: int | str
) -> "Tensor":
    """The classes' probabilities. Outputs beyond those of the classes are dropped before the softmax.

    Shapes: (N, channels, H, W) uint8 -> (N, C) on the CPU, float32.
    Args:
        path: the file's, for the message.
        threads: as the option.
    Raises:
        ValueError: the weights are not those of this network, or its outputs are not finite.
    """
    import torch

    from labelnoise.data.train_set import normalise
    from labelnoise.training.device import choose_threads

    device = runtime.device
    network = saved_network.build(saved, path).to(device).to(memory_format=torch.channels_last)
    choose_threads(runtime, threads, network, saved.about.shape, BATCH)
    mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (saved.about.mean, saved.about.std))
    with torch.no_grad():
        parts = [network(normalise(part.to(device), mean, std)).float().cpu() for part in images.split(BATCH)]
    probs = torch.cat(parts)[:, : len(saved.about.classes)].softmax(dim=1)
    if not probs.isfinite().all():
        raise ValueError(f"model={path}: its outputs are not finite")
    return probs


def _as_csv(dataset: "Dataset", predicted: "Tensor", confidence: "Tensor") -> str:
    images = enumerate(zip(dataset.test_labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True))
    names = dataset.classes
    rows = ((i, names[true], names[guess], f"{probability:.4f}") for i, (true, guess, probability) in images)
    return csv_text([("image", "true", "predicted", "probability"), *rows])
