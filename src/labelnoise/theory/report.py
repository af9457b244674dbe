"""`Report`: the findings on a loss, printed as one screen of text and one JSON object."""

import json
from dataclasses import asdict, dataclass
from math import isinf
from typing import Any

from labelnoise.theory.findings import Findings
from labelnoise.theory.text import lines


@dataclass(frozen=True)
class Report(Findings):
    """The findings; `print(report)` shows them, `report.json()` is the JSON object of its last line."""

    def json(self) -> dict[str, Any]:
        """Everything, ready for `json.dumps`: numbers to six digits, infinite ones as null."""
        found: dict[str, Any] = _rounded(asdict(self))
        return found

    def __str__(self) -> str:
        return "\n".join([*lines(self), json.dumps(self.json())])


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return None if isinf(value) or value != value else float(f"{value:.6g}")
    if isinstance(value, dict):
        return {str(key): _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, tuple | list) else value
