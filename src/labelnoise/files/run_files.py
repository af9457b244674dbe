"""The files of a run: all in its results folder, named by its id."""

from pathlib import Path


class RunFiles:
    """The paths of these files.

    Attributes:
        results: the folder.
        record: written last; a run that has one is done.
        network: the network that predicts, with save_model=true.
        predictions: for the training images, with record_predictions=true.
        checkpoint: what a stopped run resumes from; removed when the record is written.
        earlier: another commit's checkpoint that does not fit, until the record is written.
        claim: keeps other processes from training the run too.
    """

    def __init__(self, results: Path, run_id: str) -> None:
        self.results, self.run_id = results, run_id
        self.record = results / f"{run_id}.json"
        self.network = results / f"{run_id}.safetensors"
        self.predictions = results / f"{run_id}.npz"
        self.checkpoint = results / f"{run_id}.checkpoint"
        self.earlier = results / f"{run_id}.earlier"
        self.claim = results / f"{run_id}.claim"

    def all(self) -> list[Path]:
        """Every file that a run may write."""
        return [self.record, self.network, self.predictions, self.checkpoint, self.earlier, self.claim]
