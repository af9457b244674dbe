"""What a user may type wrong, by class: command lines, none of which may read data or train."""

from itertools import product

# Values, as they are typed, that no number, switch or choice may have.
NUMBERS = ("abc", "null", "[1]", "{a:1}", "true", "nan", "inf", "1e400", "-1", "", "1;2", "9" * 5000)
WHOLE = (*NUMBERS, "1.5", "4294967296")
SWITCHES = ("yes", "1", "null", "[true]")
CHOICES = (
    "null",
    "[ce,gce]",
    "[[ce]]",
    "{a:1}",
    "5",
    "",
    "../train",
    "a/b",
    "..",
    "nope",
    "${seed}",
    "choice(ce)",
    "glob(*)",
)
TARGETS = ("null", "[a]", "nope.nope", "os.nope", "math.pi", "os.getpid", "", "..", "a b", "???")


def train(*overrides: str) -> list[str]:
    return ["train", "dataset=digits", "epochs=7", *overrides]


OPTIONS = [
    *(
        train(f"{name}={value}")
        for name, value in zip(("seed", "num_val", "epochs") * 5, (*WHOLE, "0"), strict=False)
        if value != "0"
    ),
    *(train(f"{name}=0") for name in ("epochs", "batch_size", "eval_every", "clip_norm", "threads")),
    *(train(f"force={value}") for value in SWITCHES),
    *(train(f"threads={value}") for value in ("4097", "null", "1.5")),
    *(train(f"precision={value}") for value in ("float16", "[auto]", "AUTO")),
    *(train(f"device={value}") for value in ("tpu", "null", "cuda:-1", "cuda:00", "cuda:63")),
    *(train(f"results={value}") for value in ("", "null", "[a]", "{a:1}", "/dev/null", "/dev/null/x", "a\0b")),
    *(train("noise=sym", f"rate={value}") for value in ("nan", "1.1", "abc", "null")),
]
GROUPS = [
    train(f"{group}={value}")
    for group, value in product(
        ("dataset", "noise", "loss", "network", "optimizer", "schedule", "method", "tracker", "protocol", "table"),
        CHOICES,
    )
]
COMPONENTS = [
    *(train(f"optimizer.lr={value}") for value in (*NUMBERS[:6], "-1", "1e39", "1e300")),
    *(train("loss=agce", f"loss.q={value}") for value in ("0", "-1", "abc", "nan", "null")),
    *(train("schedule=multistep", f"schedule.milestones={v}") for v in ("[nan]", "[a]", "[-1]", "[1.5]", "3", "[[1]]")),
    *(train("schedule=multistep", f"schedule.gamma={value}") for value in ("-1", "null")),
    *(
        train("dataset=cifar10", f"dataset.augment.{value}")
        for value in ("padding=-1", "padding=1.5", "degrees=181", "flip=1")
    ),
    *(train(f"dataset.augment={value}") for value in ("abc", "5", "[1]", "{}", "{a:1}")),
    *(train(f"{where}=1") for where in ("+loss.x", "+noise.seed", "+network.size", "+optimizer.params")),
    *(train(f"loss._partial_={value}") for value in ("false", "null", "1")),
    *(
        train(f"{group}._target_={v}")
        for group, v in zip(("loss", "noise", "network", "tracker") * 3, TARGETS, strict=False)
    ),
    train("noise=human"),
    train("noise=human", "noise.labels=best"),
    *(train("noise=file", f"noise.path={value}") for value in ("", "x.txt", "nowhere.npy", "null")),
]
SYNTAX = [
    *(
        train(f"~{key}")
        for key in ("loss", "dataset", "seed_noise", "results", "loss._target_", "tuned_row", "", "nope")
    ),
    *map(
        train,
        (
            "=",
            "a=",
            "=b",
            "loss",
            "loss==ce",
            " ",
            "",
            "{}",
            "[",
            "loss=[",
            "loss='ce",
            "+",
            "~",
            "++",
            "@",
            "loss@=ce",
        ),
    ),
    *map(
        train,
        ("loss@x=ce", "a.b.c=1", "a..b=1", ".a=1", "+a..b=1", "hydra=1", "hydra.run.dir=x", "hydra/launcher=nope"),
    ),
    *map(
        train,
        ("hydra.searchpath=5", "hydra.searchpath=[nope://x]", "loss=ce,", "loss=,ce", "seed=1,2", "seed=range(1,3)"),
    ),
    *map(
        train, ("epochs=${nowhere}", "epochs=${epochs}", "seed=${seed_noise}", "epochs=${oc.env:NOWHERE}", "epochs=${")
    ),
    *map(train, ("epochs=${nope:1}", "epochs=???", "+a=" + "[" * 300, "+a=" + "${" * 50, "+a=" + "x" * 20_000, "+5=1")),
    *map(train, ("ü=1", "+a\nb=1", "loss=c\ne", "loss=\x1b[31mce", "loss\0=ce", "\ud800=1", "loss=\ud800", "+a=🙂")),
    *map(
        train,
        (
            "tuned=1",
            "+tuned.loss.x=1",
            "recipe=null",
            "recipe=[1]",
            "dataset.load=null",
            "dataset.name=[1]",
            "+rate=0.5",
        ),
    ),
]
FLAGS = [
    *map(
        train,
        (
            "-",
            "--",
            "-x",
            "--nope",
            "--loss=agce",
            "-mloss=ce",
            "--multirun=5",
            "-m=1",
            "--cfg",
            "--cfg=",
            "--info=nope",
        ),
    ),
    *map(
        train, ("--config-dir", "--config-dir=nowhere", "--config-path=x", "--config-name=x", "--experimental-rerun=x")
    ),
    *map(train, ("--package=x", "--resolve", "--resolve=1", "--help=1", "--run=1")),
    *(
        train(*words)
        for words in (
            ["--cfg", "foo"],
            ["--cfg", "job", "nope=1"],
            ["--cfg", "all", "loss=nope"],
            ["-c", "job", "loss"],
        )
    ),
    *(
        ["train", "-m", *words]
        for words in (["loss=[ce,gce]"], ["loss=ce,nope"], ["loss="], ["table=nope"], ["table=[digits]"], ["="])
    ),
    *(
        ["train", "-m", "table=digits", word]
        for word in ("loss=ce,mae", "table.rows=[nope]", "table.seeds=1,2", "table.seeds=[x]")
    ),
    *(["train", "-m", "loss=ce,mae", word] for word in ("epoch=5", "hydra/launcher=nope", "hydra.launcher.n_jobs=0")),
]
WORDS = [
    *map(
        str.split, ("table", "table table=nope", "table table=digits format=pdf", "table table=digits table.seeds=1,2")
    ),
    *map(
        str.split,
        ("table table=digits -m", "table table=digits nope", "table table=digits seed=3", "table table=digits format="),
    ),
    *map(str.split, ("merge", "merge nowhere", "merge /dev/null", "merge --force x", "merge . results=/dev/null")),
    *map(str.split, ("predict", "predict model=", "predict model=nowhere dataset=digits", "predict model=/dev/null")),
    *map(
        str.split,
        ("noise noise=uniform", "noise out=x.txt", "noise out=", "noise noise=sym", "noise noise=sym rate=0.2,0.4"),
    ),
    *map(
        str.split,
        ("losscheck loss=nope", "losscheck plot=x.txt", "losscheck --x", "report results=nowhere", "report x=1"),
    ),
    *map(
        str.split,
        ("track", "track tracker=wandb results=nowhere", "track tracker=wandb run_id=x", "track tracker=nope"),
    ),
    *map(
        str.split, ("track tracker=wandb tracker.mode=loud", "track tracker=wandb run_id=0123456789ab", "baseline -m")
    ),
    *map(
        str.split,
        ("parity seeds=0", "bench loss=nope", "bench epochs=0", "bench_convolution threads=0", "figures", "nope"),
    ),
    *([word] for word in ("", "--nope", "train.py", "Train")),
]

