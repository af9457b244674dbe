"""Send finished runs to a tracker, from their records; also works offline.

labelnoise track tracker=wandb                             # every record in runs, offline
labelnoise track tracker=wandb tracker.mode=online results=results/runs run_id=278cbad180e7
labelnoise track tracker=tensorboard

results= names the folder of records; the tracker's files are written there too, as in a run, in place of what the run
or an earlier `track` wrote. run_id= selects a record. A run is one run in W&B too, however often it is sent.
`wandb sync <results>/wandb/offline-run-*` uploads what was written offline.
"""

import re
from pathlib import Path

from labelnoise.config.check import check
from labelnoise.config.compose import compose
from labelnoise.experiment.components import make_tracker
from labelnoise.experiment.trackers import log_history
from labelnoise.records import store


def track(arguments: list[str]) -> None:
    """Log each record's history, epoch by epoch, and its metrics.

    Raises:
        ValueError: no tracker is chosen, a record does not exist, or an option is wrong.
    """
    named = [a.removeprefix("run_id=") for a in arguments if a.startswith("run_id=")]
    for name in named:
        if not re.fullmatch(r"[0-9a-f]{12}", name):
            raise ValueError(f"run_id={name}: must be 12 hexadecimal digits")
    cfg = compose([a for a in arguments if not a.startswith("run_id=")])
    check(cfg)
    if cfg.tracker._target_.endswith(".none"):
        raise ValueError("tracker=none: choose one to send the records to, tracker=wandb or tracker=tensorboard")
    folder = Path(cfg.results)
    paths = [folder / f"{name}.json" for name in named] or sorted(folder.glob("*.json"))
    if not paths:
        raise ValueError(f"results={cfg.results}: holds no records")
    sent = 0
    for path in paths:
        try:
            record = store.load(path)
        except FileNotFoundError:
            raise ValueError(f"run_id={path.stem}: no such record in results={cfg.results}") from None
        except ValueError as error:
            if named:
                raise
            store.report(path, str(error))
            continue
        tracker = make_tracker(cfg, record["run_id"], record["config"])
        log_history(tracker, record["history"])
        tracker.finish(record["metrics"])
        sent += 1
    print(f"{sent} of {len(paths)} records sent to {cfg.tracker._target_.rpartition('.')[2]}")
