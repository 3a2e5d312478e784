"""Runs one contender on one workload: `python -m contenders glimr_keras a 100`. The harness does
this.
"""

import argparse
import importlib

import workloads


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("workload")
    parser.add_argument("trials", type=int)
    parser.add_argument(
        "--concurrent",
        type=int,
        help="at most so many trials at once, where the contender can say so",
    )
    arguments = parser.parse_args()
    options = {} if arguments.concurrent is None else {"concurrent": arguments.concurrent}
    module = importlib.import_module(f"contenders.{arguments.contender}")
    module.run(workloads.workload(arguments.workload), arguments.trials, **options)


if __name__ == "__main__":
    main()