# Files of the user's own, as configs/loss/mine.yaml; loss=mine is refused.
YAML = {
    "empty": "",
    "list": "- 1\n- 2\n",
    "scalar": "5\n",
    "null": "null\n",
    "without a target": "alpha: 1\n",
    "circular": "_target_: labelnoise.losses.generalized.gce\n_partial_: true\nq: ${loss.x}\nx: ${loss.q}\n",
    "duplicate key": "_target_: labelnoise.losses.generalized.gce\n_partial_: true\nq: 1\nq: 2\n",
    "not YAML": "_target_: [\n",
    "tab": "a:\n\t- b\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "Python object": "_target_: !!python/object/apply:os.system [touch owned]\n",
    "alias in itself": "_target_: x\na: &a [*a]\n",
    "interpolation bomb": "_target_: labelnoise.losses.generalized.gce\n_partial_: true\nx0: lol\n"
    + "".join(f"x{i}: {f'${{loss.x{i - 1}}}' * 10}\n" for i in range(1, 10))
    + "q: ${loss.x9}\n",
    "alias bomb": "x0: &x0 [l, l, l, l, l, l, l, l, l, l]\n"
    + "".join(f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 10)}]\n" for i in range(1, 10)),
    "unknown default": "defaults:\n  - nope\n_target_: labelnoise.losses.cross_entropy.ce\n_partial_: true\n",
    "default that is a number": "defaults: 5\n",
    "no such module": "_target_: no_such_module.loss\n_partial_: true\n",
    "module that raises": "_target_: raises.loss\n_partial_: true\n",
    "module with a syntax error": "_target_: broken.loss\n_partial_: true\n",
    "module that exits": "_target_: leaves.loss\n_partial_: true\n",
    "takes too little": "_target_: os.getpid\n_partial_: true\n",
    "value that is missing": "_target_: labelnoise.losses.generalized.gce\n_partial_: true\n",
    "deep": "_target_: labelnoise.losses.cross_entropy.ce\n_partial_: true\na: " + "[" * 2000 + "]" * 2000 + "\n",
    "another package": "# @package nope.nope\n_target_: labelnoise.losses.cross_entropy.ce\n_partial_: true\n",
}
MODULES = {"raises.py": "1 / 0\n", "broken.py": "def loss(:\n", "leaves.py": "import sys\nsys.exit('bye')\n"}
