"""The notes in a report, on its verdicts."""

from math import isinf

from labelnoise.theory import symmetry
from labelnoise.theory.evaluation import LossFunction
from labelnoise.theory.verdicts import Evidence

MINIMUM = {
    "not unique": "degenerate: without noise, predictions of other classes reach its minimum too; no critical ratio",
    "not the vertex": "without noise its minimum is not a one-hot prediction: the theory does not apply",
    "not on the simplex": "changes if all logits are raised together: no function of the probabilities, so no verdict",
    "none": "unbounded below in the logits, so it has no minimum: no critical ratio",
}


def notes(loss: LossFunction, found: Evidence, missing: list[int]) -> tuple[str, ...]:
    """Notes on the loss's verdicts."""
    lines = []
    if found.minimum != "vertex":
        lines.append(MINIMUM[found.minimum])
    if found.symmetric and isinf(found.critical):
        lines.append("symmetric noise is covered, as the sum over labels is constant (Ghosh et al. 2017), others not")
    if found.profile and found.profile.shape == "not decreasing":
        lines.append("l(p_y) does not decrease everywhere: it is not a loss in the theory's sense")
    if found.difference is not None:
        lines.append(f"the difference decides, not the ratio: tolerant if w_m - w_n >= {found.difference:.4g} (sum 1)")
    elif found.minimum == "vertex" and abs(1 / found.even - 1 / found.paired) > 0.01:
        paired, even = ("never" if isinf(ratio) else f"from {ratio:.4g}" for ratio in (found.paired, found.even))
        lines.append(f"the other classes matter: {paired} if they have no weight, {even} if each has w_n")
    if found.ratios and not found.ratios.asymmetry:
        lines.append("r = 0: the minimiser always gives other classes some probability, if only 1e-6 (see p(true))")
    if found.search:
        lines.append("numerical: search over the simplex (vertices, scans down to 1e-11, random starts), to about 0.1%")
    elif found.formula is None:
        lines.append("numerical: slopes at 641 values of p_y, log-spaced down to 1e-278 at both ends")
    if not symmetry.treats_classes_alike(loss, found.num_classes):
        lines.append("treats classes differently: judged for the first classes only")
    if not symmetry.has_its_own_gradient(loss, found.num_classes):
        lines.append("its gradient is not its value's, as a factor is detached: slopes and r are those of the gradient")
    lines += [f"cannot be computed for {K} classes" for K in missing]
    return tuple(lines)
