"""Every global option and every group, each declared once: default, type and range, what it decides, help.

The configuration's root, the checks, the identity of a run, `--help` and the table in README use these declarations.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, Lt, Predicate
from hydra.core.config_store import ConfigStore

from labelnoise.arguments.ranges import Seed

Count = Annotated[int, Ge(0), Lt(2**32), "a whole number, at least 0 and below 2^32"]
Positive = Annotated[int, Ge(1), Lt(2**32), "a whole number, at least 1 and below 2^32"]
Folder = Annotated[str, Predicate(lambda path: path != "" and "\0" not in path), "a folder"]
Device = Annotated[
    str,
    Predicate(lambda name: re.fullmatch(r"auto|cpu|cuda(:(0|[1-9]\d?))?", name) is not None),
    "auto, cpu, cuda or cuda:N",
]

OUTCOME, WHERE, HELPER = "outcome", "where", "helper"
ALWAYS = object()  # a neutral value that nothing equals: the option is in every id


class Option(NamedTuple):
    """A global option, `name=value`.

    Attributes:
        default: as in a configuration file; ${...} takes the value of another option.
        kind: its annotation, see `labelnoise.arguments.ranges`.
        decides: OUTCOME, the results, so it is part of the run's id; WHERE, only where and how it runs; HELPER, nothing
            itself, others refer to it.
        neutral: the value at which the option is left out of the id, so that an option added later changes no earlier
            id; every new option with OUTCOME needs one.
        is_path: a file or folder; the command line takes it literally, with ~ for the home folder.
    """

    name: str
    default: Any
    kind: Any
    decides: str
    help: str
    neutral: Any = ALWAYS
    is_path: bool = False


OPTIONS = (
    Option(
        "rate",
        None,
        Annotated[float, Ge(0), Le(1)] | None,
        HELPER,
        "the noise's: the share of labels that it makes wrong; null for a noise without one",
    ),
    Option("epochs", "${recipe.epochs}", Positive, OUTCOME, "length of the training"),
    Option(
        "batch_size",
        "${recipe.batch_size}",
        Annotated[int, Ge(2), Lt(2**32), "a whole number, at least 2 and below 2^32"],
        OUTCOME,
        "images per step",
    ),
    Option(
        "clip_norm",
        5.0,
        Annotated[float, Gt(0)] | None,
        OUTCOME,
        "largest L2 norm of the whole gradient; null: no clipping",
    ),
    Option(
        "precision",
        "auto",
        Literal["auto", "float32", "bfloat16"],
        OUTCOME,
        "auto, float32 or bfloat16; auto: bfloat16 where the device is fast at it",
    ),
    Option(
        "compile",
        False,
        bool,
        OUTCOME,
        "torch.compile the network; without a working compiler it runs eagerly and says so",
        neutral=False,
    ),
    Option(
        "deterministic",
        False,
        bool,
        OUTCOME,
        "fixed algorithms on a GPU, slower; a CPU run repeats bit for bit anyway",
        neutral=False,
    ),
    Option(
        "eval_every",
        1,
        Positive,
        OUTCOME,
        "epochs between evaluations on the test set; the last one always",
        neutral=1,
    ),
    Option(
        "num_val",
        0,
        Count,
        OUTCOME,
        "images held out with their noisy labels, to choose an epoch without the test set",
        neutral=0,
    ),
    Option(
        "num_trusted",
        0,
        Count,
        OUTCOME,
        "images set aside with true labels, for methods that need some",
        neutral=0,
    ),
    Option(
        "trusted_from",
        "train",
        Literal["train", "val"],
        OUTCOME,
        "train: cut from the training set; val: from the data set's own clean validation part, num_trusted=0 for all",
        neutral="train",
    ),
    Option("seed", 1, Seed, HELPER, "the one number to change for another run: sets the next three"),
    Option("seed_noise", "${seed}", Seed, OUTCOME, "which labels are flipped"),
    Option("seed_init", "${seed}", Seed, OUTCOME, "the network's first weights"),
    Option("seed_data", "${seed}", Seed, OUTCOME, "order, augmentation, held-out parts"),
    Option("device", "auto", Device, WHERE, "auto, cpu, cuda or cuda:N"),
    Option(
        "threads",
        "auto",
        Literal["auto"] | Annotated[int, Ge(1), Le(4096)],
        WHERE,
        "CPU threads; auto: as many as a step can use and other processes leave free",
    ),
    Option(
        "graphs",
        "auto",
        Literal["auto", False],
        WHERE,
        "a training step on a GPU as one CUDA graph; false: kernel by kernel",
    ),
    Option(
        "data_dir",
        "${oc.env:LABELNOISE_DATA,data}",
        Folder,
        WHERE,
        "where data sets are, and are downloaded to; $LABELNOISE_DATA, else data",
        is_path=True,
    ),
    Option("results", "runs", Folder, WHERE, "folder of records, <results>/<run_id>.json", is_path=True),
    Option("force", False, bool, WHERE, "train although a record exists"),
    Option("save_model", False, bool, WHERE, "keep the network too, <results>/<run_id>.safetensors"),
)


class Group(NamedTuple):
    """A group of options, `name=<a file of configs/name>`; configs/train.yaml sets the default.

    Attributes:
        decides: as of an option.
        supplied: what `run` itself passes to the component, by position, when it calls it.
        neutral: as of an option.
    """

    name: str
    decides: str
    help: str
    supplied: tuple[str, ...] = ()
    neutral: Any = ALWAYS


GROUPS = (
    Group("dataset", OUTCOME, "images, with their network and recipe"),
    Group("noise", OUTCOME, "what is done to the labels", ("facts", "seed")),
    Group("loss", OUTCOME, "with the values its paper tuned for the data set", ("logits", "labels")),
    Group("regulariser", OUTCOME, "what is added to the loss", neutral=None),
    Group("network", OUTCOME, "images in, logits out", ("num_classes", "channels", "size")),
    Group("optimizer", OUTCOME, "with the recipe's learning rate and weight decay", ("params",)),
    Group("schedule", OUTCOME, "of the learning rate", ("epoch", "epochs")),
    Group("method", OUTCOME, "what is done with loss and labels in a step", ("setup",)),
    Group("tracker", WHERE, "where else the history goes", ("run_id", "config", "results")),
    Group("protocol", HELPER, "a paper's set-up"),
    Group("table", HELPER, "a paper's table; with -m"),
)

# Where the configuration has components, and what `run` passes to each.
COMPONENTS = {
    "dataset.load": (),
    "dataset.augment": ("images", "generator"),
    "strong": ("images", "generator"),  # what dataset.strong may be set to; checked also where no method uses it
    "dataset.strong": ("images", "generator"),
    "regulariser": (),
    **{group.name: group.supplied for group in GROUPS if group.supplied},
}

# The keys that decide the outcome: they form the effective configuration, and with it the run's id.
EFFECTIVE = tuple(entry.name for entry in (*GROUPS, *OPTIONS) if entry.decides == OUTCOME)
# The other keys that `run` reads: where and how it runs.
INCIDENTAL = tuple(entry.name for entry in (*OPTIONS, *GROUPS) if entry.decides == WHERE)
# A key at its neutral value is left out of the id, so that a key added later changes no earlier id. Keys below a group
# are given with dots.
NEUTRAL = {entry.name: entry.neutral for entry in (*GROUPS, *OPTIONS) if entry.neutral is not ALWAYS}
NEUTRAL |= {"dataset.strong": None}
PATHS = (
    *(option.name for option in OPTIONS if option.is_path),
    *("dataset.load.labels", "dataset.load.corrected", "method.transition"),
)
FILES = (".npy", ".csv", ".json", ".safetensors")  # a text with one of these endings names a file, whatever its key
NO_PATHS = {"method.transition": ("true", "false")}  # values of a path's option that are none


def names_a_path(key: str, value: str) -> bool:
    """Whether an option's value, as typed, is a file or folder: by the option, or by the ending of the value."""
    return key in PATHS or key.rpartition(".")[2] in ("path", "data_dir") or value.endswith(FILES)


# configs/train.yaml takes the defaults from here, under this name.
ConfigStore.instance().store("options", {option.name: option.default for option in OPTIONS}, provider="labelnoise")
