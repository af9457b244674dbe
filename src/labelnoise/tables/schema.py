"""The schemas of a table's two files: configs/table/<name>.yaml and the rows of configs/table/published.csv."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

from labelnoise.files.schema import Closed, Text

Overrides = list[Text]
Label = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
Certainty = Literal["read", "quoted", "memory"]
Metric = Literal["test_acc_last", "test_acc_best", "test_acc_last10", "test_acc_val"]  # of a record, see metrics.py


class Grid(Closed):
    """The rows and columns: labels and their overrides. A row may have different overrides for each column."""

    rows: Annotated[dict[Label, Overrides | dict[Label, Overrides]], Field(min_length=1)]
    columns: Annotated[dict[Label, Overrides], Field(min_length=1)]

    @model_validator(mode="after")
    def _a_row_by_column_names_every_column(self) -> "Grid":
        for label, row in self.rows.items():
            if isinstance(row, dict) and row.keys() != self.columns.keys():
                raise ValueError(f"row {label} must give overrides for every column")
        return self


class Source(Closed):
    """Which rows of published.csv belong to the table.

    Attributes:
        source, table, dataset: as in published.csv.
        label: the source in words.
        without: rows whose published numbers come from a different set-up and are not compared with ours.
    """

    source: Text
    table: Text
    dataset: Text
    label: Text
    without: list[Label] = Field(default_factory=list)


class TableFile(Closed):
    """A table's file, see tables/table.py; `rows`, `columns` and `seeds` select part of the grid."""

    title: Text
    common: Overrides
    rows: str | int | float | list[str | int | float]
    columns: str | int | float | list[str | int | float]
    seeds: int | list[int]
    seed_noise: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    metric: Metric
    published: Source | None = None
    notes: list[Text] = Field(default_factory=list)
    grid: Grid


class PublishedRow(Closed):
    """A line of published.csv, whose values are text. Accuracies in percent.

    Attributes:
        std, runs: None where they are not given.
        certainty: read, in the source itself; quoted, in a later text that gives the source's numbers; or from memory.
    """

    model_config = ConfigDict(strict=False)

    source: Text
    table: Text
    dataset: Text
    row: Label
    noise: Label
    rate: Text
    mean: Annotated[FiniteFloat, Field(ge=0, le=100)]
    std: Annotated[FiniteFloat | None, Field(ge=0, le=100), BeforeValidator(lambda text: text or None)]
    epoch: Text
    runs: Annotated[int | None, Field(ge=1), BeforeValidator(lambda text: text or None)]
    network: Text
    certainty: Certainty
