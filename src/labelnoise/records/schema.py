"""The schema of a record: its keys, types and sizes. Later versions may add keys inside its parts."""

from typing import Annotated, Any

import pydantic_core
from pydantic import Field, FiniteFloat, ValidationError, model_validator

from labelnoise.files.schema import Closed, Count, Fraction, Json, Open, RunId, Text, reason

Counts = Annotated[list[Annotated[list[Count], Field(max_length=10_000)]], Field(max_length=10_000)]
Column = Annotated[list[FiniteFloat | None], Field(max_length=1_000_000)]


class Noise(Open):
    """The realised noise.

    Attributes:
        realised_rate: share of wrong labels; null if the true ones are unknown.
        transition: counts (C, C), rows the true class, columns the noisy one; null likewise.
        label_hash: of the noisy labels.
        seed: of the noise.
        imprecise_share: share of labels of groups of classes, which are in no other count; absent without any.
        class_sizes: (C,), of a long tail: its images of each class, before any are held out.
    """

    realised_rate: Fraction | None
    transition: Counts | None = None
    label_hash: Text | None = None
    seed: Count | None = None
    imprecise_share: Fraction | None = None
    class_sizes: Annotated[list[Count], Field(max_length=10_000)] | None = None


class Metrics(Open):
    """Accuracies on the test set, fractions; `test_acc_val` is null without a held-out part.

    Attributes:
        oracle: the names of the accuracies that were chosen on the test set.
        confusion: counts (C, C) after the last epoch, rows the true class, columns the predicted one.
        risk_coverage: of a method that abstains, the error on shares of the test images, see
            `estimates.risk_coverage.LEVELS`.
        coverage, selective_acc: the share of the test images that it predicts, and the accuracy there.
    """

    test_acc_last: Fraction
    test_acc_best: Fraction
    test_acc_last10: Fraction
    test_acc_val: Fraction | None = None
    oracle: list[Text] = Field(default_factory=list)
    confusion: Counts | None = None
    risk_coverage: Annotated[list[Fraction], Field(max_length=1000)] | None = None
    coverage: Fraction | None = None
    selective_acc: Fraction | None = None


class Environment(Open):
    """Where the run was made. Absent or null values are unknown.

    Attributes:
        code: hashes of the source files of the user's own components.
        resumed: how often the run was stopped and resumed.
    """

    commit: Text | None = None
    dirty: bool | None = None
    python: Text | None = None
    versions: dict[Text, Text | None] = Field(default_factory=dict)
    system: Text | None = None
    processor: Text | None = None
    device: Text = "cpu"
    precision: Text | None = None
    threads: Count | None = None
    seconds: Annotated[FiniteFloat, Field(ge=0)] = 0.0
    finished: Text | None = None
    code: dict[Text, Text] = Field(default_factory=dict)
    resumed: Count = 0


class Record(Closed):
    """A whole record. `history` has a column for each recorded quantity, with a value for each epoch."""

    run_id: RunId
    config: dict[str, Json]
    noise: Noise
    metrics: Metrics
    history: dict[str, Column | None]
    environment: Environment

    @model_validator(mode="after")
    def _columns_are_equally_long(self) -> "Record":
        if len({len(column) for column in self.history.values() if column is not None}) > 1:
            raise ValueError("the columns of the history differ in length")
        return self


def validated(content: bytes) -> dict[str, Any]:
    """The record in a file, unchanged.

    Raises:
        ValueError: it is not a whole record; the text names the first mistake.
    """
    try:
        parsed = pydantic_core.from_json(content, allow_inf_nan=False)
        Record.model_validate(parsed)
    except ValidationError as error:
        raise ValueError(reason(error)) from None
    return parsed
