"""Checkpoints: a run that is stopped resumes exactly where it was, even in the middle of an epoch.

`<results>/<run_id>.checkpoint` holds the method (networks, optimizers, buffers), the random generators and the training
state. It is written after an epoch unless the last one is only seconds old, every two minutes, and when the run is
asked to stop. It is removed when the record is written. It is read with `weights_only=True`: tensors, numbers, text,
lists and dicts, no code.
"""

import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, FiniteFloat, ValidationError

from labelnoise.files.atomic import write_whole
from labelnoise.files.run_files import RunFiles
from labelnoise.files.schema import Closed, Open, RunId, Text, reason
from labelnoise.training.listener import Listener
from labelnoise.training.signals import Signals

if TYPE_CHECKING:
    import torch

    from labelnoise.training.method import Method
    from labelnoise.training.state import TrainState

EVERY = 120.0  # seconds between two checkpoints inside an epoch
AT_LEAST = 10.0  # seconds between two checkpoints after epochs, which may be shorter


class Session(Open):
    """The part of a run that one process trained: facts about its environment, and its duration."""

    commit: Text | None
    seconds: Annotated[FiniteFloat, Field(ge=0)]
    code: dict[Text, Text] = Field(default_factory=dict)


class Checkpoint(Closed):
    """A checkpoint's outer structure; `method` and `state` are checked where they are loaded.

    Attributes:
        pieces: a session for each process that worked on the run.
    """

    run_id: RunId
    pieces: Annotated[list[Session], Field(min_length=1)]
    method: dict[str, Any]
    generators: dict[str, Any]
    state: dict[str, Any]


class Checkpointer(Listener):
    """Called after every step: saves when a checkpoint is due, and stops the run if a signal requested it.

    Args:
        files: of the run.
        method: the method being trained.
        earlier: facts about each process that worked on the run before this one.
        facts: returns those of this process.
        signals: already entered.
        epoch: finished epochs that the last checkpoint contains.
    """

    def __init__(
        self,
        files: RunFiles,
        method: "Method",
        earlier: list[dict[str, Any]],
        facts: Callable[[], dict[str, Any]],
        signals: Signals,
        epoch: int,
    ) -> None:
        self._files, self._method = files, method
        self._earlier, self._facts, self.signals, self._started = earlier, facts, signals, time.monotonic()
        self._saved, self._epoch, self._warned = self._started, epoch, False
        from labelnoise.training import loose_state  # imports torch, which `train.py --help` does not need

        self._numbers, self._constants = loose_state.numbers(method), loose_state.constants(method)
        self._checked = self._told = False

    def consistent(self, state: "TrainState") -> None:
        asked = self.signals.noted is not None
        since = time.monotonic() - self._saved
        written = True
        ended = state.epoch == self._method.clock.epochs  # save: the disk may be too full for the record
        due = asked or since > EVERY or (state.epoch != self._epoch and (ended or since > AT_LEAST))
        if (due and not ended) or not self._checked:  # after the first step too, when little is lost
            self._refuse_what_is_forgotten()
        if due:
            written = self._try_to_save(state)
        if asked:
            try:
                self.signals.leave()
            except BaseException:  # not reached if another program's handler lets the run continue
                of = f", step {state.done} of {len(state.feeds)}" if state.feeds else ""
                then = "resumes from there" if written else "starts again or resumes from an earlier checkpoint"
                print(f"stopped after epoch {state.epoch}{of}; the same command {then}", file=sys.stderr)
                raise

    def _refuse_what_is_forgotten(self) -> None:
        from labelnoise.training import loose_state

        self._checked = True
        loose_state.refuse_loose_state(self._method)
        loose_state.refuse_changed_constants(self._method, self._constants)

    def _note_numbers(self, state: "TrainState") -> None:
        """Put the plain attributes that have changed into the state, and tell it once."""
        from labelnoise.training import loose_state

        now = loose_state.numbers(self._method)
        names = [name for name, value in now.items() if name in state.numbers or self._numbers.get(name, now) != value]
        state.numbers = {name: now[name] for name in names}
        if names and not self._told:
            self._told = True
            shown = ", ".join(f"{type(self._method).__name__}{name}" for name in names)
            print(
                f"{shown}: changed in training outside the method's buffers; the checkpoint keeps the value",
                file=sys.stderr,
            )

    def _try_to_save(self, state: "TrainState") -> bool:
        """Save and return whether it worked. A full disk does not end the run: its record may still fit."""
        try:
            self.save(state)
        except OSError as error:
            self._saved, self._epoch = time.monotonic(), state.epoch
            if not self._warned:
                said = f"{self._files.checkpoint} cannot be written ({error.strerror}); the run continues without"
                print(said, file=sys.stderr)
            self._warned = True
            return False
        return True

    def save(self, state: "TrainState") -> None:
        """Write the checkpoint beside the old one, then rename it over that."""
        import torch

        self._note_numbers(state)
        session = {**self._facts(), "seconds": round(time.monotonic() - self._started, 1)}
        train = self._method.train_set
        device = train.labels.device
        generators = {"data": train.generator.get_state(), "torch": torch.get_rng_state()}
        if device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(device)
        whole = {
            "run_id": self._files.run_id,
            "pieces": [*self._earlier, session],
            "method": self._method.state_dict(),
            "generators": generators,
            "state": state.state_dict(),
        }
        content = io.BytesIO()
        torch.save(whole, content)
        # No fsync: a checkpoint damaged by a power cut is refused when it is read.
        write_whole(self._files.checkpoint, content.getvalue(), sync=False)
        self._saved, self._epoch = time.monotonic(), state.epoch


