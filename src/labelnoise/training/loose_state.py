"""State that hangs on a method outside its buffers and learners: a checkpoint would forget it.

Tensors, arrays, generators and optimizers are refused. Plain numbers and text that change are put into the checkpoint.
"""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labelnoise.training.learner import Learner
from labelnoise.training.method import Method
from labelnoise.training.snapshot import OWN, attributes

BUFFER = 'keep it with self.register_buffer("{0}", ...), persistent=False if it never changes'
REFUSED: dict[tuple[type, ...], tuple[str, str]] = {
    (Tensor,): ("a tensor", BUFFER),
    (np.ndarray, np.generic): ("of numpy", "make it a tensor and " + BUFFER),
    (torch.Generator, np.random.Generator, np.random.RandomState, random.Random): (
        "a random generator",
        "draw from self.train_set.generator",
    ),
    (torch.optim.Optimizer,): ("an optimizer", "setup.make_learner(optimizer=...) makes a network with one"),
}


def refuse_loose_state(method: Method) -> None:
    """Refuse a method with state that a checkpoint would forget.

    What belongs to the training set (its labels, its generator) may hang on a method too.

    Raises:
        ValueError: names the attribute and where it belongs.
    """
    train = method.train_set
    known = [train.labels, train.generator, torch.default_generator]
    known += [] if train.trusted is None else [train.trusted.labels, train.trusted.generator]
    for module in _outside_learners(method):
        for attribute, value in vars(module).items():
            for leaf in () if attribute in OWN else _leaves(value):
                for types, (what, instead) in REFUSED.items():
                    if isinstance(leaf, types) and not any(leaf is other for other in known):
                        raise ValueError(
                            f"{type(module).__name__}.{attribute}: is {what} outside the checkpoint, so a stopped run "
                            f"would go on without it; {instead.format(attribute)}"
                        )


def constants(method: Method) -> dict[str, Tensor]:
    """Copies of the buffers that are not in `state_dict()`: they must not change."""
    return {name: value.clone() for name, value in _not_persistent(method)}


def refuse_changed_constants(method: Method, before: Mapping[str, Tensor]) -> None:
    """Refuse a method that has changed one of its `constants`.

    Raises:
        ValueError: names the buffer.
    """
    for name, value in _not_persistent(method):
        if name not in before or not torch.equal(value, before[name]):
            raise ValueError(
                f"{type(method).__name__}.{name}: changed in training and is not in the checkpoint; "
                "register it without persistent=False"
            )


def numbers(method: Method) -> dict[str, Any]:
    """Copies of the attributes that are numbers, text, or lists and dicts of such, by their dotted names."""
    counted = {f"{name}._starts" for name, module in method.named_modules() if isinstance(module, Learner)}
    return {name: value for name, value in attributes(method).items() if name not in counted}


def restore_numbers(method: Method, values: Mapping[str, Any]) -> None:
    """Set attributes to what `numbers` gave for them; only those that are plain, or are not there yet.

    Raises:
        KeyError, TypeError: they are not this method's.
    """
    modules, plain = dict(method.named_modules()), numbers(method)
    for path, value in values.items():
        name, _, attribute = path.rpartition(".")
        if path not in plain and hasattr(modules[name], attribute):
            raise TypeError(f"{path} is no number or text")
        setattr(modules[name], attribute, value)


def _outside_learners(method: Method) -> Iterator[nn.Module]:
    """The method and its modules, without those of its networks."""
    waiting: list[nn.Module] = [method]
    while waiting:
        module = waiting.pop()
        yield module
        waiting += [child for child in module.children() if not isinstance(child, Learner)]


def _not_persistent(method: Method) -> Iterator[tuple[str, Tensor]]:
    saved = method.state_dict().keys()
    return ((name, value) for name, value in method.named_buffers() if name not in saved)


def _leaves(value: Any) -> Iterator[Any]:
    """A value, or what is in it, if it is a list, a dict or such."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _leaves(inner)
    elif isinstance(value, list | tuple | set | frozenset | deque):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value
