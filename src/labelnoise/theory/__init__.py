"""What noise-tolerance theory guarantees for a loss: `check(loss, num_classes) -> Report`, and `labelnoise losscheck`.

The theory is that of asymmetric losses (Zhou, Liu, Jiang, Gao, Ji 2021, arXiv:2106.03110) and of symmetric losses
(Ghosh, Kumar, Sastry 2017, arXiv:1712.09482). docs/theory.md explains it without requiring either paper.
"""

from labelnoise.theory.checking import check
from labelnoise.theory.report import Report

__all__ = ["Report", "check"]
