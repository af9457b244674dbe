"""The files of a run: all in its results folder, named by its id."""

from pathlib import Path
from typing import NamedTuple


class RunFiles(NamedTuple):
    """Attributes: results, the folder; run_id."""

    results: Path
    run_id: str

    @property
    def record(self) -> Path:
        """The record, written last; a run that has one is done."""
        return self._named("json")

    @property
    def network(self) -> Path:
        """The network that predicts, with save_model=true."""
        return self._named("safetensors")

    @property
    def checkpoint(self) -> Path:
        """What a stopped run resumes from; removed when the record is written."""
        return self._named("checkpoint")

    @property
    def earlier(self) -> Path:
        """Another commit's checkpoint that does not fit, until the record is written."""
        return self._named("earlier")

    @property
    def claim(self) -> Path:
        """Keeps other processes from training the run too."""
        return self._named("claim")

    def all(self) -> list[Path]:
        """Every file that a run may write."""
        return [self.record, self.network, self.checkpoint, self.earlier, self.claim]

    def _named(self, ending: str) -> Path:
        return self.results / f"{self.run_id}.{ending}"
