"""What of earlier work a run reuses: a record, or a stopped run's checkpoint; neither once own code has changed."""

from typing import Any

from omegaconf import DictConfig

from labelnoise.experiment import metrics
from labelnoise.files.run_files import RunFiles
from labelnoise.records import store
from labelnoise.records.own_code import changed, differing
from labelnoise.training import checkpoints


def existing_record(cfg: DictConfig, files: RunFiles, quiet: bool) -> store.Record | None:
    """The record that makes the run unnecessary; None if there is none or the run is forced.

    Raises:
        ValueError: source files of the user's own have changed since, and no option says what to do.
    """
    record = None if cfg.force else store.find(files.run_id, cfg.results, quiet)
    if record is None:
        return None
    if not cfg.accept_changed and (other := changed(record)):
        raise ValueError(
            f"run {files.run_id}: its record was made before {other} changed; "
            "force=true trains it again, accept_changed=true keeps it"
        )
    beside = [(cfg.save_model, files.network), (cfg.record_predictions, files.predictions)]
    if any(asked and not path.is_file() for asked, path in beside):
        return None
    if not quiet:
        print(f"run {files.run_id} is done already (force=true runs it again)\n{metrics.in_short(record['metrics'])}")
    return record


def existing_checkpoint(cfg: DictConfig, files: RunFiles, environment: dict[str, Any]) -> dict[str, Any] | None:
    """The checkpoint to resume from; None if there is none, or none that can be used.

    Raises:
        ValueError: as `existing_record`.
    """
    checkpoint = checkpoints.load(files, environment["commit"] if cfg.force else None)
    other = checkpoint and differing(checkpoint["pieces"][-1].get("code"), environment.get("code", {}))
    if not other or (cfg.accept_changed and not cfg.force):
        return checkpoint
    if not cfg.force:
        raise ValueError(
            f"{files.checkpoint}: was written before {other} changed; "
            "force=true starts again, accept_changed=true resumes from it"
        )
    checkpoints.refuse(files.checkpoint, f"force=true, and it was written before {other} changed")
    return None
