"""What a search does with the GPUs of this machine.

    python examples/benchmarks/gpu.py
    python examples/benchmarks/gpu.py --executor inline --quick

It takes less than eight minutes on one GPU, on whichever backend `KERAS_BACKEND` names, and prints
a table: the GPUs that trials see, and what they take of one; trials a minute with 1, 2, 4 and 8
trials on a GPU, beside a bare loop and, where it is installed, KerasTuner; a trial that lacks
memory, and the one after it; mixed precision; a search that was killed and goes on. Without a GPU
it only shows that it works. `--json FILE` also writes the figures.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

SIZE, CLASSES, BATCH, EPOCHS = (32, 32, 3), 10, 256, 3
OBJECTIVE = "val_loss"
_MAX_SECONDS = 120


def data(samples):
    """Images that are made, for training and validation."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, *SIZE)).astype("float32")
    y = (x.mean(axis=(1, 2, 3)) * 300).astype("int32") % CLASSES
    cut = samples * 3 // 4
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def build(config):
    """A small convolutional network, of a dict of values or of hyperparameters."""
    import keras

    filters = config["filters"] if isinstance(config, dict) else config.Int("filters", 16, 64, 16)
    is_asked = not isinstance(config, dict)
    rate = config.Float("rate", 1e-4, 1e-2, sampling="log") if is_asked else config["rate"]
    model = keras.Sequential([keras.Input(SIZE)])
    for depth in (1, 2):
        model.add(keras.layers.Conv2D(depth * filters, 3, activation="relu", padding="same"))
        model.add(keras.layers.MaxPooling2D())
    model.add(keras.layers.GlobalAveragePooling2D())
    model.add(keras.layers.Dense(CLASSES))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


def fit_arguments(samples):
    train, validation = data(samples)
    return train, {"validation_data": validation, "batch_size": BATCH, "epochs": EPOCHS}


# Each part runs in a process of its own, and prints one line of JSON


def bare(options):
    train, how = fit_arguments(options.samples)
    began = None
    for number in range(options.trials + 1):
        if number == 1:  # the first one is for what a process does once
            began = time.monotonic()
        values = {"filters": (16, 32, 48, 64)[number % 4], "rate": 1e-3}
        build(values).fit(*train, verbose=0, **how)
    return {"trials a minute": 60 * options.trials / (time.monotonic() - began)}


def keras_tuner(options):
    import keras_tuner as kt

    train, how = fit_arguments(options.samples)
    ends = []

    class Timed(kt.RandomSearch):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            ends.append(time.monotonic())

    with tempfile.TemporaryDirectory() as directory:
        tuner = Timed(build, OBJECTIVE, options.trials + 1, directory=directory, seed=0)
        tuner.search(*train, verbose=0, **how)
    return {"trials a minute": rate_of(ends, 1)}


def rate_of(ends, first):
    """Trials a minute after the first ones, in which processes begin."""
    return 60 * (len(ends) - first) / (ends[-1] - ends[first - 1]) if len(ends) > first else None


def searched(options, hypermodel, trials, directory, tuner="RandomSearch", **settings):
    """A search of ours, and the times at which its trials ended."""
    import glimr_keras as gk

    train, how = fit_arguments(options.samples)
    ends = []

    class Timed(getattr(gk, tuner)):
        def on_trial_end(self, trial):
            super().on_trial_end(trial)
            ends.append(time.monotonic())

    made = Timed(
        hypermodel,
        OBJECTIVE,
        trials,
        directory=directory,
        project_name="project",
        executor=options.executor,
        seed=0,
        **settings,
    )
    made.search(*train, **how)
    return made, ends


def packed(options):
    import glimr_keras as gk

    class Tells(gk.HyperModel):
        def build(self, config):
            config.Fixed("visible", os.environ.get("CUDA_VISIBLE_DEVICES", "all"))
            return build(config)

    per_gpu = "auto" if options.per_gpu == 0 else options.per_gpu
    settings = {} if options.executor == "inline" else {"trials_per_gpu": per_gpu}
    first = max(options.per_gpu, 1)  # with which the processes begin
    with tempfile.TemporaryDirectory() as directory:
        tuner, ends = searched(options, Tells(), options.trials + first, directory, **settings)
        table = tuner.results_dataframe()
    memory = table["gpu_memory"].max() if "gpu_memory" in table else None
    return {
        "trials a minute": rate_of(ends, first),
        "GPUs seen": ", ".join(sorted(set(table["visible"].astype(str)))),
        "most memory, MiB": None if memory is None else round(int(memory) / 2**20),
        "statuses": sorted(set(table["status"])),
    }


