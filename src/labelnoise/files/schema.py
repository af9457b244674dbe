"""Shared by the schemas of all files: strict types, finite numbers, bounded text, and one line for an error.

Import it where a file is read, not at the top of a module that `train.py --help` loads: pydantic is slow to import.
"""

from typing import Annotated, Union

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from typing_extensions import TypeAliasType

from labelnoise.files.text import plain

Text = Annotated[str, Field(max_length=10_000)]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
# Any JSON value without NaN and infinity.
Json = TypeAliasType("Json", Union[bool, int, FiniteFloat, Text, "list[Json]", "dict[str, Json]", None])


class Closed(BaseModel):
    """A part of a file with these keys and no others."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Open(BaseModel):
    """A part of a file that may have further keys, with any JSON value: later versions write more."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, hide_input_in_errors=True)
    __pydantic_extra__: dict[str, Json] = Field(init=False)


def reason(error: ValidationError) -> str:
    """The first error, such as `metrics.test_acc_last: must be a valid number`."""
    first = error.errors(include_url=False, include_input=False)[0]
    several = error.error_count() > 1 and len(first["loc"]) > 2  # one message for each type that `Json` allows
    what = "must be JSON with finite numbers" if several else first["msg"].replace("Input should be", "must be")
    return plain(f"{'.'.join(map(str, first['loc'][:2]))}: {what}" if first["loc"] else what)
