"""The schema of a checkpoint's outer structure. `method` and `state` are checked where they are loaded."""

from typing import Annotated, Any

from pydantic import Field, FiniteFloat, ValidationError

from labelnoise.files.schema import Closed, Open, RunId, Text, reason


class Stretch(Open):
    """The part of a run that one process trained: facts about its environment, and its duration."""

    commit: Text | None
    seconds: Annotated[FiniteFloat, Field(ge=0)]


class Checkpoint(Closed):
    """A checkpoint; checkpoints.py describes it. `pieces` holds a stretch for each process that worked on the run."""

    run_id: RunId
    pieces: Annotated[list[Stretch], Field(min_length=1)]
    method: dict[str, Any]
    generators: dict[str, Any]
    state: dict[str, Any]


def fault(content: Any) -> str | None:
    """What is wrong with the content of a checkpoint file, or None."""
    try:
        Checkpoint.model_validate(content)
    except ValidationError as error:
        return reason(error)
    return None
