"""The sentences of a report: what to know of its verdicts."""

from math import isinf

from labelnoise.theory import symmetry
from labelnoise.theory.evaluation import LossFunction
from labelnoise.theory.verdicts import Evidence

MINIMUM = {
    "not unique": "degenerate: without noise, predictions of other classes reach its minimum too; no critical ratio",
    "not the vertex": "without noise its minimum is no one-hot prediction: the theory does not speak of it",
    "not on the simplex": "changes if all logits are raised together: no function of the probabilities, so no verdict",
    "none": "it falls without end in the logits, nothing minimises it: no critical ratio",
}


def notes(loss: LossFunction, found: Evidence, missing: list[int]) -> tuple[str, ...]:
    """What holds of the loss's verdicts beyond the numbers."""
    said = []
    if found.minimum != "vertex":
        said.append(MINIMUM[found.minimum])
    if found.symmetric and isinf(found.critical):
        said.append("symmetric noise is covered by the constant sum over labels (Ghosh et al. 2017), asymmetric is not")
    if found.profile and found.profile.shape == "not decreasing":
        said.append("l(p_y) does not fall everywhere: it is no loss in the sense of the theory")
    if found.difference is not None:
        said.append(f"the difference decides, not the ratio: tolerant from w_m - w_n >= {found.difference:.4g} (sum 1)")
    elif found.minimum == "vertex" and abs(1 / found.even - 1 / found.paired) > 0.01:
        paired, even = ("never" if isinf(ratio) else f"from {ratio:.4g}" for ratio in (found.paired, found.even))
        said.append(f"the other classes matter: {paired} if they have no weight, {even} if each has w_n")
    if found.ratios and not found.ratios.asymmetry:
        said.append("r = 0: the minimiser always leaves some probability elsewhere, if only 1e-6 (see p(true))")
    if found.search:
        said.append("numerical: search over the simplex (vertices, scans down to 1e-11, random starts), to about 0.1%")
    elif found.formula is None:
        said.append("numerical: slopes at 641 values of p_y, log-spaced down to 1e-278 at both ends")
    if not symmetry.treats_classes_alike(loss, found.num_classes):
        said.append("treats classes differently: judged for the first classes only")
    if not symmetry.has_its_own_gradient(loss, found.num_classes):
        said.append("its gradient is not its value's, as a factor is detached: slopes and r are those of the gradient")
    said += [f"cannot be computed for {K} classes" for K in missing]
    return tuple(said)
