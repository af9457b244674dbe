"""The subcommands of `labelnoise`; each is a file of `cli`."""

from typing import NamedTuple

from labelnoise.config.groups import IN_CHECKOUT


class Subcommand(NamedTuple):
    """Attributes: help, one line; flags, the flags with dashes that it takes."""

    help: str
    flags: tuple[str, ...] = ()


SUBCOMMANDS = {
    "train": Subcommand("train one configuration, or many with -m", ("*",)),
    "table": Subcommand("print a table of results beside the published numbers"),
    "summary": Subcommand("mean and standard deviation of any records, grouped by setting"),
    "figures": Subcommand("draw a figure of a paper from records"),
    "report": Subcommand("write one HTML page from a folder of records"),
    "audit": Subcommand("rank the labels of a data set, such as your own, by how likely they are to be wrong"),
    "embed": Subcommand("compute features of a data set's images with a pretrained network"),
    "merge": Subcommand("copy records made elsewhere into a folder of records"),
    "predict": Subcommand("classify the test images with a saved network"),
    "export": Subcommand("write a saved network as a torch.export or ONNX program"),
    "cite": Subcommand("print the BibTeX of what a run or a table uses, and of this package"),
    "noise": Subcommand("show what a noise does to the labels, and write them to a file"),
    "check": Subcommand("check parts of your own: a method, loss, noise, network or data set"),
    "losscheck": Subcommand("say which noise a loss tolerates in theory", ("--plot", "--all")),
    "track": Subcommand("send finished runs to W&B or TensorBoard, from their records"),
    "bench": Subcommand("compare the speed of a training step with the published code's"),
    "docs": Subcommand("write the tables of the documents from configurations, signatures and records"),
}
FOR_DEVELOPERS = ("baseline", "bench_convolution", "bench_threads", "parity")  # scripts that were subcommands


def command(subcommand: str) -> str:
    """How to run a subcommand: `labelnoise <subcommand>`, and in a checkout train.py."""
    return "python train.py" if subcommand == "train" and IN_CHECKOUT else f"labelnoise {subcommand}"
