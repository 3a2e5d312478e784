"""Runs scripts that were written for KerasTuner, on KerasTuner or on glimr_keras in its place; see
`tests/test_conformance.py`.

    python runner.py LIBRARY DIRECTORY SCRIPT [SCRIPT ...] [--options JSON] [--seconds LIMIT]
    [--cpus NUMBER]

All scripts run one after the other in this process, each as `__main__`, as a user's script does.
For each, one line of JSON goes to standard output as soon as it has ended: `{"script": …,
"seconds": …}` with `"findings"` or `"error"`. Everything else that is printed goes to standard
error. A script that takes longer than LIMIT seconds ends the process, with a traceback. With
NUMBER, one Ray with so many CPUs is started first, for all of them; its workers are forks of a
process that has imported Keras.
"""

import argparse
import contextlib
import faulthandler
import gc
import importlib
import importlib.abc
import importlib.util
import json
import os
import pathlib
import random
import sys
import time
import traceback
import types
import warnings

NAME = "keras_tuner"


class Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes `keras_tuner` and its submodules other names of a library and its submodules."""

    def __init__(self, library):
        self.library = library
        self.specs = {}

    def find_spec(self, fullname, path=None, target=None):
        if fullname != NAME and not fullname.startswith(NAME + "."):
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def create_module(self, spec):
        try:
            module = importlib.import_module(self.library + spec.name.removeprefix(NAME))
        except ModuleNotFoundError as error:
            message = f"No module named {spec.name!r}, since: {error}"
            raise ModuleNotFoundError(message, name=spec.name) from None
        self.specs[spec.name] = module.__spec__
        return module

    def exec_module(self, module):
        module.__spec__ = self.specs[
            module.__spec__.name
        ]  # which the import system has just replaced


def findings_of(script, directory, options):
    """Runs one script; returns what its `main` returns, as JSON gives it back."""
    module = types.ModuleType("__main__")
    module.__file__ = str(script)
    main = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        exec(compile(script.read_text(), str(script), "exec"), module.__dict__)
        return json.loads(
            json.dumps(module.main(str(directory), **options), default=lambda value: value.item())
        )
    finally:
        sys.modules["__main__"] = main


def clean_state():
    """What an earlier script drew, and Keras remembers, does not matter to the next."""
    import keras
    import numpy as np

    keras.backend.clear_session()
    random.seed(7)
    np.random.seed(7)
    keras.utils.set_random_seed(7)


def local_ray(cpus):
    """Have one Ray for all scripts; none where `cpus` is `None`."""
    from tests import warm_workers

    return contextlib.nullcontext() if cpus is None else warm_workers.local_ray(cpus)


def do_not_trace():
    """Have KerasTuner's models run step by step, since tracing takes most of its time; what it
    records of them is the same.
    """
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)


def freeze_imports():
    """Take what imports made out of garbage collection, which both libraries do after trials."""
    gc.collect()
    gc.freeze()


def parsed_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("scripts", nargs="+", type=pathlib.Path)
    parser.add_argument("--options", type=json.loads, default={})
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--cpus", type=int)
    return parser.parse_args()


def run(arguments):
    """Runs all scripts, and yields a line for each."""
    for script in arguments.scripts:
        start = time.monotonic()
        result = {"script": script.stem}
        directory = arguments.directory / script.stem
        directory.mkdir(parents=True)
        faulthandler.dump_traceback_later(arguments.seconds, exit=True)
        try:
            clean_state()
            result["findings"] = findings_of(script, directory, arguments.options)
        except Exception:
            result["error"] = traceback.format_exc()
        faulthandler.cancel_dump_traceback_later()
        result["seconds"] = round(time.monotonic() - start, 1)
        yield result


def main():
    arguments = parsed_arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    warnings.simplefilter("ignore")
    arguments.directory = arguments.directory.resolve()
    arguments.scripts = [script.resolve() for script in arguments.scripts]
    arguments.directory.mkdir(parents=True, exist_ok=True)
    os.chdir(arguments.directory)  # for what a script writes where it is
    output = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        importlib.import_module(arguments.library)
        if arguments.library == NAME:
            do_not_trace()
        else:
            sys.meta_path.insert(0, Alias(arguments.library))
        with local_ray(arguments.cpus):
            freeze_imports()
            for result in run(arguments):
                print(json.dumps(result), file=output, flush=True)


if __name__ == "__main__":
    main()
