"""Train one configuration, or several with -m: `labelnoise train` from a checkout.

python train.py loss=agce noise=asym rate=0.4
python train.py -m loss=ce,gce,agce noise=sym rate=0.4 seed=1,2,3 dataset=digits
python train.py --help
"""

import sys

from labelnoise.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
