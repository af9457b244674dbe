"""The display of a training run: a progress bar on a terminal, otherwise a line per epoch, or nothing."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from labelnoise.training.listener import Listener, Row


class Quiet(Listener):
    """Shows nothing; a context manager, as every display is."""

    def __enter__(self) -> "Quiet":
        return self

    def __exit__(self, *_: object) -> None: ...


class Lines(Quiet):
    """A line per epoch, for logs; at most one every two seconds, but always the last."""

    def __init__(self, epochs: int, done: int) -> None:
        self._epochs, self._done, self._before, self._started, self._shown = epochs, done, done, time.monotonic(), 0.0

    def epoch(self, row: Row) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._shown < 2 and self._done < self._epochs:
            return
        self._shown = now
        left = (now - self._started) / (self._done - self._before) * (self._epochs - self._done)
        print(f"epoch {self._done}/{self._epochs}  {summary(row)}  {duration(left)} left", flush=True)


class Bar(Quiet):
    """A progress bar over all steps, with the last epoch's loss and accuracy and the remaining time."""

    def __init__(self, epochs: int, steps: int, done: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._epochs, self._done = epochs, done
        self._bar = Progress(
            TextColumn("epoch {task.fields[done]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.fields[summary]}"),
            TimeRemainingColumn(),
            refresh_per_second=4,
        )
        self._task = self._bar.add_task(
            "train", total=epochs * steps, completed=done * steps, done=done, epochs=epochs, summary=""
        )

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def step(self) -> None:
        self._bar.advance(self._task)

    def epoch(self, row: Row) -> None:
        self._done += 1
        self._bar.update(self._task, done=self._done, summary=summary(row))


def show(epochs: int, steps: int, quiet: bool, done: int = 0) -> Quiet:
    """The display for this output, for a run with `done` finished epochs."""
    if quiet:
        return Quiet()
    return Bar(epochs, steps, done) if sys.stdout.isatty() else Lines(epochs, done)


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A display of `(done, all)` of something: a bar on a terminal, else a line every ten seconds."""
    from rich.progress import Progress

    if sys.stdout.isatty():
        with Progress() as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, count: bar.update(task, completed=done, total=count)
        return
    started = shown = time.monotonic()
    first: int | None = None  # of a stopped run, those that were done before

    def line(done: int, count: int) -> None:
        nonlocal shown, first
        now = time.monotonic()
        if first is None:
            first = done
        elif now - shown > 10 and done < count:
            left = (now - started) / (done - first) * (count - done)
            print(f"{done:,} of {count:,} {what}  {duration(left)} left", flush=True)
            shown = now

    yield line


def summary(row: Row) -> str:
    """An epoch's loss, test accuracy and share of memorised wrong labels in one line."""
    shown = (("train_loss", "loss", ".4f"), ("test_acc", "test", ".1%"), ("acc_wrong_given", "memorised", ".1%"))
    values = ((label, row.get(name), form) for name, label, form in shown)
    return "  ".join(f"{label} {value:{form}}" for label, value, form in values if value is not None)


def duration(seconds: float) -> str:
    """Seconds as 45 s, 3 min or 2 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
