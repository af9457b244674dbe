"""The schemas of a table's two files: configs/table/<name>.yaml and the rows of a file of published numbers."""

from typing import Annotated, Any, Literal

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
    """Which rows of a published.csv belong to the table: of the one beside it, else of the project's.

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
    """A table's file, see tables/table.py; `rows`, `columns` and `seeds` select part of the grid.

    Attributes:
        published: rows of a published.csv. A text is the name of a file that has the same columns: `published_file`.
        names: how rows and columns are called where the table is printed, by their labels.
        caption: of the LaTeX table, in place of the title.
    """

    title: Text
    common: Overrides
    rows: str | int | float | list[str | int | float]
    columns: str | int | float | list[str | int | float]
    seeds: int | list[int]
    seed_noise: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    metric: Metric
    published: Source | None = None
    published_file: Text | None = None
    notes: list[Text] = Field(default_factory=list)
    names: dict[Label, Text] = Field(default_factory=dict)
    caption: Text | None = None
    grid: Grid

    @model_validator(mode="before")
    @classmethod
    def _published_may_name_a_file(cls, content: Any) -> Any:
        if isinstance(content, dict) and isinstance(content.get("published"), str):
            return {**content, "published": None, "published_file": content["published"]}
        return content

    @model_validator(mode="after")
    def _a_name_is_of_a_row_or_column(self) -> "TableFile":
        for label in self.names:
            if label not in (*self.grid.rows, *self.grid.columns):
                raise ValueError(f"names.{label}: there is no such row or column")
        return self


def _or_none(text: str) -> str | None:
    return text or None


class PublishedRow(Closed):
    """A line of a file of published numbers, whose values are text. Accuracies in percent.

    Attributes:
        row: a row of the table, by its label.
        noise, rate: of a column; or `column`, its label.
        std, runs: None where they are not given.
        certainty: read, in the source itself; quoted, in a later text that gives the source's numbers; or from memory.
    """

    model_config = ConfigDict(strict=False)

    source: Text = ""
    table: Text = ""
    dataset: Text = ""
    row: Label
    noise: Annotated[Label | None, BeforeValidator(_or_none)] = None
    rate: Text = ""
    mean: Annotated[FiniteFloat, Field(ge=0, le=100)]
    std: Annotated[FiniteFloat | None, Field(ge=0, le=100), BeforeValidator(_or_none)] = None
    epoch: Text = ""
    runs: Annotated[int | None, Field(ge=1), BeforeValidator(_or_none)] = None
    network: Text = ""
    certainty: Certainty = "read"
    column: Annotated[Label | None, BeforeValidator(_or_none)] = None
