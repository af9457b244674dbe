"""The default loss of an audit: of the losses that theory calls tolerant, the one that learns fastest."""

from labelnoise.config.compose import compose
from labelnoise.experiment.classes import num_classes
from labelnoise.experiment.components import make_loss

CANDIDATES = ("ce", "gce", "nce_agce", "nce_ael", "agce", "ael")
NOISE, RATE = "sym", 0.4  # the noise that it must tolerate
MOST = 100  # with more classes, a loss is judged at this many, as a search takes longer the more there are


def default_loss(overrides: list[str]) -> tuple[str, str]:
    """The name of the loss, and a line that says why.

    The candidates have their hyper-parameters for this data set and are ordered by their gradients at equal logits. The
    first that theory calls tolerant of 40% symmetric noise at this number of classes is chosen.

    Args:
        overrides: of the run.
    Raises:
        ValueError, OSError: as `num_classes` for a data set that has to be read.
    """
    import torch

    from labelnoise.theory import check, gradients
    from labelnoise.theory.noise_ratios import nominal_row

    classes = num_classes(compose(overrides))
    judged = min(classes, MOST)
    losses = {name: make_loss(compose([*overrides, f"loss={name}"])) for name in CANDIDATES}
    strength = {name: gradients.at_initialisation(loss, judged) for name, loss in losses.items()}
    row = nominal_row(NOISE, RATE, judged)
    matrix = torch.stack([row.roll(c) for c in range(judged)])
    for name in sorted(losses, key=lambda name: -strength[name]):
        verdict = check(losses[name], judged, matrix).transition
        if verdict is not None and verdict.tolerant:
            return name, (
                f"loss={name}: tolerant of {RATE:.0%} symmetric noise at {judged} classes by theory, and of "
                f"{', '.join(CANDIDATES)} the tolerant one that learns fastest"
            )
    return CANDIDATES[-1], f"loss={CANDIDATES[-1]}: no candidate is tolerant by theory"