def lacking(options):
    import keras

    def build_large(config):
        model = build(config)
        if config.Boolean("large"):
            # 12 TiB of weights in one layer
            wide = keras.layers.Dense(2**30)
            model = keras.Sequential([keras.Input(SIZE), keras.layers.Flatten(), wide])
            model.compile("sgd", "mse")
        return model

    with tempfile.TemporaryDirectory() as directory:
        tuner, _ = searched(options, build_large, 6, directory, max_concurrent_trials=1)
        trials = tuner._glimr.read().trials.values()
        large = [trial for trial in trials if trial.values.get("large")]
        small = [trial for trial in trials if not trial.values.get("large")]
        return {
            "large": sorted({trial.status for trial in large}),
            "told what helps": all("Out of memory" in (trial.message or "") for trial in large),
            "small": sorted({trial.status for trial in small}),
        }


def mixed(options):
    import glimr_keras as gk
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")

    class Tells(gk.HyperModel):
        def build(self, config):
            model = build(config)
            config.Fixed("computed in", model.layers[0].compute_dtype)
            return model

    with tempfile.TemporaryDirectory() as directory:
        tuner, _ = searched(options, Tells(), 2, directory)
        table = tuner.results_dataframe()
    return {
        "computed in": sorted(set(table["computed in"])),
        "statuses": sorted(set(table["status"])),
    }


def resumed(options):
    """The search that is killed, and then goes on."""
    tuner, _ = searched(options, build, options.trials, options.directory)
    table = tuner.results_dataframe()
    return {"trials": len(table), "statuses": sorted(set(table["status"]))}


PARTS = {
    function.__name__: function for function in (bare, keras_tuner, packed, lacking, mixed, resumed)
}


def run(options, part, **more):
    """Runs a part in a process of its own, and returns what it found or its last words."""
    command = [sys.executable, __file__, "--part", part, "--executor", options.executor]
    command += ["--trials", str(options.trials), "--samples", str(options.samples)]
    command += [text for name, value in more.items() for text in (f"--{name}", str(value))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_MAX_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not over after {_MAX_SECONDS} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode == 0 and lines:
        return json.loads(lines[-1])
    return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}


def killed(options):
    """Kills a search when a third of its trials have ended, and has it go on."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, __file__, "--part", "resumed", "--executor", options.executor]
        command += ["--trials", str(options.trials), "--samples", str(options.samples)]
        command += ["--directory", directory]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, start_new_session=True, **quiet) as script:
            journal = pathlib.Path(directory) / "project/.glimr_keras/journal.jsonl"
            until = time.monotonic() + 120
            while time.monotonic() < until and script.poll() is None:
                time.sleep(0.2)
                ended = journal.read_text().count('"record": "end"') if journal.exists() else 0
                if ended >= max(options.trials // 3, 1):
                    break
            if script.poll() is None:
                os.killpg(script.pid, signal.SIGKILL)
        return {"ended before": ended, **run(options, "resumed", directory=directory)}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--executor", choices=("ray", "inline"), default="ray")
    parser.add_argument("--trials", type=int, default=24, metavar="N")
    parser.add_argument("--samples", type=int, default=20_000, metavar="N")
    parser.add_argument("--quick", action="store_true", help="a few small trials")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE")
    for hidden, kind in (("--part", str), ("--per_gpu", int), ("--directory", str)):
        parser.add_argument(hidden, type=kind, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part is not None:
        print(json.dumps(PARTS[options.part](options)), flush=True)
        return
    if options.quick:
        options.trials, options.samples = 3, 400
    counts = (1,) if options.executor == "inline" else (1, 2, 4, 8, 0)
    found = {"bare loop": run(options, "bare"), "KerasTuner": run(options, "keras_tuner")}
    for count in counts:
        name = f"trials_per_gpu={count or 'auto'}" if options.executor == "ray" else "inline"
        found[name] = run(options, "packed", per_gpu=count)
    found["lacks memory"] = run(options, "lacking")
    found["mixed_bfloat16"] = run(options, "mixed")
    found["killed"] = killed(options)
    show(found)
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


def show(found):
    """Prints the table; rates also as ratios of the bare loop's."""
    import rich.console
    import rich.table

    base = found["bare loop"].get("trials a minute")
    table = rich.table.Table("", "trials a minute", "of the bare loop", "what else was seen")
    for name, seen in found.items():
        others = dict(seen)
        rate = others.pop("trials a minute", None)
        ratio = "" if rate is None or base is None else f"{rate / base:.2f}"
        what = "; ".join(f"{key}: {value}" for key, value in others.items() if value is not None)
        table.add_row(name, "" if rate is None else f"{rate:.1f}", ratio, what)
    rich.console.Console(width=140).print(table)


if __name__ == "__main__":
    main()
