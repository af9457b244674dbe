"""Hydra's `hydra/launcher=local`: several runs at once on this machine, in long-lived worker processes."""

# No `from __future__ import annotations`: @dataclass would look the names up in sys.modules, where Hydra has not put
# this file. Every start of train.py imports it, --help included, so heavy modules are imported where they are used.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict, read_write


@dataclass
class LocalLauncherConf:
    """Attributes: n_jobs, the most jobs at once, or auto; jobs_per_gpu, how many on each GPU."""

    _target_: str = "hydra_plugins.labelnoise_local.LocalLauncher"
    n_jobs: Any = "auto"
    jobs_per_gpu: Any = 1


class LocalLauncher(Launcher):
    """Runs each job's composed configuration; Hydra's `task_function` is not called.

    Attributes:
        means: whether to print the means over the seeds too; a table shows them anyway.
    """

    means = True

    def __init__(self, n_jobs: Any, jobs_per_gpu: Any) -> None:
        from labelnoise.launch.local import check_options

        check_options(n_jobs, jobs_per_gpu)
        self.n_jobs, self.jobs_per_gpu = n_jobs, jobs_per_gpu

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what jobs are composed from."""
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs. A job that failed is returned with that status; nothing is raised for it."""
        from labelnoise.cli.errors import JobFailed
        from labelnoise.launch.local import launch

        outcomes = launch(
            job_overrides,
            initial_job_idx,
            lambda job: OmegaConf.to_yaml(self._compose(job.overrides)),
            self.n_jobs,
            self.jobs_per_gpu,
            str(self.config.device),
            str(self.config.results),
            self.means,
        )
        returns = []
        for outcome in outcomes:
            done = outcome.status == "done"
            returned = JobReturn(list(outcome.job.overrides), status=JobStatus.COMPLETED if done else JobStatus.FAILED)
            returned.return_value = None if done else JobFailed(outcome.reason)
            returns.append(returned)
        return returns

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        """The job's configuration, as any launcher composes it; threads=1 unless the job sets it."""
        cfg = self.loader.load_sweep_config(self.config, list(overrides))
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
            if cfg.get("threads") == "auto" and not any(o.lstrip("+").startswith("threads=") for o in overrides):
                cfg.threads = 1
            if str(cfg.get("device")).startswith("cuda:"):
                cfg.device = "cuda"  # a worker sees only its own GPU
        return cfg


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="labelnoise")
