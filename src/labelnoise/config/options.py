"""Every global option and every group, each declared once: default, type and range, what it decides, help.

The configuration's root, the checks, the identity of a run, `--help` and the tables in docs/options.md use these
declarations.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

from annotated_types import Ge, Gt, Le, Lt, Predicate
from hydra.core.config_store import ConfigStore

from labelnoise.arguments.ranges import Seed

Count = Annotated[int, Ge(0), Lt(2**32), "a whole number, at least 0 and below 2^32"]
Positive = Annotated[int, Ge(1), Lt(2**32), "a whole number, at least 1 and below 2^32"]
BatchSize = Annotated[int, Ge(2), Lt(2**32), "a whole number, at least 2 and below 2^32"]
Rate = Annotated[float, Ge(0), Le(1)] | None
Norm = Annotated[float, Gt(0)] | None
Imbalance = Annotated[float, Ge(1)] | None
Graphs = Literal["auto", False]
Precision = Literal["auto", "float32", "bfloat16"]
Threads = Literal["auto"] | Annotated[int, Ge(1), Le(4096)]
# The command line takes a folder literally, with ~ for the home folder.
_path = Predicate(lambda path: path != "" and "\0" not in path)
Folder = Annotated[str, _path, "a folder"]
File = Annotated[str, _path, "a file"] | None
_device = re.compile(r"auto|cpu|cuda(:(0|[1-9]\d?))?")
Device = Annotated[str, Predicate(lambda name: bool(_device.fullmatch(name))), "auto, cpu, cuda or cuda:N"]

SavedNetwork = Annotated[str, Predicate(lambda path: path.endswith(".safetensors")), "a .safetensors file"] | None

DATA_DIR = "${oc.env:LABELNOISE_DATA,data}"
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
    """

    name: str
    default: Any
    kind: Any
    help: str
    decides: str = OUTCOME
    neutral: Any = ALWAYS


OPTIONS = (
    Option(
        "rate",
        None,
        Rate,
        "of the noise: the share of each class's labels that it changes; null for a noise without a rate",
        HELPER,
    ),
    Option("epochs", "${recipe.epochs}", Positive, "length of the training"),
    Option("batch_size", "${recipe.batch_size}", BatchSize, "images per step"),
    Option("clip_norm", 5.0, Norm, "largest L2 norm of the whole gradient; null: no clipping"),
    Option("precision", "auto", Precision, "auto, float32 or bfloat16; auto: bfloat16 where the device is fast at it"),
    Option(
        "compile",
        False,
        bool,
        "torch.compile the network; without a working compiler it runs eagerly and says so",
        neutral=False,
    ),
    Option(
        "deterministic",
        False,
        bool,
        "fixed algorithms on a GPU, slower; a CPU run repeats bit for bit anyway",
        neutral=False,
    ),
    Option("eval_every", 1, Positive, "epochs between evaluations on the test set; the last one always", neutral=1),
    Option(
        "num_val",
        0,
        Count,
        "images held out with their noisy labels, to choose an epoch without the test set",
        neutral=0,
    ),
    Option("num_trusted", 0, Count, "images set aside with true labels, for methods that need some", neutral=0),
    Option(
        "trusted_from",
        "train",
        Literal["train", "val"],
        "train: cut from the training set; val: from the data set's own clean validation part, num_trusted=0 for all",
        neutral="train",
    ),
    Option(
        "init",
        None,
        SavedNetwork,
        "warm start: a network saved with save_model=true, whose weights the networks begin with; null: random weights",
        neutral=None,
    ),
    Option("seed", 1, Seed, "the one number to change for another run: sets the next three", HELPER),
    Option("seed_noise", "${seed}", Seed, "which labels are flipped, and which images a long tail keeps"),
    Option("seed_init", "${seed}", Seed, "the network's first weights"),
    Option("seed_data", "${seed}", Seed, "order, augmentation, held-out parts"),
    Option("device", "auto", Device, "auto, cpu, cuda or cuda:N", WHERE),
    Option(
        "threads", "auto", Threads, "CPU threads; auto: as many as a step can use and other processes leave free", WHERE
    ),
    Option("graphs", "auto", Graphs, "a training step on a GPU as one CUDA graph; false: kernel by kernel", WHERE),
    Option(
        "data_dir", DATA_DIR, Folder, "where data sets are, and are downloaded to; $LABELNOISE_DATA, else data", WHERE
    ),
    Option("features", None, File, "file of feature vectors, of a table or of images, for dataset=features", HELPER),
    Option("results", "runs", Folder, "folder of records, <results>/<run_id>.json", WHERE),
    Option("force", False, bool, "train although a record exists", WHERE),
    Option(
        "accept_changed",
        False,
        bool,
        "keep records and checkpoints made before source files of your own changed",
        WHERE,
    ),
    Option("save_model", False, bool, "keep the network too, <results>/<run_id>.safetensors", WHERE),
    Option(
        "record_predictions",
        False,
        bool,
        "keep the predictions for the training images too, of every evaluated epoch, <results>/<run_id>.npz",
        WHERE,
    ),
)

