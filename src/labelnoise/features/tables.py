"""Tables as features: columns by name, categories one-hot, missing values filled by a named rule."""

import lzma
from typing import Any, Literal

import numpy as np

TABLES = (".parquet", ".csv.xz")
Missing = Literal["mean", "median", "most_frequent"] | None


def read_table(path: str) -> dict[str, np.ndarray]:
    """The columns of a table, by name: numbers as float64, NaN where missing; anything else as text, "" where missing.

    Raises:
        ValueError: pyarrow is not installed, or the file is no such table.
    """
    try:
        import pyarrow as pa
        from pyarrow import csv, parquet
    except ImportError:
        raise ValueError("tables need pyarrow: pip install 'labelnoise[parquet]'") from None
    try:
        if path.endswith(".parquet"):
            table = parquet.read_table(path)
        else:
            with lzma.open(path) as file:
                table = csv.read_csv(file)
    except (pa.ArrowException, lzma.LZMAError) as error:
        raise ValueError(f"not a table ({str(error).splitlines()[0]})") from None
    if len(set(table.column_names)) < len(table.column_names):
        raise ValueError("has two columns of one name")
    return {name: _column(table[name], pa) for name in table.column_names}


def _column(column: Any, pa: Any) -> np.ndarray:
    kind = column.type
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    ):
        return column.cast(pa.float64()).to_numpy()
    return np.array(["" if value is None else str(value) for value in column.to_pylist()])


def as_features(columns: dict[str, np.ndarray], train: np.ndarray, missing: Missing) -> np.ndarray:
    """Numbers and one-hot categories, in the columns' order. Shapes: (N,) each -> (N, D), float32.

    Args:
        columns: as from `read_table`, without labels.
        train: positions of the rows from which missing values and the categories are learned.
        missing: how scikit-learn's SimpleImputer fills missing numbers; missing text becomes its most frequent value.
            None: there must be none.
    Raises:
        ValueError: values are missing; names the first column.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    parts = []
    for name, column in columns.items():
        values, text = column[:, None], column.dtype.kind == "U"
        lost = column == "" if text else np.isnan(column)
        if lost.any():
            if missing is None:
                raise ValueError(
                    f"column {name} has {int(lost.sum()):,} missing values; dataset.load.missing=mean, median or "
                    "most_frequent fills them"
                )
            if lost[train].all():
                raise ValueError(f"column {name} has no value in the training part")
            rule = "most_frequent" if text else missing
            unknown: Any = "" if text else np.nan
            values = values.astype(object) if text else values
            values = SimpleImputer(missing_values=unknown, strategy=rule).fit(values[train]).transform(values)
        if text:
            encoder = OneHotEncoder(sparse_output=False, handle_unknown="ignore", dtype=np.float32)
            values = encoder.fit(values[train]).transform(values)
        parts.append(values.astype(np.float32))
    if not parts:
        raise ValueError("has no column beside the labels")
    return np.concatenate(parts, axis=1)
