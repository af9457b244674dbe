"""The command line of train.py: Hydra's, with one clear line for a user's mistake and an honest exit code."""

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from labelnoise.claims import Claimed
from labelnoise.config import CONFIGS, explain, option_names
from labelnoise.run import run

# Hydra's own flags; those that take a value may have it after them.
FLAGS = {
    *("--help", "-h", "--hydra-help", "--version", "--run", "-r", "--multirun", "-m", "--resolve", "--info"),
    *("--shell-completion", "-sc", "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn"),
    *("--config-dir", "-cd", "--experimental-rerun"),
}
# Hydra 1.3 says of configs/hydra/launcher/submitit_slurm.yaml that it checks it by the plugin's; it is right to.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/submitit_slurm' is validated against", UserWarning)
_failed: list[int] = []  # numbers of the jobs of a multirun that failed in this process


class JobFailed(Exception):  # noqa: N818 (it is a state, not an error of its own)
    """A job of a multirun that has told its reason already."""


def main() -> None:
    """Run the command line; exit with 1 and one line on standard error where an option is wrong."""
    train = hydra.main(version_base="1.3", config_path=str(CONFIGS), config_name="train")(_job)
    arguments = sys.argv[1:]

    def action() -> None:
        check_flags(arguments)
        # Hydra wants its flags before the options
        sys.argv[1:] = sorted(arguments, key=lambda a: a not in ("-m", "--multirun"))
        _failed.clear()
        train()
        if _failed:
            sys.exit(1)

    guard(action, arguments)


def check_flags(arguments: list[str]) -> None:
    """Say how options are written to whoever writes --loss=agce or --epochs 5.

    Raises:
        ValueError: an argument with dashes that is no flag of Hydra's.
    """
    for argument in arguments:
        flag, _, value = argument.partition("=")
        if flag.startswith("-") and flag not in FLAGS:
            name = flag.lstrip("-")
            if name.split(".")[0] in option_names():
                raise ValueError(f"{argument}: options have no dashes; write {name}={value or '...'}")
            raise ValueError(f"{argument}: no such flag; options are written name=value, and --help lists them")


def guard(action: Callable[[], Any], overrides: list[str]) -> None:
    """Do it; an error ends the program with one line and exit code 1 (LABELNOISE_TRACEBACK=1 shows the traceback)."""
    asked = os.environ.get("HYDRA_FULL_ERROR", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its exceptions on instead of printing its own long answer
    try:
        action()
    except KeyboardInterrupt:
        sys.exit("interrupted; no record was written")
    except JobFailed:
        sys.exit(1)
    except BrokenPipeError:  # whoever read the output has seen enough, as `| head` has: nothing to tell, and nobody
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("LABELNOISE_TRACEBACK"):
            raise
        sys.exit(f"error: {one_line(error, overrides)}")
    finally:
        os.environ["HYDRA_FULL_ERROR"] = asked


def script(action: Callable[[list[str]], Any], doc: str | None) -> None:
    """Run a script of scripts/ on the command line's arguments; --help prints what its file says it is."""
    arguments = sys.argv[1:]
    if {"-h", "--help"} & set(arguments):
        print((doc or "").strip())
        return
    guard(lambda: action(arguments), arguments)


def one_line(error: Exception, overrides: list[str]) -> str:
    """The error in one line; what no user should be able to cause names its kind and how to see where it was raised."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, HydraException | OmegaConfBaseException):
        return explain(error, overrides)
    text = " ".join(str(error).split())
    if isinstance(error, ValueError | OSError | FloatingPointError | MemoryError | Claimed) and text:
        return text
    return f"{type(error).__name__}: {text[:300]} (LABELNOISE_TRACEBACK=1 shows where)"


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
