"""A copy of all state that a method's steps may change, to compare with another copy or to restore."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from labelnoise.training.method import Method

OWN = frozenset(vars(nn.Module()))  # attributes that every module has


class Snapshot:
    """A copy of a method's state, of the plain-data attributes of its modules, and of its generators.

    Attributes:
        tensors: copies of the state's tensors, by their paths in `state_dict()`.
        constants: all that a recorded step assumes constant, by name: the address of each tensor, other values of the
            state, such as a weight decay, and attributes of modules that are plain data, such as a counter.
        drawn: the state of each generator that the method may draw from.
    """

    def __init__(self, method: Method) -> None:
        self._method, self._generators = method, generators(method)
        self._live = tensors(method)
        self._state = copy.deepcopy(method.state_dict())
        self.tensors = {path: leaf for path, leaf in leaves(self._state) if isinstance(leaf, Tensor)}
        self.constants = constants(method)
        self._attributes = attributes(method)
        self.drawn = [generator.get_state() for generator in self._generators]

    def restore(self) -> None:
        """Write all values back in place, so that recordings stay valid."""
        for path, tensor in self._live.items():
            tensor.copy_(self.tensors[path])
        self._restore_rest()

    def load(self) -> None:
        """Load the state as from a checkpoint, which may move tensors: for a method without recordings."""
        self._method.load_state_dict(self._state)
        self._restore_rest()

    def _restore_rest(self) -> None:
        modules = dict(self._method.named_modules())
        for path, value in self._attributes.items():
            name, _, attribute = path.rpartition(".")
            setattr(modules[name], attribute, copy.deepcopy(value))
        for generator, state in zip(self._generators, self.drawn, strict=True):
            generator.set_state(state)


def tensors(method: Method) -> dict[str, Tensor]:
    """The tensors of a method's state, not copies, by their paths in `state_dict()`."""
    return {path: leaf for path, leaf in leaves(method.state_dict()) if isinstance(leaf, Tensor)}


def constants(method: Method) -> dict[str, Any]:
    """What a recorded step assumes constant; see `Snapshot`."""
    found: dict[str, Any] = attributes(method)
    for path, leaf in leaves(method.state_dict()):
        found[path] = leaf.data_ptr() if isinstance(leaf, Tensor) else copy.deepcopy(leaf)
    return found


def attributes(method: Method) -> dict[str, Any]:
    """Copies of the attributes of a method's modules that are plain data, by dotted name."""
    return {
        f"{name}.{attribute}": copy.deepcopy(value)
        for name, module in method.named_modules()
        for attribute, value in vars(module).items()
        if attribute not in OWN and _is_plain(value)
    }


def generators(method: Method) -> list[torch.Generator]:
    """The generators that a method may draw from: its own, torch's default one, and the device's."""
    device = method.train_set.labels.device
    here = [torch.cuda.default_generators[device.index or 0]] if device.type == "cuda" else []
    return [method.train_set.generator, torch.default_generator, *here]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested dicts, lists and tuples, by their paths."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield from leaves(entry, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            yield from leaves(entry, f"{path}/{i}")
    else:
        yield path, value


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(key) and _is_plain(entry) for key, entry in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
