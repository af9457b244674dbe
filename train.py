"""Train one configuration, or several with -m.

python train.py loss=agce noise=asym rate=0.4
python train.py -m loss=ce,gce,agce noise=sym rate=0.4 seed=1,2,3 dataset=digits
python train.py --help
"""

from labelnoise.cli.train import main

if __name__ == "__main__":
    main()
