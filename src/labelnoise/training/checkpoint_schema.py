"""The schema of a checkpoint's outer structure; what is inside `method` and `state` is theirs to check."""

from typing import Annotated, Any

from pydantic import Field, FiniteFloat, ValidationError

from labelnoise.files.schema import Closed, Open, RunId, Text, reason


class Piece(Open):
    """What one process did of the run: facts of its environment, and how long it took."""

    commit: Text | None
    seconds: Annotated[FiniteFloat, Field(ge=0)]


class Checkpoint(Closed):
    """A checkpoint, see checkpoints.py."""

    run_id: RunId
    pieces: Annotated[list[Piece], Field(min_length=1)]
    method: dict[str, Any]
    generators: dict[str, Any]
    state: dict[str, Any]


def fault(content: Any) -> str | None:
    """What is wrong with the content of a checkpoint's file; None where nothing is."""
    try:
        Checkpoint.model_validate(content)
    except ValidationError as error:
        return reason(error)
    return None
