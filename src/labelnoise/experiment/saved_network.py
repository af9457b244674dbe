"""A network saved with save_model=true: `<results>/<run_id>.safetensors`, the weights and the metadata to build it.

The network's first outputs are the logits of the classes, in their order. A loss or a method may train it with further
outputs after these, for itself alone: the gambler's abstention, the confidence of car. The file keeps their weights and
says how many they are (`extra_outputs`), so that the network is rebuilt as it was trained; `predict` drops them, as the
method's own prediction does. Where the last layer alone does not give that prediction, `readout` says what does.

The file may be untrusted. It selects one of the networks in configs/network and gives its arguments; nothing in it is
ever looked up as a Python name.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_type_hints

import hydra
import pydantic_core
from omegaconf import OmegaConf
from pydantic import Field, FiniteFloat, TypeAdapter, ValidationError, model_validator

from labelnoise.config.groups import config_dirs
from labelnoise.config.identity import short_name
from labelnoise.config.options import COMPONENTS
from labelnoise.files.reading import check_regular
from labelnoise.files.schema import Closed, RunId, Text, reason
from labelnoise.files.text import plain

if TYPE_CHECKING:
    from torch import Tensor, nn


class CosineReadout(Closed):
    """See `networks.readout.Cosine`."""

    name: Literal["cosine"]
    scale: Annotated[FiniteFloat, Field(gt=0)]

    def around(self, network: "nn.Module", num_classes: int) -> "nn.Module":
        from labelnoise.networks.readout import Cosine

        return Cosine(network, self.scale)


class TreeReadout(Closed):
    """See `networks.readout.Tree`. Attributes: superclass, of each class; None: all are the root's."""

    name: Literal["tree"]
    superclass: Annotated[list[Annotated[int, Field(ge=0, lt=100_000)]], Field(max_length=100_000)] | None

    def around(self, network: "nn.Module", num_classes: int) -> "nn.Module":
        from labelnoise.networks.readout import Tree

        return Tree(network, num_classes, self.superclass)


class About(Closed):
    """The metadata in a saved network's file.

    Attributes:
        run_id: of the run that trained it.
        network: the function's name in `_target_`, and its arguments.
        shape: channels, height and width of the images; or the length of the vectors.
        classes: their names, in the order of the logits.
        extra_outputs: number of outputs after those of the classes; files of earlier versions do not give it.
        mean, std: of the training images, one per channel, in [0, 1] units.
        readout: what gives the logits of the classes, if not the network alone.
    """

    run_id: RunId
    network: dict[str, bool | int | FiniteFloat | Text | None]
    shape: Annotated[list[Annotated[int, Field(ge=1, le=1_000_000)]], Field(min_length=1, max_length=3)]
    classes: Annotated[list[Text], Field(min_length=1, max_length=100_000)]
    extra_outputs: Annotated[int, Field(ge=0, le=1000)] = 0
    mean: list[FiniteFloat]
    std: list[Annotated[FiniteFloat, Field(gt=0)]]
    readout: Annotated[CosineReadout | TreeReadout, Field(discriminator="name")] | None = None

    @model_validator(mode="after")
    def _one_a_channel(self) -> "About":
        if len(self.shape) == 2 or (len(self.shape) == 3 and max(self.shape) > 4096):
            raise ValueError("shape must be that of an image, at most 4,096 a side, or the length of a vector")
        if not len(self.mean) == len(self.std) == self.shape[0]:
            raise ValueError("mean and std must have a number for each channel")
        tree = self.readout if isinstance(self.readout, TreeReadout) else None
        inner = None if tree is None else 1 + len(set(tree.superclass or ()))
        if inner not in (None, self.extra_outputs):
            raise ValueError("readout and extra_outputs are of different trees")
        if tree is not None and tree.superclass is not None and len(tree.superclass) != len(self.classes):
            raise ValueError("readout must have a superclass for each class")
        return self


class SavedNetwork(NamedTuple):
    """Attributes: about; weights, by name, all finite; make, `(num_classes, channels, size) -> network`."""

    about: About
    weights: "dict[str, Tensor]"
    make: "Callable[[int, int, int], nn.Module]"


