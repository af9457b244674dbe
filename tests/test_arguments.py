"""Annotations of parameters: what they allow, how they say so, that a checked function holds to them, and that every
number in a configuration has a range."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import inf, nan, nextafter
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
import yaml
from annotated_types import Ge, Gt, Le, Lt, Predicate
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from labelnoise.arguments.ranges import annotations, checked, refusal
from labelnoise.config.check import check
from labelnoise.config.groups import CONFIGS
from labelnoise.config.options import COMPONENTS
from labelnoise.experiment.run import compose
from labelnoise.losses.base import needs, needs_of

# annotation: what it says, values that it allows, values that it refuses
CASES: list[tuple[Any, str, list[Any], list[Any]]] = [
    (int, "a whole number", [0, -3], [True, 1.0, "1", None]),
    (float, "a number", [1, 2.5], [False, "1", None, [1]]),
    (bool, "true or false", [True], [1, "true", None]),
    (str, "text", [""], [5, None, ["a"]]),
    (Annotated[int, Ge(1)], "a whole number, at least 1", [1], [0, True, 1.5]),
    (Annotated[float, Gt(0), Le(1)], "a number above 0 and at most 1", [1, 0.5], [0, 1.1, float("nan")]),
    (Annotated[float, Ge(0), Le(1)], "a number from 0 to 1", [0, 1], [-0.1, float("inf"), "a"]),
    (Annotated[float, Ge(0), Lt(1)], "a number, at least 0 and below 1", [0, 0.9], [1, -1]),
    (Annotated[float, Gt(0)] | None, "a number above 0, or null", [None, 1], [0, "x"]),
    (
        Literal["auto"] | Annotated[int, Ge(1), Le(9)],
        "auto or a whole number from 1 to 9",
        ["auto", 9],
        [0, 10, "x", True],
    ),
    (Literal["a", "b", "c"], "a, b or c", ["a"], ["d", 5, None]),
    (Sequence[int], "a list, such as [1,2]", [[], [1]], ["ab", 3, [1.5], None]),
    (
        list[Annotated[int, Ge(1)]],
        "a list of whole numbers, at least 1, such as [1,2]",
        [[1]],
        [[0], [float("nan")], ["a"]],
    ),
    (Annotated[str, Predicate(str.islower), "small letters"], "small letters", ["abc"], ["ABC", 5]),
    (float | Tensor, "a number", [1.0], ["a", None, [1]]),
    (Callable[..., Tensor], "a component with a _target_", [{"_target_": "x"}, len], ["x", 5, {}]),
    (dict[str, int], "a mapping", [{}], [[], 5]),
]


@pytest.mark.parametrize(("hint", "says", "allowed", "refused"), CASES, ids=[case[1] for case in CASES])
def test_allows_and_says(hint: Any, says: str, allowed: list[Any], refused: list[Any]) -> None:
    assert [refusal(hint, value) for value in allowed] == [""] * len(allowed)
    assert [refusal(hint, value) for value in refused] == [f"must be {says}"] * len(refused)


@pytest.mark.parametrize("hint", [Any, Tensor, object])
def test_what_is_no_plain_type_allows_all(hint: Any) -> None:
    assert [refusal(hint, value) for value in (1, "a", None, [], {})] == [""] * 5


@checked
def half(n: Annotated[int, Ge(0), Le(10)], *, how: Literal["up", "down"] = "up", label: str = "") -> tuple[int, str]:
    """Half of n."""
    return (n + (how == "up")) // 2, label


@given(n=st.integers(-20, 30), how=st.sampled_from(["up", "down", "left"]))
def test_a_checked_function_holds_to_its_annotations(n: int, how: Any) -> None:
    if 0 <= n <= 10 and how != "left":
        assert half(n, how=how, label="x") == half.__wrapped__(n, how=how, label="x")  # type: ignore[attr-defined]
        return
    with pytest.raises(
        ValueError, match=r"^(n=-?[0-9]+: must be a whole number from 0 to 10|how=left: must be up or down)$"
    ):
        half(n, how=how)


def test_a_checked_function_is_still_itself() -> None:
    assert (half.__name__, half.__doc__) == ("half", "Half of n.")
    with pytest.raises(TypeError, match="missing"):
        half()  # type: ignore[call-arg]


def message(call: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """With which a call refuses its arguments; empty if it does not."""
    try:
        call(*args, **kwargs)
    except ValueError as error:
        return str(error)
    return ""


EDGES = [-inf, -1.0, -5e-324, -0.0, 0, 5e-324, 0.5, nextafter(1, 0), 1, 1.0, nextafter(1, 2), 9, 10, 2**60, inf, nan]
ODD = [True, False, None, "a", "up", "", [1], [], {}, np.float64(0.5), np.float64(-1), np.int64(1), np.float32(0.5)]


@pytest.mark.parametrize(
    "hint",
    [
        *(Annotated[float, *marks] for marks in ([Ge(0)], [Gt(0), Le(1)], [Ge(0), Lt(1)], [Le(0)], [Ge(-inf)])),
        *(Annotated[int, *marks] for marks in ([Ge(1)], [Gt(0), Lt(10), "few"], [Gt(2**60)])),
        Annotated[float, Predicate(lambda value: value != 0.5)],
        Annotated[float, Ge(0)] | None,
        Literal["a", "up"],
        Literal["up", False],
        Literal["a"] | Annotated[int, Ge(1)],
    ],
)
def test_a_checked_function_refuses_what_its_annotation_refuses(hint: Any) -> None:
    """By name and by position: of numbers and texts it decides most itself, which must come to the same."""

    def f(first: Tensor, value: Any = None, *, other: Any = None) -> Any:
        return value if other is None else other

    f.__annotations__ |= {"value": hint, "other": hint}
    ways = {
        "value": (lambda one: checked(f)(1, one), lambda one: checked(f)(1, value=one)),
        "other": (lambda one: checked(f)(1, other=one),),
    }
    for value in EDGES + ODD:
        for name, calls in ways.items():
            for call in calls:
                said = refusal(hint, value)
                assert message(call, value) == (f"{name}={value}: {said}" if said else "")


def test_a_default_is_not_checked_and_too_many_arguments_are_said_first() -> None:
    assert checked(half.__wrapped__)(5) == (3, "")  # type: ignore[attr-defined]
    for wrong in (lambda: half(50, n=50), lambda: half(50, "up"), lambda: half(50, nosuch=1)):  # type: ignore[call-arg, misc]
        with pytest.raises(TypeError):
            wrong()


def test_a_checked_loss_is_read_like_any_other() -> None:
    @needs("features")
    @checked
    def inner(logits: Tensor, labels: Tensor, a: Annotated[float, Ge(0)], *, features: Tensor) -> Tensor:
        return logits[:, 0] * a

    @checked
    @needs("features")
    def outer(logits: Tensor, labels: Tensor, a: Annotated[float, Ge(0)], *, features: Tensor) -> Tensor:
        return logits[:, 0] * a

    for loss in (inner, outer):
        assert needs_of(loss) == needs_of(partial(loss, a=1)) == {"features"}
        assert list(inspect.signature(loss).parameters) == ["logits", "labels", "a", "features"]
        assert get_type_hints(loss, include_extras=True)["a"] == Annotated[float, Ge(0)]
        said = message(partial(loss, a=-1), torch.zeros(2, 3), torch.zeros(2), features=torch.zeros(2, 3))
        assert said == "a=-1: must be a number, at least 0"


# ------------------------------------------------------------------------------------------- the ranges of configs/

# component, parameter: why every number is allowed
UNBOUNDED: dict[tuple[str, str], str] = {}


def components(node: Any, where: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The package's own components below a node, and what `run` passes to each. Others' (torch.optim) are excluded."""
    if isinstance(node, dict):
        if str(node.get("_target_")).startswith("labelnoise."):
            yield node["_target_"], COMPONENTS.get(where, ())
        for key, inner in node.items():
            yield from components(inner, f"{where}.{key}" if where else str(key))


