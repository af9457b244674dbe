"""Check a configuration's parts, your own above all, as the project's tests check its own. Takes train's options.

labelnoise check method=mine loss=power noise=opposite network=mlp dataset=digits rate=0.4 --config-dir configs
labelnoise check loss=power dataset=digits

The data set: its fields, and that it is the same when loaded again. The noise: its rate, and the same labels for the
same seed. The loss: shapes, gradients, extreme logits. The network: shapes, and the same weights for the same seed. The
method: four short epochs on part of the data, then the same again, stopped three times and resumed, and with other true
labels. The first that fails is one line that names it, and the exit code is 1.
"""

from labelnoise.config.check import check as check_options
from labelnoise.config.compose import compose


def check(arguments: list[str]) -> None:
    """Print a line for each part.

    Args:
        arguments: train's overrides.
    Raises:
        ValueError: an option is wrong, or a part is not as it must be.
        OSError: the data cannot be read.
    """
    cfg = compose(arguments)
    check_options(cfg)
    from labelnoise.checks.method import check_method
    from labelnoise.checks.parts import check_dataset, check_loss, check_network, check_noise
    from labelnoise.experiment.components import make_components

    components = make_components(cfg)

    def say(part: str, found: str) -> None:
        print(f"{part:<8} ok: {found}", flush=True)

    dataset, found = check_dataset(cfg)
    say("dataset", found)
    labels, found = check_noise(cfg, dataset)
    say("noise", found)
    say("loss", check_loss(components.loss, dataset))
    say("network", check_network(cfg, dataset))
    say("method", check_method(cfg, components, dataset, labels))
