"""Compares glimr_keras with a bare loop, the machine's limit, keras_tuner and plain Ray Tune, on
the same configurations.

    python examples/benchmarks/speed.py
    python examples/benchmarks/speed.py --only a,start --repeats 1
    python examples/benchmarks/speed.py --quick

Needs Linux, and `pip install -e '.[benchmarks]'`. The parts: (a) a tiny MLP on digits, (b) an MLP
on 60,000 samples, (c) a small CNN, (d) trials that are only a number, (e) 1 GB of arrays, (start)
short scripts, from their start to the first epoch and to their exit, (reuse) trainings with and
without reused graphs, (memory) a worker's memory over many trials. All of it takes about an hour
and a half on two cores.
"""

import argparse
import pathlib
import sys

import report
from plan import GROUPS, run_group
from results import Results


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", type=_groups, default=GROUPS, metavar="a,b", help=f"some of {','.join(GROUPS)}"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="of the whole comparison (default 3)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a few trials, once, to see that it works; no figures to quote",
    )
    parser.add_argument(
        "--json", type=pathlib.Path, default=pathlib.Path("speed.json"), metavar="PATH"
    )
    arguments = parser.parse_args()
    repeats = 1 if arguments.quick else arguments.repeats
    settings = {"only": ",".join(arguments.only), "repeats": repeats, "quick": arguments.quick}

    runs = []
    for group in arguments.only:
        runs += run_group(group, repeats, arguments.quick)
        # after each part, so that an interrupted benchmark leaves something
        report.write(arguments.json, Results(runs, arguments.quick), settings)
    report.show(Results(runs, arguments.quick), repeats)
    return 1 if any(run.error for run in runs) else 0


def _groups(text):
    names = tuple(text.split(","))
    unknown = set(names) - set(GROUPS)
    if unknown:
        raise argparse.ArgumentTypeError(f"must be some of {','.join(GROUPS)}. Received: {text}")
    return names


if __name__ == "__main__":
    sys.exit(main())
