"""Types and ranges of parameters, from annotations such as `rate: Annotated[float, Ge(0), Le(1)]`, and in words.

The marks are those of `annotated_types`, which pydantic, hypothesis and others also read. A text among the marks
replaces the generated description of what is allowed.
"""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from math import inf, nextafter
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, Predicate

Function = TypeVar("Function", bound=Callable[..., Any])

Fraction = Annotated[float, Ge(0), Le(1)]
PositiveFraction = Annotated[float, Gt(0), Le(1)]
NonNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Seed = Annotated[int, Ge(0), Lt(2**32), "a whole number, at least 0 and below 2^32"]


def refusal(hint: Any, value: Any) -> str:
    """What a parameter with this annotation must be, if `value` is not allowed; empty if it is.

    Args:
        hint: an annotation; one that is not about plain values (a tensor, a class) allows all of them.
        value: a value from a configuration: text, number, bool, None, list or dict.
    """
    return "" if allows(hint, value) else f"must be {words(hint)}"


def annotations(function: Any) -> dict[str, Any]:
    """The annotations of a function's or class's parameters, with marks; empty if they cannot be resolved."""
    try:
        return get_type_hints(function.__init__ if inspect.isclass(function) else function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def checked(function: Function) -> Function:
    """The function, refusing arguments outside their annotated ranges or choices; *args and **kwargs are not checked.

    Raises:
        ValueError: on a call with such an argument; names the parameter, its value and what is allowed.
    """
    signature, hints = inspect.signature(function), annotations(function)
    places = [
        (name, sys.maxsize if parameter.kind is parameter.KEYWORD_ONLY else index, *_quick(hints[name]))
        for index, (name, parameter) in enumerate(signature.parameters.items())
        if name in hints and _has_range(hints[name])
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]

    def refuse(name: str, value: Any, args: Any, kwargs: Any) -> None:
        if reason := refusal(hints[name], value):
            signature.bind(*args, **kwargs)  # an argument too many or too few is said first
            raise ValueError(f"{name}={value}: {reason}")

    # A loss is called at every training step, so an allowed number or text costs a few comparisons. Nothing is
    # remembered between calls, so torch.compile can trace it.
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name, index, types, low, high, texts in places:
            if name in kwargs:
                value = kwargs[name]
            elif index < len(args):
                value = args[index]
            else:
                continue
            kind = type(value)
            if (kind in types and low <= value <= high) or (kind is str and value in texts):
                continue
            refuse(name, value, args, kwargs)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value]


def _quick(hint: Any) -> tuple[tuple[type, ...], float, float, tuple[str, ...]]:
    """Some of the values that `allows` allows, or all: numbers of these types from low to high, and these texts."""
    origin, parts = get_origin(hint), get_args(hint)
    low, high = -inf, inf
    if origin is Literal:
        return (), low, high, tuple(text for text in parts if type(text) is str)
    if origin is not Annotated or parts[0] not in (int, float):
        return (), low, high, ()
    for mark in parts[1:]:
        match mark:
            case Ge(int() | float() as bound):
                low = max(low, bound)
            case Gt(int() | float() as bound):
                low = max(low, nextafter(bound, inf))
            case Le(int() | float() as bound):
                high = min(high, bound)
            case Lt(int() | float() as bound):
                high = min(high, nextafter(bound, -inf))
            case str():  # says in words what the other marks allow
                pass
            case _:
                return (), low, high, ()
    return (float, int) if parts[0] is float else (int,), low, high, ()


def _has_range(hint: Any) -> bool:
    """Whether it is a range or a choice, optionally with None."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return all(get_origin(part) in (Annotated, Literal) or part is NoneType for part in parts)


def allows(hint: Any, value: Any) -> bool:
    """Whether a plain value has the annotated type and lies in the annotated range."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        return allows(parts[0], value) and all(_holds(mark, value) for mark in parts[1:])
    if origin in (Union, UnionType):
        return any(allows(part, value) for part in _for_plain_values(parts))
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin in (list, tuple, Sequence):
        inner = [part for part in parts[:1] if part is not ...]
        return isinstance(value, list | tuple) and all(allows(part, one) for part in inner for one in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict)
    if origin is Callable:
        return callable(value) or (isinstance(value, dict) and "_target_" in value)
    if origin in (int, float):
        return isinstance(value, int if origin is int else int | float) and not isinstance(value, bool)
    return isinstance(value, origin) if origin in (bool, str, NoneType) else True


_PLAIN = (list, tuple, Sequence, dict, Mapping, Callable, Literal, Annotated, int, float, bool, str, NoneType, Any)


def _for_plain_values(parts: Sequence[Any]) -> Sequence[Any]:
    """The types of a union that are about plain values; all of them if none is."""
    return [part for part in parts if (get_origin(part) or part) in _PLAIN] or parts


def _holds(mark: Any, value: Any) -> bool:
    match mark:
        case Ge(low):
            return bool(value >= low)
        case Gt(low):
            return bool(value > low)
        case Le(high):
            return bool(value <= high)
        case Lt(high):
            return bool(value < high)
        case Predicate(function):
            return bool(function(value))
    return True


def words(hint: Any, many: bool = False) -> str:
    """What an annotation allows, as text after "must be"; in the plural for the members of a list."""
    origin, parts = get_origin(hint) or hint, get_args(hint)
    if origin is Annotated:
        text = [mark for mark in parts[1:] if isinstance(mark, str)]
        return text[0] if text else words(parts[0], many) + _range(parts[1:])
    if origin in (Union, UnionType):
        return either([words(part) for part in _for_plain_values(parts)])
    if origin is Literal:
        return either([str(part).lower() if isinstance(part, bool) else str(part) for part in parts])
    if origin in (list, tuple, Sequence):
        inner = [part for part in parts[:1] if get_origin(part) is Annotated]
        return f"a list{f' of {words(inner[0], many=True)}' if inner else ''}, such as [1,2]"
    plain = {
        int: "whole numbers" if many else "a whole number",
        float: "numbers" if many else "a number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
        dict: "a mapping",
        Mapping: "a mapping",
        Callable: "a component with a _target_",
    }
    return plain.get(origin, "something else")


def either(alternatives: Sequence[str]) -> str:
    """Alternatives as text: a, b or c; a, or null."""
    *before, last = dict.fromkeys(alternatives)
    comma = "," if last == "null" else ""
    return f"{', '.join(before)}{comma} or {last}" if before else last


def _range(marks: Sequence[Any]) -> str:
    """Bounds in words: from 0 to 1; above 0 and at most 1; at least 1."""
    at_least = [mark.ge for mark in marks if isinstance(mark, Ge)]
    at_most = [mark.le for mark in marks if isinstance(mark, Le)]
    if at_least and at_most:
        return f" from {at_least[0]:g} to {at_most[0]:g}"
    bounds = [f", at least {low:g}" for low in at_least]
    bounds += [f" above {mark.gt:g}" for mark in marks if isinstance(mark, Gt)]
    bounds += [f" below {mark.lt:g}" for mark in marks if isinstance(mark, Lt)]
    bounds += [f", at most {high:g}" for high in at_most]
    return " and".join([bounds[0], *(bound.removeprefix(",") for bound in bounds[1:])]) if bounds else ""
