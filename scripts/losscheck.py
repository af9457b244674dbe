"""Say what noise-tolerance theory promises of a loss. Takes train.py's overrides; docs/theory.md explains the answer.

python scripts/losscheck.py loss=agce loss.a=0.6 loss.q=0.6 dataset=cifar10
python scripts/losscheck.py loss=agce dataset=cifar10 noise=asym rate=0.4 plot=agce.png   # or --plot: losscheck.png
python scripts/losscheck.py --all dataset=cifar10                                         # a table of every loss

The last line is one JSON object: symmetric, additive, asymmetry_ratio, critical_ratio (null: never, or no ratio
decides), completely_asymmetric, tolerant (for each noise of the grid) and more; with --all a list of rows.
"""

from labelnoise.cli.errors import script
from labelnoise.cli.losscheck import losscheck

if __name__ == "__main__":
    script(losscheck, __doc__)