def parameters() -> dict[tuple[str, str], Any]:
    """(component, parameter) -> annotation, of every parameter with a number that a configuration can set."""
    found = {}
    for path in sorted(CONFIGS.rglob("*.yaml")):
        text = path.read_text()
        whole = path.parent == CONFIGS or "@package _global_" in text
        for target, supplied in components(yaml.load(text, yaml.CSafeLoader), "" if whole else path.parent.name):
            function = pkgutil.resolve_name(target)
            hints = annotations(function)
            assert hints or not inspect.signature(function).parameters, f"{target}: its annotations cannot be resolved"
            for name in list(inspect.signature(function).parameters)[len(supplied) :]:
                if any(numbers(hints[name])):
                    found[target, name] = hints[name]
    return found


def numbers(hint: Any) -> Iterator[Any]:
    """The numbers in an annotation, with their marks: those of a union's and a list's members too."""
    if hint in (int, float) or (get_origin(hint) is Annotated and get_args(hint)[0] in (int, float)):
        yield hint
    elif get_origin(hint) not in (Literal, Annotated, Callable):
        for part in get_args(hint):
            yield from numbers(part)


def depth(hint: Any) -> int:
    """How deep in lists an annotation's numbers are."""
    inner = max(map(depth, get_args(hint)), default=0)
    return inner + (get_origin(hint) in (list, tuple, Sequence))