def load(files: RunFiles, commit: str | None = None) -> dict[str, Any] | None:
    """Read the checkpoint; None if there is none. A damaged one, or one of another run, is refused with a message.

    Args:
        commit: if given, also refuse a checkpoint of another commit: with force=true the code may have changed.
    """
    import torch

    path = files.checkpoint
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        Checkpoint.model_validate(content)
        if content["run_id"] != files.run_id:
            wrong = "it belongs to another run"
        elif commit is not None and content["pieces"][-1]["commit"] != commit:
            wrong = "force=true, and another commit wrote it"
        else:
            return content
    except ValidationError as error:
        wrong = f"it is not a whole checkpoint of this version ({reason(error)})"
    except Exception as error:  # a damaged file raises whatever the damaged part causes
        wrong = f"it cannot be read ({type(error).__name__})"
    refuse(path, wrong)
    return None


def restore(files: RunFiles, content: dict[str, Any], method: "Method", commit: str | None) -> "TrainState | None":
    """Load a checkpoint's content into the method and the generators, and return the state to resume from.

    Returns None if that fails and another commit, whose method may differ, wrote the checkpoint. The method may then be
    partly restored and must be built again. The checkpoint is renamed: that commit can go on from it.

    Raises:
        ValueError: it fails although this commit wrote the checkpoint. Hours of work are not discarded silently.
    """
    from labelnoise.training import loose_state
    from labelnoise.training.state import TrainState

    device, path = method.train_set.labels.device, files.checkpoint
    try:
        state = TrainState.of(content["state"], device)
        method.load_state_dict(content["method"])
        loose_state.restore_numbers(method, state.numbers)
        restore_generators(path, content["generators"], method.train_set.generator, state)
    except Exception as error:  # any mismatch
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if commit is not None and content["pieces"][-1].get("commit") == commit:
            raise ValueError(f"{path}: does not fit this run ({why}); remove it to start again") from error
        path.replace(files.earlier)  # the new training's checkpoints would overwrite it
        refuse(path, f"another commit wrote it, and it does not fit ({why}); it is kept as {files.earlier.name}")
        return None
    return state


def restore_generators(path: Path, states: dict[str, Any], data: "torch.Generator", progress: "TrainState") -> None:
    """Restore the generators. A GPU's states do not fit a CPU, nor the other way round: there the run resumes with
    others, from a seed of the run's own and its progress, and one line says so. The record names both devices."""
    import torch

    torch.set_rng_state(states["torch"])
    on_gpu = data.device.type == "cuda"
    if on_gpu == ("cuda" in states):
        data.set_state(states["data"])
        if on_gpu:
            torch.cuda.set_rng_state(states["cuda"], data.device)
        return
    seed = data.initial_seed() + 1_000_003 * (progress.epoch + 1) + progress.done
    data.manual_seed(seed)
    if on_gpu:
        torch.cuda.manual_seed(seed)
    there, here = ("CPU", "GPU") if on_gpu else ("GPU", "CPU")
    print(f"{path} is from a {there}: on this {here} the run resumes with other random numbers", file=sys.stderr)


def refuse(path: Path, why: str) -> None:
    """Print why a checkpoint is not used."""
    print(f"{path} is not used: {why}; the run starts again", file=sys.stderr)
