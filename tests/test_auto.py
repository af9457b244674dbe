"""`loss.a=auto` from the command line: settled before the run has its id, refused where theory has no answer."""

from pathlib import Path

import pytest

from labelnoise.config.compose import compose
from labelnoise.config.identity import effective, run_id
from labelnoise.experiment.auto import settled
from labelnoise.experiment.run import run

NOISE = ["noise=sym", "rate=0.4"]


def test_the_record_holds_the_number(train, tmp_path: Path) -> None:
    common = ["dataset=digits", *NOISE, "epochs=1", "num_trusted=1300", "threads=1", f"results={tmp_path}"]
    ended = train("loss=aul", "loss.q=3", "loss.a=auto", *common)
    assert ended.code == 0
    assert ended.out.startswith("loss.a=auto: a=1.374, the smallest with q=3 that theory calls tolerant")
    (path,) = tmp_path.iterdir()
    assert path.stem == run_id(effective(compose(["loss=aul", "loss.q=3", "loss.a=1.374", *common])))
    assert run(compose(["loss=aul", "loss.q=3", "loss.a=auto", *common]), quiet=True)["config"]["loss"]["a"] == 1.374


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss=gce", "loss.q=auto", *NOISE], "loss.q=auto: must be a number"),
        (["loss=agce", "loss.a=auto", "noise=clean"], "loss.a=auto: needs noise=sym, asym or pairflip"),
        (["loss=agce", "loss.a=auto", "noise=instance", "rate=0.4"], "loss.a=auto: needs noise=sym, asym or pairflip"),
        (["loss=agce", "loss.a=auto", "noise=asym", "rate=0.5"], "loss.a=auto: no a is tolerant of noise with w_m"),
        (["loss=agce", "loss.a=autoo", *NOISE], "loss.a=autoo: must be a number, or auto"),
        (["loss=agce", "loss.q=auto", "loss.a=auto", *NOISE], "loss.q=auto: must be a number"),
    ],
)
def test_what_theory_cannot_choose_is_refused(overrides: list[str], said: str, train, tmp_path: Path) -> None:
    ended = train("dataset=digits", *overrides, f"results={tmp_path / 'none'}")
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1
    assert ended.err.startswith(f"error: {said}")
    assert not (tmp_path / "none").exists()


def test_what_is_no_auto_stays_as_it_is() -> None:
    cfg = compose(["loss=agce", *NOISE])
    assert settled(cfg) == (cfg, "")
