"""What a user may type wrong, by class: command lines after the word, none of which may train or read data."""

from itertools import product

# Values that no number, switch, folder or choice may have, as they are typed.
NUMBERS = ("abc", "null", "[1]", "{a:1}", "true", "nan", "inf", "-inf", "1e400", "-1", "''", "1;2", "0x", "9" * 5000)
WHOLE = (*NUMBERS, "1.5", "1e-3", "4294967296")
SWITCHES = ("yes", "1", "null", "[true]", "'true'", "maybe")
CHOICES = ("null", "[ce]", "[[ce]]", "{a:1}", "5", "true", "''", "../train", "a/b", "ce/", ".", "..", "nope", "${seed}")
TARGETS = ("null", "5", "[a]", "nope", "nope.nope", "os", "os.nope", "math.pi", "os.getpid", "''", "..", "a b")

OPTIONS = [
    *(f"{name}={value}" for name in ("seed", "seed_noise", "num_val", "num_trusted") for value in WHOLE),
    *(f"{name}={value}" for name in ("epochs", "eval_every", "batch_size") for value in (*WHOLE, "0")),
    *(f"{name}={value}" for name in ("force", "save_model", "compile", "deterministic") for value in SWITCHES),
    *(f"clip_norm={value}" for value in (*NUMBERS, "0") if value != "null"),
    *(f"threads={value}" for value in (*WHOLE, "0", "4097")),
    *(f"precision={value}" for value in ("float16", "null", "32", "[auto]", "''", "AUTO")),
    *(f"device={value}" for value in ("tpu", "null", "cuda:", "cuda:-1", "cuda:x", "[cpu]", "0", "''", "cuda:00")),
    *(f"results={value}" for value in ("", "null", "[a]", "{a:1}", "/dev/null", "/dev/null/x", "/proc/x", "a\0b")),
    *(f"noise=sym rate={value}" for value in (*NUMBERS, "1.1") if value != "null"),
]
GROUPS = [
    f"{group}={value}"
    for group, value in product(
        ("dataset", "noise", "loss", "network", "optimizer", "schedule", "method", "tracker", "protocol", "table"),
        CHOICES,
    )
]
COMPONENTS = [
    *(f"optimizer.lr={value}" for value in (*NUMBERS, "1e39", "1e300", "-1e-300")),
    *(f"optimizer.momentum={value}" for value in NUMBERS),
    *(f"loss=agce loss.q={value}" for value in (*NUMBERS, "0")),
    *(f"loss=nce_agce loss.alpha={value}" for value in NUMBERS),
    *(
        f"schedule=multistep schedule.milestones={v}"
        for v in ("[nan]", "[a]", "[-1]", "[0]", "[1.5]", "3", "null", "[[1]]")
    ),
    *(f"schedule=multistep schedule.gamma={value}" for value in NUMBERS),
    *(f"dataset=cifar10 dataset.augment.padding={value}" for value in (*WHOLE, "257")),
    *(f"dataset=cifar10 dataset.augment.degrees={value}" for value in (*NUMBERS, "181")),
    *(f"dataset=cifar10 dataset.augment.flip={value}" for value in SWITCHES),
    *(f"dataset.augment={value}" for value in ("abc", "5", "[1]", "{}", "{a:1}", "true")),
    *(
        f"{where}={value}"
        for where in ("+loss.x", "+noise.seed", "+network.size", "+optimizer.params")
        for value in ("1",)
    ),
    *(f"{group}._partial_={v}" for group in ("loss", "noise", "method", "schedule") for v in ("false", "null", "1")),
    *(f"{group}._target_={v}" for group in ("loss", "noise", "network", "tracker") for v in TARGETS),
]
REMOVED = [
    f"~{key}" for key in ("loss", "noise", "dataset", "seed_noise", "epochs", "results", "loss._target_", "tuned_row")
]
SYNTAX = [
    *(
        "=",
        "a=",
        "=b",
        "loss",
        "loss==ce",
        "loss ce",
        " ",
        "",
        "{}",
        "[",
        "]",
        "loss=[",
        "loss='ce",
        'loss="ce',
        "+",
        "~",
    ),
    *("++", "@", "loss@=ce", "loss@x=ce", "loss@_global_=ce", "a.b.c=1", "a..b=1", ".a=1", "a.=1", "+a..b=1", "+.=1"),
    *(
        "hydra=1",
        "hydra.run.dir=x",
        "hydra/launcher=nope",
        "hydra.nope=1",
        "hydra.searchpath=5",
        "hydra.searchpath=[5]",
    ),
    *(
        "hydra.searchpath=[nope://x]",
        "loss=ce,",
        "loss=,ce",
        "loss=choice(ce)",
        "loss=range(1,2)",
        "loss=glob(*)",
        "seed=1,2",
    ),
    *("seed=range(1,3)", "epochs=${nowhere}", "epochs=${epochs}", "seed=${seed_noise}", "epochs=${oc.env:NOWHERE}"),
    *(
        "epochs=${",
        "epochs=${}",
        "epochs=${nope:1}",
        "epochs=${oc.create:{a:1}}",
        "epochs=???",
        "loss._target_=???",
        "+5=1",
    ),
    *(
        "+a=" + "[" * 2000,
        "+a=" + "[" * 50 + "]" * 50,
        "+a=" + "${" * 50,
        "+a=" + "x" * 20_000,
        "optimizer.lr=" + "1" * 400,
    ),
    *(
        "ü=1",
        "+ü=1",
        "+a\nb=1",
        "loss=c\ne",
        "loss=\x1b[31mce",
        "loss=ce\0",
        "loss\0=ce",
        "\ud800=1",
        "loss=\ud800",
        "🙂",
        "+a=🙂",
    ),
    *(
        "tuned=1",
        "tuned=null",
        "tuned.loss=5",
        "+tuned.loss.x=1",
        "regime=null",
        "regime=[1]",
        "dataset=digits dataset=5",
    ),
    *(
        "dataset.load=null",
        "dataset.load=5",
        "dataset.name=null",
        "dataset.name=[1]",
        "tuned_row=5",
        "tuned_row=null",
        "+rate=0.5",
    ),
]
FLAGS = [
    *(
        "-",
        "--",
        "---",
        "-x",
        "--nope",
        "--loss=agce",
        "--epochs 5",
        "-mloss=ce",
        "--multirun=5",
        "-m=1",
        "--cfg",
        "--cfg=",
        "-c",
    ),
    *(
        "--cfg foo",
        "--cfg job nope=1",
        "--cfg all loss=nope",
        "--cfg=job epochs",
        "--info=nope",
        "--info nope",
        "--package",
    ),
    *("--config-dir", "--config-dir=", "--config-dir nowhere", "--config-path=x", "-cp x", "--config-name=x", "-cn x"),
    *("--experimental-rerun x", "--experimental-rerun=x", "--resolve=1", "--help=1", "--version=1", "--run=1"),
    *(
        "-m table=nope",
        "-m table=digits loss=ce,mae",
        "-m table=digits seed=1",
        "-m table=digits table.rows=[nope]",
        "-m loss=nope",
    ),
    *(
        "-m table=digits table.rows=[]",
        "-m table=digits table.columns=5",
        "-m table=digits table.seeds=[x]",
        "-m table=[digits]",
    ),
    *(
        "-m table=digits table.seeds=1,2",
        "-m table=digits table.metric=x",
        "-m table.rows=[ce]",
        "-m loss=[ce,gce]",
        "-m loss=ce,nope",
    ),
    *(
        "-m seed=1,2 epoch=5",
        "-m hydra/launcher=nope",
        "-m hydra.launcher.n_jobs=0",
        "-m loss=",
        "-m =",
        "-m hydra/sweeper=nope",
    ),
]
WORDS = [
    *(
        "table",
        "table table=nope",
        "table table=digits format=pdf",
        "table table=digits table.seeds=1,2",
        "table loss=ce",
    ),
    *(
        "table table=digits format=",
        "table table=digits loss=nope",
        "table table=digits seed=3",
        "table table=[digits]",
    ),
    *(
        "table table=digits -m",
        "table table=digits --cfg job",
        "table table=digits nope",
        "table table=digits table.grid=5",
    ),
    *(
        "merge",
        "merge nowhere",
        "merge ''",
        "merge /dev/null",
        "merge --force x",
        "merge results=x",
        "merge . results=/dev/null",
    ),
    *(
        "predict",
        "predict model=",
        "predict model=nowhere",
        "predict model=/dev/null",
        "predict model=. dataset=digits",
    ),
    *(
        "predict model=x loss=nope",
        "noise noise=uniform",
        "noise out=x.txt",
        "noise out=",
        "noise noise=sym",
        "noise -m noise=sym",
    ),
    *(
        "noise noise=sym rate=0.2,0.4",
        "noise noise=human noise.labels=best",
        "noise noise=human",
        "noise noise=file noise.path=",
    ),
    *(
        "noise noise=file noise.path=x.txt",
        "noise dataset=[digits]",
        "losscheck loss=nope",
        "losscheck plot=x.txt",
        "losscheck --x",
    ),
    *(
        "track",
        "track tracker=none",
        "track tracker=wandb results=nowhere",
        "track tracker=wandb run_id=x",
        "track tracker=nope",
    ),
    *(
        "track tracker=wandb tracker.mode=loud",
        "track tracker=wandb run_id=",
        "report results=nowhere",
        "report x=1",
        "report out=",
    ),
    *(
        "baseline loss.nope=1 epochs=x",
        "baseline -m",
        "parity seeds=0",
        "parity seeds=x",
        "parity epochs=0 seeds=1",
        "bench loss=nope",
    ),
    *(
        "bench epochs=0",
        "bench -m",
        "bench_convolution threads=0",
        "bench_convolution x",
        "nope",
        "Train",
        "--nope",
        "-x",
        "train.py",
        "",
    ),
]