def read(path: str, overrides: Sequence[str] = (), option: str = "model", own: str | None = None) -> SavedNetwork:
    """Read a saved network's file without building the network.

    Args:
        option: that gave the path, for the message.
        own: the full path of a function that makes networks and is trusted, besides those of the options.
        overrides: may add folders of options, and so networks.
    Raises:
        ValueError: it does not exist, is not a network saved by this program, or has weights that are not finite.
    """
    from safetensors import SafetensorError, safe_open

    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            about = _about(file.metadata() or {})
            known = networks(overrides) | ({short_name(own): own} if own else {})
            make = _maker(about.network, known)  # refused before the weights are read
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dictionary)
        for name, value in weights.items():
            if not value.isfinite().all():
                raise ValueError(f"its weights {name} are not finite")
    except FileNotFoundError:
        raise ValueError(f"{option}={path}: no such file") from None
    except (OSError, SafetensorError, ValueError, RuntimeError) as error:
        raise ValueError(f"{option}={path}: not a network saved with save_model=true ({_first_line(error)})") from None
    return SavedNetwork(about, weights, make)


def build(saved: SavedNetwork, path: str, option: str = "model") -> "nn.Module":
    """The network in evaluation mode, on the CPU: images (B, channels, H, W) -> (B, C + extra_outputs).

    With a readout it gives that one's logits, (B, C).

    Args:
        path, option: for the message.
    Raises:
        ValueError: the weights are not those of this network.
    """
    from labelnoise.networks.base import sides

    about = saved.about
    try:
        network = saved.make(len(about.classes) + about.extra_outputs, *sides(about.shape))
        network.load_state_dict(saved.weights)
        network = network if about.readout is None else about.readout.around(network, len(about.classes))
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"{option}={path}: not a network saved with save_model=true ({_first_line(error)})") from None
    return network.eval()


def _about(metadata: dict[str, str]) -> About:
    """The metadata of a safetensors file. Its values are JSON, except the run's id."""
    try:
        parsed = {
            key: text if key == "run_id" else pydantic_core.from_json(text, allow_inf_nan=False)
            for key, text in metadata.items()
        }
        return About.model_validate(parsed)
    except ValidationError as error:
        raise ValueError(reason(error)) from None


def networks(overrides: Sequence[str] = ()) -> dict[str, str]:
    """The functions of the network group: the short name, as in a saved network, -> the full path."""
    files = [path for folder in config_dirs(overrides) for path in sorted((folder / "network").glob("*.yaml"))]
    targets = [str(getattr(OmegaConf.load(file), "_target_", "")) for file in files]
    return {short_name(target): target for target in targets}


def _maker(network: dict[str, Any], known: dict[str, str]) -> "Callable[[int, int, int], nn.Module]":
    """The function that makes the network, with the arguments from the file.

    Raises:
        ValueError: it is not one of `known`, or an argument is unknown or has a wrong type.
    """
    name = short_name(str(network.get("_target_")))  # files of earlier versions have the full path
    if name not in known:
        raise ValueError(f"its network is {plain(name)}, must be one of {', '.join(known)}")
    function = hydra.utils.get_object(known[name])
    parameters, hints = inspect.signature(function).parameters, get_type_hints(function)
    arguments = {key: value for key, value in network.items() if key not in ("_target_", "_partial_")}
    for key, value in arguments.items():
        if key not in parameters or key in (*COMPONENTS["network"], "begin"):
            raise ValueError(f"its network {name} has no argument {plain(key)}")
        try:
            TypeAdapter(hints.get(key, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            raise ValueError(f"its network {name} has {key}={plain(str(value))}: {reason(error)}") from None
    if "begin" in parameters:  # its weights are in the file; none are read or downloaded at its word
        arguments["begin"] = False
    return lambda num_classes, channels, size: function(num_classes, channels, size, **arguments)


def _first_line(error: Exception) -> str:
    return plain((str(error).splitlines() or [type(error).__name__])[0])
