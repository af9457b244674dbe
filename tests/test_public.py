"""`import labelnoise`: the public interface, which loads no torch until a name is used."""

import subprocess
import sys

import pytest

import labelnoise


def test_importing_loads_no_torch() -> None:
    code = "import sys, labelnoise; labelnoise.losses, dir(labelnoise); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_every_public_name_is_there_and_says_what_it_is() -> None:
    for name in labelnoise.__all__:
        assert getattr(labelnoise, name).__doc__, name
    assert set(labelnoise.__all__) <= set(dir(labelnoise))
    assert {"compose", "run", "train", "losses"} <= set(labelnoise.__all__)
    assert labelnoise.losses.agce.__name__ == "agce"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        labelnoise.nothing  # noqa: B018


def test_the_import_of_earlier_versions_goes_on_working() -> None:
    from labelnoise.experiment.run import compose, run, train

    assert (compose, run, train) == (labelnoise.compose, labelnoise.run, labelnoise.train)
