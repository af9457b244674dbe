"""CONTRIBUTING's examples, word for word, in a copy of the project: a loss, a method, a noise, a network, a data set,
two files each. They train, the documents take them in, and so do the project's tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.data import REPOSITORY

FOLDERS = ("src", "configs", "tests", "docs", "scripts", "results", ".ci")
FILES = ("train.py", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile", "LICENSE", "CITATION.cff")
NEW = {"loss": "hinge", "method": "self_weighted", "noise": "one_class", "network": "perceptron", "dataset": "stripes"}
# Without Numba, which would compile all kernels for the copy; and never the package of this checkout.
START = "import sys; sys.modules['numba'] = None; sys.path[:0] = ['src', '.']; "


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy with the new files."""
    root = tmp_path_factory.mktemp("copy")
    for folder in FOLDERS:
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(REPOSITORY / file, root / file)
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    written = re.findall(r"`((?:src|configs)/\S+)`[^\n]*:\n\n```\w+\n(.*?)```", text, re.S)
    names = [name for name, _ in written]
    assert [Path(name).suffix for name in names] == [".py", ".yaml"] * len(NEW)
    assert [name for name in names if name.endswith(".yaml")] == [f"configs/{g}/{n}.yaml" for g, n in NEW.items()]
    for name, content in written:
        assert not (root / name).exists()
        (root / name).write_text(content)
    (entry,) = re.findall(r"```bibtex\n(.*?)```", text, re.S)
    with (root / "configs/references.bib").open("a") as references:
        references.write("\n" + entry)
    return root


def python(copy: Path, code: str) -> str:
    """What the code prints in the copy."""
    environment = {**os.environ, "LABELNOISE_COMMIT": "none", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", START + code]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def passing(copy: Path, *arguments: str) -> list[str]:
    """Run tests in the copy. Returns those that passed."""
    said = python(copy, f"import pytest; sys.exit(pytest.main({['-p', 'no:cacheprovider', '-rp', *arguments]!r}))")
    return re.findall(r"^PASSED (\S+)", said, re.M)


def test_together_they_train_and_are_documented(copy: Path) -> None:
    options = [f"{group}={name}" for group, name in NEW.items()]
    short = ["rate=0.3", "epochs=1", "threads=1", "results=trained"]
    python(copy, f"from labelnoise.cli.main import main; main({['train', *options, *short]!r})")
    assert len(list((copy / "trained").glob("*.json"))) == 1
    shutil.rmtree(copy / "trained")
    # without the results on digits, whose tables would all be composed for this copy
    make = "from labelnoise.docs import parts; parts.on_digits = lambda *_: ['', '']; "
    assert "| `hinge` | Crammer and Singer 2001 (JMLR) |" in python(
        copy, make + "parts.choices = lambda _: ['hinge']; print(parts.losses())"
    )
    said = python(copy, make + "print(parts.methods(), parts.noises(), parts.networks(), parts.datasets())")
    assert "| `self_weighted` | none | weights |" in said
    for name in ("one_class", "perceptron", "stripes"):
        assert f"| `{name}` | " in said


def test_every_test_that_takes_an_option_takes_them(copy: Path) -> None:
    """And those of the structure pass."""
    files = [path.relative_to(copy) for path in sorted((copy / "tests").glob("test_*.py"))]
    walk = [str(path) for path in files if "every(" in (copy / path).read_text()]
    passed = passing(copy, *walk, "-k", " or ".join([*NEW.values(), "test_structure"]))
    taken = {name: sum(name in test for test in passed) for name in NEW.values()}
    assert min(taken.values()) >= 3, taken
    assert sum(taken.values()) > 50, taken
    assert sum("test_structure" in test for test in passed) > 700


@pytest.mark.slow
def test_the_whole_suite_takes_them(copy: Path) -> None:
    python(copy, "from labelnoise.cli.main import main; main(['docs'])")
    assert len(passing(copy, "tests", "--deselect", "tests/test_two_files.py")) > 4000
