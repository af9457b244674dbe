"""Hydra's `hydra/sweeper=labelnoise`: every combination of values, as Hydra's own sweeper, or the cells of a table."""

# No `from __future__ import annotations`: @dataclass would look the names up in sys.modules, where Hydra has not put
# this file. Every start of train.py imports it, --help included, so heavy modules are imported where they are used.
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

LOCAL = "hydra_plugins.labelnoise_local.LocalLauncher"


@dataclass
class SweeperConf:
    """Attributes: max_batch_size, jobs given to the launcher at a time, null for all; params, further sweeps."""

    _target_: str = "hydra_plugins.labelnoise_sweeper.LabelnoiseSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None


class LabelnoiseSweeper(BasicSweeper):
    """Makes the jobs, gives them to the chosen launcher, and has a summary printed at the end."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Create the launcher.

        Raises:
            ValueError: submitit's launcher is chosen and not installed, or SLURM is not found.
        """
        from labelnoise.launch import slurm

        target = config.hydra.launcher._target_
        self.on_slurm = target == slurm.TARGET
        if self.on_slurm:
            slurm.check()
        elif target != LOCAL:
            raise ValueError(f"hydra.launcher._target_={target}: the launchers are local and submitit_slurm")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run all jobs.

        Raises:
            ValueError: the table or an override is wrong; nothing was run.
            SystemExit: with exit code 1, a job failed or is missing; or the launcher was stopped.
        """
        from labelnoise.config.check import check_rate
        from labelnoise.config.compose import as_typed
        from labelnoise.launch import cells, slurm

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.launcher is not None
        parser = OverridesParser.create(self.hydra_context.config_loader)
        parsed = parser.parse_overrides([*self._parse_config(), *arguments])
        results = str(self.config.results)
        own = [o for o in self.config.hydra.overrides.hydra if o.startswith("hydra.searchpath=")]  # --config-dir
        identifiers: list[str | None] = []
        of_table, accept = cells.chooses_table(arguments), bool(self.config.accept_changed)
        vars(self.launcher)["means"] = not of_table
        if of_table:
            several = [line for o in parsed if o.is_sweep_override() and (line := as_typed(o)) == o.input_line]
            arguments = [as_typed(override) for override in parsed[-len(arguments) :]]
            again = bool(self.config.force or self.config.save_model)
            wanted = cells.missing([*arguments, *own], several, results, again, accept)
            jobs, identifiers = [list(cell.overrides) for cell in wanted], [cell.run_id for cell in wanted]
        else:
            jobs = [[*job, *own] for job in self.split_arguments(parsed, None)[0]]
            for job in cells.each_value_once(jobs):
                check_rate(self._compose(job))
        size = self.max_batch_size or len(jobs) or 1
        returns: list[Sequence[JobReturn]] = []
        reasons: dict[int, str] = {}
        try:
            for start in range(0, len(jobs), size):
                batch = jobs[start : start + size]
                if self.on_slurm:
                    reasons |= slurm.launch(self.launcher, batch, start)
                else:
                    returns.append(self.launcher.launch(batch, initial_job_idx=start))
        finally:
            # Also if the launcher raised, as submitit does for a job that died.
            all_done = not self.on_slurm or cells.report_from_records(
                identifiers or [self._identifier(job) for job in jobs], jobs, results, reasons, not of_table, accept
            )
        if not all_done or any(one.status == JobStatus.FAILED for batch in returns for one in batch):
            sys.exit(1)
        return returns

    def _identifier(self, overrides: list[str]) -> str | None:
        """The id of a job's record; None if an option is wrong."""
        from labelnoise.config.identity import effective, run_id

        try:
            return run_id(effective(self._compose(overrides)))
        except (OmegaConfBaseException, HydraException, ValueError):
            return None

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        """A job's configuration, without Hydra's own part, some of whose values are missing until the job runs."""
        assert self.config is not None
        assert self.hydra_context is not None
        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
        return cfg


ConfigStore.instance().store(group="hydra/sweeper", name="labelnoise", node=SweeperConf, provider="labelnoise")
