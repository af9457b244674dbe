"""Classify images with a saved network (save_model=true) and report its accuracy.

labelnoise predict model=runs/0123456789ab.safetensors dataset=cifar10 out=predictions.csv
labelnoise predict model=runs/0123456789ab.safetensors split=train out=train.csv

split=test, the default, takes the test images of dataset=. split=train and split=val take those that the run trained
on, or held out, with their noisy labels. They need the run's record beside the network: noise, seeds and parts are made
again from it, and the labels must have the record's label_hash. Options are only needed where the record lacks them, as
for files of your own: data_dir=, noise=file noise.path=...

out= writes one line per image: its number, true class, predicted class and the predicted class's probability; with
split=train and split=val also the given class, before the true one, which is empty if unknown. The number is the
image's position among all training images of the data set, from 0, in the order of a label file (noise=file); among the
validation images if split=val takes the data set's own.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

from omegaconf import DictConfig

from labelnoise.arguments.ranges import either
from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.config.identity import effective_component, identity
from labelnoise.config.naming import as_yaml, flat
from labelnoise.experiment import saved_network
from labelnoise.experiment.assemble import load_noisy
from labelnoise.experiment.image_sets import ImageSet, Split, image_set
from labelnoise.experiment.metrics import label_hash
from labelnoise.files.atomic import write_whole
from labelnoise.files.csv_text import csv_text
from labelnoise.files.text import plain
from labelnoise.records import store
from labelnoise.report.commands import command_of

if TYPE_CHECKING:  # torch takes a second to import, and --help does not need it
    from torch import Tensor

    from labelnoise.training.device import Runtime

BATCH = 1000
SPLITS = get_args(Split)
OF_LABELS = ("num_val", "num_trusted", "trusted_from", "seed_noise", "seed_data")  # with data set and noise


def predict(arguments: list[str]) -> None:
    """Print the accuracy; write `out=`.

    Args:
        arguments: model=, split=, out= and train's options.
    Raises:
        ValueError: an option is wrong, the network is not for this data set, or the labels are not those of the run.
    """
    from labelnoise.training.device import prepare

    own, overrides = split_named(arguments, "model", "out", "split")
    path, split = own.get("model"), own.get("split", "test")
    if not path:
        raise ValueError("model: needs a value, model=<results>/<run_id>.safetensors")
    if split not in SPLITS:
        raise ValueError(f"split={split}: must be {either(SPLITS)}")
    saved = saved_network.read(path, overrides)
    record = None if split == "test" else _record(path, saved.about.run_id, split)
    cfg = compose(overrides if record is None else _with_its_options(record, overrides))
    check(cfg)
    if record is not None:
        _check_options(cfg, record, path)
    runtime = prepare(cfg.device, "float32", cfg.threads)
    dataset, labels = load_noisy(cfg)
    # Checked before building, so that the data set, not the file, decides how large the network gets.
    if list(dataset.train_images.shape[1:]) != saved.about.shape or list(dataset.classes) != saved.about.classes:
        raise ValueError(f"dataset={dataset.name}: other images or classes than model={path} was trained on")
    if record is not None and record["noise"].get("label_hash") not in (None, ours := label_hash(labels)):
        theirs = plain(record["noise"]["label_hash"])
        raise ValueError(f"model={path}: the labels have changed since its run (label hash {ours}, then {theirs})")
    chosen = image_set(cfg, dataset, labels, cast(Split, split))
    probs = probabilities(saved, path, chosen.images, runtime, cfg.threads)
    confidence, predicted = probs.max(dim=1)
    print(_in_short(dataset.name, chosen, predicted))
    if "out" in own:
        write_whole(Path(own["out"]), _as_csv(dataset.classes, chosen, predicted, confidence).encode())
        print(f"{own['out']} written")


def _record(path: str, run_id: str, split: str) -> store.Record:
    """The record of the run that saved the network.

    Raises:
        ValueError: it is not beside the network's file.
    """
    file = Path(path).parent / f"{run_id}.json"
    try:
        return store.load(file)
    except OSError:
        raise ValueError(f"split={split}: needs the run's record beside the network, and there is no {file}") from None


def _with_its_options(record: store.Record, overrides: list[str]) -> list[str]:
    """The run's options, those that are given last; only these if the record does not determine the others."""
    given = {override.partition("=")[0] for override in [*overrides, "threads="]}
    return [o for o in command_of(record) or () if o.partition("=")[0] not in given] + overrides


def _check_options(cfg: DictConfig, record: store.Record, path: str) -> None:
    """Refuse a configuration with other data, noise or parts than the run's.

    Raises:
        ValueError: names the first option that differs.
    """
    theirs = {key: record["config"][key] for key in ("noise", *OF_LABELS) if key in record["config"]}
    dataset = record["config"].get("dataset")
    images = ("load", "imbalance")
    theirs["dataset"] = {key: dataset.get(key) for key in images} if isinstance(dataset, dict) else dataset
    ours: dict[str, Any] = {key: cfg[key] for key in OF_LABELS}
    ours["noise"] = effective_component(cfg.noise, "noise")
    ours["dataset"] = {
        "load": effective_component(cfg.dataset.load, "dataset.load"),
        "imbalance": cfg.dataset.imbalance,
    }
    one, other = (flat(json.loads(identity(config))) for config in (ours, theirs))
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            here, there = (plain(as_yaml(values.get(key)))[:80] for values in (one, other))
            name = key.removesuffix(".load._target_").removesuffix("._target_")
            raise ValueError(f"{name}={here}: the run of model={path} had {there}; give its options")


def _in_short(name: str, chosen: ImageSet, predicted: "Tensor") -> str:
    shares = [None if of is None else (predicted == of).double().mean() for of in (chosen.given, chosen.true)]
    if chosen.given is None:
        return f"{name}: {shares[1]:.2%} of {len(predicted):,} test images"
    truth = "the true ones are unknown" if shares[1] is None else f"{shares[1]:.2%} against the true ones"
    where = f"{len(predicted):,} of the {chosen.of} images"
    return f"{name}: {where}: accuracy {shares[0]:.2%} against the given labels, {truth}"


def probabilities(
    saved: saved_network.SavedNetwork, path: str, images: Any, runtime: "Runtime", threads: int | str
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

    from labelnoise.data.train_set import normalise, per_channel
    from labelnoise.training.device import choose_threads

    device = runtime.device
    network = saved_network.build(saved, path).to(device).to(memory_format=torch.channels_last)
    choose_threads(runtime, threads, network, saved.about.shape, BATCH)
    mean, std = (per_channel(v, images[:1]).to(device) for v in (saved.about.mean, saved.about.std))
    with torch.no_grad():
        batches = (images[index].to(device) for index in torch.arange(len(images)).split(BATCH))
        parts = [network(normalise(batch, mean, std)).float().cpu() for batch in batches]
    probs = torch.cat(parts)[:, : len(saved.about.classes)].softmax(dim=1)
    if not probs.isfinite().all():
        raise ValueError(f"model={path}: its outputs are not finite")
    return probs


def _as_csv(classes: tuple[str, ...], chosen: ImageSet, predicted: "Tensor", confidence: "Tensor") -> str:
    columns: dict[str, list[Any]] = {"image": chosen.position.tolist()}
    labels = {"true": chosen.true, "predicted": predicted}
    for name, values in (labels if chosen.given is None else {"given": chosen.given, **labels}).items():
        columns[name] = [None] * len(predicted) if values is None else [classes[c] for c in values.tolist()]
    columns["probability"] = [f"{probability:.4f}" for probability in confidence.tolist()]
    return csv_text([columns, *zip(*columns.values(), strict=True)])
