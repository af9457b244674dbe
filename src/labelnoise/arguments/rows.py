"""The row of a card that fits a data set, a noise and its rate.

A card's rows are a mapping with three levels, of which only the first is needed:

    default: cifar10                  # a name stands for the row of that name
    cifar10:
      source: Li et al. 2020, arXiv:2002.07394
      lam_u: 25
      sym: {0.18: {lam_u: 0}, 0.45: {lam_u: 25}}
      asym: {lam_u: 0}

The most specific row that fits supplies each value: data set, kind of noise and rate before data set and kind, and
these before the data set alone. A data set without a row takes `default`. A rate without a row takes the row of the
nearest rate; of two equally near, the lower. Rates are the share of labels that a noise flips, as `noise.rate`.
"""

from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

KINDS = ("sym", "asym", "instance", "human")  # of noise, as a card's rows name them
WRONG = "must be a mapping, or the name of a row beside it"
SOURCE = "source"  # the key of a row that says where its values are from


class Row(NamedTuple):
    """What a card's rows give.

    Attributes:
        values: hyper-parameter -> value.
        source: where they are from; of the most specific row that says it.
        dataset: the row of the first level that was taken.
        kind: of noise, if there is a row for it.
        rate: of the row that was taken, if the kind has rows by rate; it may differ from the noise's.
    """

    values: dict[str, Any]
    source: str | None
    dataset: str
    kind: str | None = None
    rate: float | None = None


def find(rows: Mapping[Any, Any], dataset: str, kind: str | None = None, rate: float | None = None) -> Row:
    """The values for a data set, a kind of noise and its rate, see above.

    Args:
        kind: one of KINDS; None for clean labels and for noise of no known kind.
        rate: of the noise; None if it has none.
    Raises:
        ValueError: there is no row for the data set and no default; or a name stands for no row, or for itself.
    """
    name, row = _named(rows, dataset if dataset in rows else "default")
    values = _own(row)
    of_kind = _named(row, kind, f"{name}.")[1] if kind is not None and kind in row else None
    if of_kind is None:
        return Row(values, values.pop(SOURCE, None), name)
    values |= _own(of_kind)
    rates = sorted(key for key in of_kind if _is_rate(key))
    if rate is None or not rates:
        return Row(values, values.pop(SOURCE, None), name, kind)
    # the rounding makes 0.3 as near to 0.2 as to 0.4; `min` takes the first, which is the lower
    nearest = min(rates, key=lambda known: round(abs(known - rate), 9))
    values |= of_kind[nearest]
    return Row(values, values.pop(SOURCE, None), name, kind, nearest)


def leaves(rows: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """Every mapping among the rows, by its path, such as "cifar10.sym.0.18".

    Raises:
        ValueError: the rows are not of the form above.
    """
    found: dict[str, Mapping[Any, Any]] = {}
    for name, row in rows.items():
        if isinstance(row, str):
            _named(rows, str(name))
            continue
        _collect(row, str(name), found, lambda key: key in KINDS, "a kind of noise")
        for kind in (kind for kind in KINDS if kind in row):
            if isinstance(row[kind], str):
                _named(row, kind)
                continue
            _collect(row[kind], f"{name}.{kind}", found, _is_rate, "a rate")
            for rate in (key for key in row[kind] if _is_rate(key)):
                _collect(row[kind][rate], f"{name}.{kind}.{rate}", found, lambda key: False, "")
    return found


def _collect(row: Any, where: str, found: dict[str, Mapping[Any, Any]], known: Any, what: str) -> None:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}={row}: {WRONG}")
    for key, value in row.items():
        if isinstance(value, Mapping) and not known(key):
            raise ValueError(f"{where}.{key}={value}: must be a value" + (f", or {key} {what}" if what else ""))
    found[where] = {key: value for key, value in row.items() if not known(key)}


def _named(rows: Mapping[Any, Any], name: str, where: str = "") -> tuple[str, Mapping[Any, Any]]:
    """The row of this name, and its own name where one row stands for another.

    Args:
        where: its path, for messages.
    """
    for _ in range(len(rows) + 1):
        if name not in rows:
            raise ValueError(f"{where}{name}: no such row; one of {', '.join(map(str, rows))}")
        row = rows[name]
        if isinstance(row, Mapping):
            return name, row
        if not isinstance(row, str):
            raise ValueError(f"{where}{name}={row}: {WRONG}")
        name = row
    raise ValueError(f"{where}{name}: stands for itself")


def _own(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of a row itself, without the rows in it."""
    return {key: value for key, value in row.items() if key not in KINDS and not _is_rate(key)}


def _is_rate(key: Any) -> bool:
    return isinstance(key, Real) and not isinstance(key, bool)
