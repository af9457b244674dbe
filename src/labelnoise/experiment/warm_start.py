"""Warm start, `init=FILE`: the run's networks begin with the weights of a saved one instead of random weights."""

from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from labelnoise.config.identity import effective_component, short_name
from labelnoise.config.naming import as_yaml
from labelnoise.files.text import plain

if TYPE_CHECKING:
    from torch import nn

    from labelnoise.data.dataset import Dataset
    from labelnoise.experiment.saved_network import SavedNetwork


def read_for(cfg: DictConfig, dataset: "Dataset", path: str, option: str) -> "SavedNetwork":
    """A saved network's file that fits the data set.

    Args:
        option: that gave the path, for the message.
    Raises:
        ValueError: it is not a saved network, or was trained on other images or classes.
    """
    from labelnoise.experiment import saved_network

    saved = saved_network.read(path, option=option, own=cfg.network._target_)
    if list(dataset.train_images.shape[1:]) != saved.about.shape or list(dataset.classes) != saved.about.classes:
        raise ValueError(f"{option}={path}: was trained on other images or classes than dataset={dataset.name}")
    return saved


def initial_weights(cfg: DictConfig, dataset: "Dataset") -> "SavedNetwork | None":
    """The network in `init=`, or None if the networks begin with random weights.

    Raises:
        ValueError: as `read_for`; or it is another network than `network=`.
    """
    if cfg.init is None:
        return None
    saved = read_for(cfg, dataset, cfg.init, "init")
    ours, theirs = _arguments(effective_component(cfg.network, "network")), _arguments(saved.about.network)
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            one, other = (plain(as_yaml(of.get(key))) for of in (theirs, ours))
            what = "is the network" if key == "_target_" else f"has network.{key}"
            raise ValueError(f"init={cfg.init}: {what} {one}, and this run's is {other}")
    return saved


def _arguments(network: dict[str, Any]) -> dict[str, Any]:
    """A network's function and arguments, without those that only say where its weights came from."""
    kept = {key: value for key, value in network.items() if key not in ("_partial_", "weights")}
    return kept | {"_target_": short_name(str(network.get("_target_")))}


def begin_with(network: "nn.Module", saved: "SavedNetwork", own_head: bool, path: str) -> None:
    """Load the saved weights into a new network, in place.

    Args:
        own_head: keep the new network's last layer.
        path: the file's, for the message.
    Raises:
        ValueError: the network has other outputs, or its last layer cannot be told from the rest.
    """
    head = _head(network, path) if own_head else ()
    weights = saved.weights | {name: own for name, own in network.state_dict().items() if name.startswith(head)}
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        reason = plain((str(error).splitlines() or [""])[-1].strip())
        raise ValueError(f"init={path}: does not fit this run's network ({reason})") from None


def _head(network: "nn.Module", path: str) -> str:
    """What the names of the last layer's weights begin with."""
    find: Any = getattr(getattr(network, "model", None), "get_classifier", None)
    head = find() if find else getattr(network, "head", None)
    for name, module in network.named_modules():
        if module is head:
            return f"{name}."
    raise ValueError(f"init={path}: a second network needs a last layer of its own, and this one has no module `head`")
