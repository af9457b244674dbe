"""The command line of train.py: Hydra's, with one clear line for a user's mistake and an honest exit code."""

import os
import sys
import warnings
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from labelnoise.cli.errors import JobFailed, check_flags, guard, one_line
from labelnoise.cli.help import train_help
from labelnoise.experiment.groups import CONFIGS
from labelnoise.experiment.run import run

# Hydra 1.3 says of configs/hydra/launcher/submitit_slurm.yaml that it checks it by the plugin's; it is right to.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against", UserWarning)
_failed: list[int] = []  # numbers of the jobs of a multirun that failed in this process


def main() -> None:
    """Run the command line; exit with 1 and one line on standard error where an option is wrong."""
    train = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_job)
    arguments = sys.argv[1:]

    def action() -> None:
        if {"-h", "--help"} & set(arguments):
            print(train_help())
            return
        check_flags(arguments)
        # Hydra wants its flags before the options
        sys.argv[1:] = sorted(arguments, key=lambda a: a not in ("-m", "--multirun"))
        _failed.clear()
        train()
        if _failed:
            sys.exit(1)

    guard(action, arguments)


def _alone(cfg: DictConfig, overrides: list[str]) -> None:
    """One run without -m.

    Raises:
        ValueError: a launcher or a table was asked for, which only a multirun uses; or as `run`.
    """
    for override in overrides:
        if override.startswith("hydra/launcher="):
            raise ValueError(f"{override}: needs -m, python train.py -m {override}")
    if (table := HydraConfig.get().runtime.choices.get("table", "none")) != "none":
        raise ValueError(f"table={table}: a table is many runs and needs -m, python train.py -m table={table}")
    run(cfg)


def _job(cfg: DictConfig) -> None:
    """One run. In a multirun a job that fails says why and lets the others go on."""
    job = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(job.overrides.task, resolve=False)  # as typed, ${...} included
    if job.mode == RunMode.RUN:
        # Here and not in main(): Hydra adds a line of its own to every exception that leaves a job.
        guard(lambda: _alone(cfg, list(job.overrides.hydra)), overrides)
        return
    print(f"--- job {job.job.num}: {' '.join(overrides)}", flush=True)
    try:
        run(cfg)
    except Exception as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            raise
        line = one_line(error, overrides)
        print(f"error: job {job.job.num} ({' '.join(overrides)}): {line}", file=sys.stderr, flush=True)
        if not HydraConfig.get().launcher._target_.endswith("BasicLauncher"):
            raise JobFailed from None  # another launcher's process ends here: its exit code must say so
        _failed.append(job.job.num)