def outside(number: Any) -> list[float]:
    """The value just outside each mark of a number; for a mark that allows all numbers, what is none."""
    of, *marks = get_args(number) or (number,)
    found: list[float] = []
    for mark in marks:
        match mark:
            case Ge(bound):
                found.append(nan if bound == -inf else bound - 1 if of is int else nextafter(bound, -inf))
            case Le(bound):
                found.append(nan if bound == inf else bound + 1 if of is int else nextafter(bound, inf))
            case Gt(bound) | Lt(bound):
                found.append(bound)
    return found


PARAMETERS = parameters()


def test_every_number_in_a_configuration_has_a_range() -> None:
    without = {where for where, hint in PARAMETERS.items() if not all(map(outside, numbers(hint)))}
    assert without == UNBOUNDED.keys()
    assert len(PARAMETERS) > 100


def allowed(hint: Any) -> Any:
    """Some value that an annotation allows; of one about no plain values, None."""
    choices = get_args(hint) if get_origin(hint) is Literal else ()
    return next(
        (value for value in (*choices, 0.5, 1, 10, 1e-3, -1, [1], "file.npy") if not refusal(hint, value)), None
    )


def test_a_value_just_outside_a_range_is_refused() -> None:
    """By the check of a configuration, which asks `refusal`, and in a direct call, except for the members of a list."""
    for (target, name), hint in PARAMETERS.items():
        function = pkgutil.resolve_name(target)
        hints, known = annotations(function), inspect.signature(function).parameters
        others = {n: allowed(hints[n]) for n, p in known.items() if p.default is p.empty and n in hints and n != name}
        deep = depth(hint)
        for value in [value for number in numbers(hint) for value in [*outside(number), nan, True]]:
            given = value
            for _ in range(deep):
                given = [given]
            said = refusal(hint, given)
            assert said.startswith("must be "), (target, name, value)
            assert "\n" not in said, (target, name, value)
            if not deep:
                assert message(function, **{name: value}, **others) == f"{name}={value}: {said}", target


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss=agce", "loss.a=-1"], "loss.a=-1: must be a number, at least 0"),
        (["loss=js", "loss.pi=1"], "loss.pi=1: must be a number above 0 and below 1"),
        (["loss=taylor_ce", "loss.t=0"], "loss.t=0: must be a whole number, at least 1"),
        (["loss=nce_mae", "loss.second.scale=0"], "loss.second.scale=0: must be a number above 0"),
        (["loss=any_loss_mc", "loss.metric=auc"], "loss.metric=auc: must be accuracy, f1, balanced_accuracy or g_mean"),
        (["loss=z_loss", "loss.b=wide"], "loss.b=wide: must be a number"),
        (
            ["regulariser=pgm", "regulariser.strength=1"],
            "regulariser.strength=1: must be a number, at least 0 and below 1",
        ),
        (["noise=sym", "rate=1.5"], "rate=1.5: must be a number from 0 to 1, or null"),
        (
            ["dataset=folder", "dataset.load.split_seed=4294967296"],
            "dataset.load.split_seed=4294967296: must be a whole number, at least 0 and below 2^32",
        ),
    ],
    ids=lambda value: value[-1].split("=")[0] if isinstance(value, list) else "",
)
def test_check_names_the_option(overrides: list[str], said: str) -> None:
    assert message(check, compose(["dataset=digits", *overrides])) == said
