"""Hydra's `hydra/launcher=local`: several runs at once on this machine, in worker processes that live for many."""

# No `from __future__ import annotations`: Hydra runs this file outside sys.modules, where @dataclass would look.
# Every start of train.py imports this file, --help included, so what is heavy is imported when used.
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
    """Attributes: n_jobs, auto or how many jobs at once at most; jobs_per_gpu, how many on each GPU."""

    _target_: str = "hydra_plugins.labelnoise_local.LocalLauncher"
    n_jobs: Any = "auto"
    jobs_per_gpu: Any = 1


class LocalLauncher(Launcher):
    """Runs each job's composed configuration, not a function: `task_function` is not called."""

    tells_the_end = True  # done, failed and missing
    means = True  # and the means over the seeds; a table shows them itself

    def __init__(self, n_jobs: Any, jobs_per_gpu: Any) -> None:
        from labelnoise.launch.local import check_options

        check_options(n_jobs, jobs_per_gpu)
        self.n_jobs, self.jobs_per_gpu = n_jobs, jobs_per_gpu

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Remember what jobs are composed with."""
        self.loader, self.config = hydra_context.config_loader, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; one that failed comes back as such and does not raise here."""
        from labelnoise.launch.jobs import JobFailed
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
        """The job's own configuration, as any launcher's job gets it, with one thread where none is asked for."""
        cfg = self.loader.load_sweep_config(self.config, list(overrides))
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
            if cfg.get("threads") == "auto" and not any(o.lstrip("+").startswith("threads=") for o in overrides):
                cfg.threads = 1
            if str(cfg.get("device")).startswith("cuda:"):
                cfg.device = "cuda"  # a worker sees its own GPU alone
        return cfg


ConfigStore.instance().store(group="hydra/launcher", name="local", node=LocalLauncherConf, provider="labelnoise")