# Options below a group, the same for all of its files.
BELOW = (
    Option(
        "dataset.imbalance",
        None,
        Imbalance,
        "a long tail of the training images, exponential by class order: the first class has this many times the "
        "images of the last; null: none",
    ),
)


class Group(NamedTuple):
    """A group of options, `name=<a file of configs/name>`; configs/train.yaml sets the default.

    Attributes:
        supplied: what `run` itself passes to the component, by position, when it calls it.
        decides, neutral: as of an option.
    """

    name: str
    help: str
    supplied: tuple[str, ...] = ()
    decides: str = OUTCOME
    neutral: Any = ALWAYS


GROUPS = (
    Group("dataset", "images, with their network and recipe"),
    Group("noise", "what is done to the labels", ("facts", "seed")),
    Group("loss", "with the values its paper tuned for the data set", ("logits", "labels")),
    Group("regulariser", "what is added to the loss", neutral=None),
    Group("network", "images in, logits out", ("num_classes", "channels", "size")),
    Group("optimizer", "with the recipe's learning rate and weight decay", ("params",)),
    Group("schedule", "of the learning rate", ("epoch", "epochs")),
    Group("method", "what is done with loss and labels in a step", ("setup",)),
    Group("tracker", "where else the history goes", ("run_id", "config", "results"), WHERE),
    Group("protocol", "a paper's set-up", decides=HELPER),
    Group("table", "a paper's table; with -m", decides=HELPER),
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
# A key at a neutral value is left out of the id, so that a key added later changes no earlier id. Keys below a group
# are given with dots.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    **{entry.name: (entry.neutral,) for entry in (*GROUPS, *OPTIONS) if entry.neutral is not ALWAYS},
    "dataset.strong": (None,),
    "network.pretrained": (False,),
    "network.weights": (None,),
    "network.frozen": (False,),
    "dataset.imbalance": (None, 1),  # a tail of 1 keeps all images, as null does
}
PATHS = (
    *(option.name for option in OPTIONS if option.kind is Folder),
    *(
        "features",
        "dataset.load.labels",
        "dataset.load.corrected",
        "dataset.load.truth",
        "method.transition",
        "network.weights",
    ),
)
FILES = (".npy", ".csv", ".json", ".safetensors")  # a text with one of these endings names a file, whatever its key
NO_PATHS = {"method.transition": ("true", "false")}  # values of a path's option that are none


def names_a_path(key: str, value: str) -> bool:
    """Whether an option's value, as typed, is a file or folder: by the option, or by the ending of the value."""
    return key in PATHS or key.rpartition(".")[2] in ("path", "data_dir") or value.endswith(FILES)


# configs/train.yaml takes the defaults from here, under this name.
DEFAULTS: dict[str, Any] = {option.name: option.default for option in OPTIONS}
for option in BELOW:
    group, _, key = option.name.partition(".")
    DEFAULTS.setdefault(group, {})[key] = option.default
ConfigStore.instance().store("options", DEFAULTS, provider="labelnoise")
