"""The command line of `train`: one run, or with -m many through Hydra's sweeper and launcher."""

import contextlib
import os
import re
import sys
import warnings
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

import labelnoise
from labelnoise.cli.arguments import split_flags
from labelnoise.cli.errors import JobFailed
from labelnoise.cli.help import train_help
from labelnoise.config.compose import compose, deadline, prepared
from labelnoise.config.errors import one_line
from labelnoise.config.groups import CONFIGS, SEARCHPATH
from labelnoise.config.renamed import refuse_old
from labelnoise.config.subcommands import command
from labelnoise.experiment.run import run

# Hydra 1.3 warns that it validates configs/hydra/launcher/submitit_slurm.yaml against the plugin's schema, as intended.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against", UserWarning)


def train(arguments: list[str]) -> None:
    """Run with these arguments: Hydra's flags and overrides.

    Raises:
        ValueError: an argument is wrong; else as `run`.
        SystemExit: a job of a multirun failed.
    """
    flags, overrides = split_flags(arguments)
    if "--help" in flags:
        print(train_help(overrides))
    elif "--version" in flags:
        print(f"labelnoise {labelnoise.__version__}")
    elif flags.keys() <= {"--run"}:
        _single_run(overrides)
    else:
        _through_hydra(flags, overrides)


def _single_run(overrides: list[str]) -> None:
    """One run without -m.

    Raises:
        ValueError: an override needs -m; or as `run`.
    """
    refuse_old(overrides)  # before it is said that they need -m
    for override in overrides:
        name = override.lstrip("+~").partition("=")[0]
        if (name == "table" and override != "table=none") or name.startswith("table."):
            reason = f"a table is many runs and needs -m, {command('train')} -m {override}"
            prepared([override])  # refuses a table that does not exist
            raise ValueError(f"{override}: {reason}")
        if re.match(r"hydra\b", name) and not override.startswith(SEARCHPATH):
            raise ValueError(f"{override}: needs -m, {command('train')} -m {override}")
    run(compose(overrides))


def _through_hydra(flags: dict[str, str], overrides: list[str]) -> None:
    """A multirun, or a flag that Hydra handles, such as --cfg."""
    if flags.get("--cfg") == "job" and "--multirun" not in flags:
        flags = {**flags, "--resolve": ""}  # the values of this run, not the rows that they are taken from
    for override in overrides if "--multirun" in flags else ():
        _refuse_other_sweepers(override)
    before = sys.argv
    written = overrides if "--shell-completion" in flags else prepared(overrides, several="--multirun" in flags)
    given = [f"{name}={value}" if value else name for name, value in flags.items()]
    main = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_job)
    try:
        sys.argv = [before[0], *given, *written]  # Hydra needs its flags before the overrides
        trains = "--multirun" in flags and "--cfg" not in flags
        with contextlib.nullcontext() if trains else deadline():
            main()
    finally:
        sys.argv = before


def _refuse_other_sweepers(override: str) -> None:
    """Refuse a sweeper that searches, which would train and then find no value to compare, and Hydra's own (basic),
    which makes the same runs as ours but returns exit code 0 after a run that failed, and no summary.

    Raises:
        ValueError: the override chooses another sweeper than this project's.
    """
    name, _, value = override.lstrip("+~").partition("=")
    if name == "hydra.sweeper._target_" or (name.partition("@")[0] == "hydra/sweeper" and value != "labelnoise"):
        runs = "every combination of the values between commas, or the cells of a table"
        raise ValueError(f"{override}: the only sweeper is hydra/sweeper=labelnoise, {runs}")


def _job(cfg: DictConfig) -> None:
    """One run of a multirun. If it fails, its reason is printed and the other jobs continue."""
    job = HydraConfig.get()
    overrides: Any = OmegaConf.to_container(job.overrides.task, resolve=False)  # as typed, ${...} included
    print(f"--- job {job.job.num}: {' '.join(overrides)}", flush=True)
    try:
        run(cfg)
    except Exception as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            raise
        line = one_line(error, overrides)
        print(f"error: job {job.job.num} ({' '.join(overrides)}): {line}", file=sys.stderr, flush=True)
        raise JobFailed from None  # the job's process ends here, so its exit code must be 1
