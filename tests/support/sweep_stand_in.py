"""For test_sweep.py: a worker process as it is, whose runs do what their configuration says instead of training; and a
tracker that keeps count."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from labelnoise.experiment import trackers
from labelnoise.files.claims import Claimed
from labelnoise.launch import worker


def do(cfg, quiet: bool) -> dict:
    """Do what `cfg.do` says, a word and an argument; each run adds a line to `cfg.log`."""
    assert quiet
    word, _, argument = cfg.do.partition(" ")

    def log(**more) -> None:
        with Path(cfg.log).open("a") as file:
            gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
            file.write(json.dumps({"name": cfg.name, "pid": os.getpid(), "gpu": gpu, **more}) + "\n")

    log(did="start")
    try:
        if word == "sleep":
            time.sleep(float(argument))
        elif word == "meet":  # goes on once so many jobs have started
            while len({json.loads(line)["name"] for line in Path(cfg.log).read_text().splitlines()}) < int(argument):
                time.sleep(0.02)
        elif word == "raise":
            raise {"ValueError": ValueError, "RuntimeError": RuntimeError}[argument]("so it is")
        elif word == "exit":
            os._exit(int(argument))
        elif word == "kill":
            os.kill(os.getpid(), int(argument))
            time.sleep(10)
        elif word == "print":
            print('{"status": "failed", "reason": "a print"}', flush=True)
            os.system('echo \'{"status": "failed"}\'; cat')
        elif word == "claimed" and not Path(argument).exists():
            raise Claimed("run 7: is being run by process 1 on node7")
    except SystemExit as end:
        log(did=f"stopped {end.code}")
        raise
    log(did="end")
    return {"metrics": {"test_acc_last": 0.5}}


def counting(run_id: str, config: dict, results: str) -> trackers.Tracker:
    """A line in the file of the environment's TRAINED for each training that begins.

    It goes on once as many processes have begun one as MEET says, so that none of them can do all.
    """
    log = Path(os.environ["TRAINED"])
    with log.open("a") as file:
        file.write(f"{run_id} {os.getpid()}\n")
    while len({line.split()[-1] for line in log.read_text().splitlines()}) < int(os.environ.get("MEET", "0")):
        time.sleep(0.02)
    return trackers.none(run_id, config, results)


def signalled(run_id: str, config: dict, results: str) -> trackers.Tracker:
    """After each epoch, this process gets the signal that the environment's SIGNAL says; 0 is none."""
    return trackers.Tracker(lambda epoch, row: os.kill(os.getpid(), int(os.environ["SIGNAL"])), lambda metrics: None)


if __name__ == "__main__":
    if len(sys.argv) > 1:  # a driver: its jobs as JSON
        from labelnoise.launch import driver, pool
        from labelnoise.launch.jobs import make_jobs

        pool.COMMAND = [sys.executable, __file__]
        texts = json.loads(sys.argv[1])
        jobs = make_jobs([[f"job={i}"] for i in range(len(texts))], 0)
        ended = driver.drive(jobs, lambda job: texts[job.number], [None, None], lambda: None)
        print([o.status for o in ended.outcomes])
        sys.exit(75 if ended.stopped else 0)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    worker.run = do
    worker.main()
