"""Classify a data set's test images with a saved network (save_model=true) and report its accuracy.

python scripts/predict.py model=runs/0123456789ab.safetensors dataset=cifar10 out=predictions.csv

out= writes one line an image: its true class, the predicted one and that one's probability.
"""

import csv
import io
import json
from pathlib import Path

import hydra
import torch
from safetensors import SafetensorError, safe_open

from labelnoise.cli.errors import script
from labelnoise.data.train_set import normalise
from labelnoise.experiment.config import check
from labelnoise.experiment.run import compose
from labelnoise.files.atomic import write_whole
from labelnoise.training.device import prepare, settle

BATCH = 1000


def load(path: str) -> tuple[torch.nn.Module, dict[str, list]]:
    """The saved network in evaluation mode, and its shape, classes, mean and std.

    Raises:
        ValueError: the file is not there or is not a network saved by this program.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = {name: json.loads(text) for name, text in file.metadata().items() if name != "run_id"}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        channels, size = about["shape"][0], about["shape"][-1]
        if not str(about["network"]["_target_"]).startswith("labelnoise.networks.") or any(
            isinstance(value, dict | list) for value in about["network"].values()
        ):
            raise ValueError(f"its network is {about['network']}")  # a file must not choose what is called
        network = hydra.utils.instantiate(about["network"])(len(about["classes"]), channels, size)
        network.load_state_dict(weights)
    except (OSError, SafetensorError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"model={path}: not a network saved with save_model=true ({reason})") from None
    return network.eval(), about


@torch.no_grad()
def predict(arguments: list[str]) -> None:
    """Print the accuracy; write `out=`."""
    own = {name: value for name, _, value in (a.partition("=") for a in arguments) if name in ("model", "out")}
    if "model" not in own:
        raise ValueError("model: needs a value, model=<results>/<run_id>.safetensors")
    cfg = compose([a for a in arguments if a.partition("=")[0] not in own])
    check(cfg)
    network, about = load(own["model"])
    place = prepare(cfg.device, "float32", cfg.threads)
    dataset = hydra.utils.instantiate(cfg.dataset.load)()
    if list(dataset.train_images.shape[1:]) != about["shape"] or list(dataset.classes) != about["classes"]:
        raise ValueError(f"dataset={dataset.name}: other images or classes than model={own['model']} was trained on")
    network = network.to(place.device).to(memory_format=torch.channels_last)
    settle(place, cfg.threads, network, about["shape"], BATCH)
    mean, std = (torch.tensor(about[name], device=place.device)[:, None, None] for name in ("mean", "std"))
    probs = torch.cat(
        [
            network(normalise(part.to(place.device), mean, std)).float().softmax(dim=1).cpu()
            for part in dataset.test_images.split(BATCH)
        ]
    )
    confidence, predicted = probs.max(dim=1)
    print(f"{dataset.name}: {(predicted == dataset.test_labels).double().mean():.2%} of {len(predicted):,} test images")
    if "out" in own:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "true", "predicted", "probability"])
        rows = zip(dataset.test_labels.tolist(), predicted.tolist(), confidence.tolist(), strict=True)
        for i, (true, guess, probability) in enumerate(rows):
            writer.writerow([i, dataset.classes[true], dataset.classes[guess], f"{probability:.4f}"])
        write_whole(Path(own["out"]), text.getvalue().encode())
        print(f"{own['out']} written")


if __name__ == "__main__":
    script(predict, __doc__)
