"""Annotations of parameters: what they allow, how they say so, and that a checked function holds to them."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt, Predicate
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from labelnoise.arguments.ranges import checked, refusal

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
