"""Trials in Ray workers: warm and reused, side by side, lost, stopped early; and a Ray that starts
and ends by itself.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import keras
import numpy as np
import pandas as pd
import pytest
import ray
from ray import tune

import glimr_keras as gk
from glimr_keras.project import checkpoints
from tests import tiny_models
from tests.script_environment import script_environment

FIT = {"validation_data": tiny_models.VALIDATION, "epochs": 2, "verbose": 0}
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")


def on_ray(project, hypermodel=tiny_models.build, max_trials=4, **kwargs):
    return gk.RayTuner(
        hypermodel, objective="val_loss", max_trials=max_trials, seed=0, **project, **kwargs
    )


def build_and_tell(config):
    """Records as hyperparameters what the process is like."""
    import tensorflow as tf

    config.Fixed("process", os.getpid())
    config.Fixed("threads", tf.config.threading.get_intra_op_parallelism_threads())
    config.Fixed("layer_name", keras.layers.Dense(1).name)
    config.Fixed("precision", keras.config.dtype_policy().name)
    return tiny_models.build(config)


def test_trials_share_warm_workers_with_a_thread_a_cpu_and_a_fresh_session_each(local_ray, project):
    def sometimes_broken(config):
        model = build_and_tell(config)
        if config["units"] < 9:
            raise RuntimeError("few units")
        return model

    tuner = on_ray(project, sometimes_broken, max_trials=8, max_consecutive_failed_trials=8)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        tuner.search(*tiny_models.TRAIN, **FIT)
    finally:
        keras.config.set_dtype_policy("float32")
    table = tuner.results_dataframe()
    assert set(table["status"]) == {"COMPLETED", "FAILED"}
    assert os.getpid() not in set(table["process"])
    assert table["process"].nunique() <= 2  # also after a failed trial
    assert set(table["threads"]) == {1}
    assert set(table["layer_name"]) == {"dense"}
    assert set(table["precision"]) == {"mixed_bfloat16"}


def test_a_trial_with_two_cpus_has_two_threads_also_if_it_gets_tensors(local_ray, project):
    import tensorflow as tf

    tuner = on_ray(project, build_and_tell, max_trials=1, resources_per_trial={"cpu": 2})
    tuner.search(*map(tf.constant, tiny_models.TRAIN), **FIT)
    assert set(tuner.results_dataframe()["threads"]) == {2}


def test_the_best_model_of_a_parallel_search_reproduces_its_score(local_ray, project):
    tuner = on_ray(project, tiny_models.WithData(), executions_per_trial=2, max_trials=2)
    tuner.search(epochs=2, verbose=0)
    executions = [
        e.score for trial in tuner._glimr.read().trials.values() for e in trial.executions.values()
    ]
    assert len(executions) == 4
    loss = tuner.get_best_models()[0].evaluate(
        *tiny_models.VALIDATION, verbose=0, return_dict=True
    )["loss"]
    assert min(abs(loss - score) for score in executions) < 1e-6


def test_ray_and_inline_trials_find_the_same_scores(local_ray, project, tmp_path):
    tuner = on_ray(project, max_trials=2)
    tuner.search(*tiny_models.TRAIN, **FIT)
    inline = on_ray(
        {"directory": tmp_path, "project_name": "inline"}, max_trials=2, executor="inline"
    )
    inline.search(*tiny_models.TRAIN, **FIT)
    scores = [list(t.results_dataframe().sort_values("trial_id")["score"]) for t in (tuner, inline)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)


def deadly(config):
    """Kills its process in some configurations."""
    if config.Int("units", 2, 16) > 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return tiny_models.build(config)


def test_a_killed_worker_fails_its_trial_only(local_ray, project, capfd):
    tuner = on_ray(project, deadly, max_trials=5, max_consecutive_failed_trials=5, max_failures=0)
    tuner.search(*tiny_models.TRAIN, **FIT)
    table = tuner.results_dataframe()
    assert ((table["units"] > 8) == (table["status"] == "FAILED")).all()
    assert set(table["status"]) == {"COMPLETED", "FAILED"}
    failed = table[table["status"] == "FAILED"]["trial_id"].iloc[0]
    assert "The worker was lost" in tuner._glimr.read().trials[failed].message
    assert "".join(capfd.readouterr()) == ""


class Hanging(gk.HyperModel):
    """Sleeps in its second epoch with 4 units, and before its first with 8, in one call that ends
    by no exception.
    """

    def build(self, config):
        self.units = config.Choice("units", [2, 4, 8])
        return tiny_models.compiled(
            keras.Sequential(
                [keras.Input((6,)), keras.layers.Dense(self.units), keras.layers.Dense(2)]
            )
        )

    def fit(self, config, model, *args, callbacks, epochs, initial_epoch=0, **kwargs):
        is_trial = tiny_models.is_trial(callbacks)

        def logs(epoch):
            if is_trial and (config["units"], epoch) in ((4, 1), (8, 0)):
                time.sleep(60)
            return {"val_loss": config["units"] + epoch}

        tiny_models.train_by_hand(model, callbacks, epochs, logs, initial_epoch, 0.1)


@pytest.mark.slow
def test_a_training_that_hangs_loses_its_process_and_its_trial_has_the_epochs_before(
    local_ray, project
):
    tuner = gk.GridSearch(Hanging(), "val_loss", trial_time_limit_s=5, **project)
    tuner.search(*tiny_models.TRAIN, **{**FIT, "epochs": 3})
    table = tuner.results_dataframe().sort_values("units")
    assert table["status"].tolist() == ["COMPLETED", "STOPPED", "FAILED"]
    assert table["score"].tolist()[:2] == [2.0, 4.0]
    failed = tuner._glimr.read().trials[table["trial_id"].iloc[2]]
    assert (
        "No epoch was over within `trial_time_limit_s=5`; its process was ended" in failed.message
    )
    assert failed.executions[0].lost == 0


class Deadly(gk.HyperModel):
    """Kills its process: in `build`, when `fit` is called, or after an epoch of it."""

    def __init__(self, where):
        self.where = where

    def build(self, config):
        if self.where == "build":
            os.kill(os.getpid(), signal.SIGKILL)
        return tiny_models.build(config)

    def fit(self, config, model, *args, epochs, **kwargs):
        if self.where == "fit":
            os.kill(os.getpid(), signal.SIGKILL)
        history = model.fit(*args, epochs=epochs, **kwargs)
        if history.history["loss"]:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "stage"), [("build", "`data` and `build`"), ("fit", "`fit`")], ids=["build", "fit"]
)
def test_code_that_kills_every_process_is_reported_before_any_trial(
    local_ray, project, where, stage
):
    with pytest.raises(
        gk.errors.ModelError, match=rf"The worker process died while it ran {stage} \("
    ):
        on_ray(project, Deadly(where)).search(*tiny_models.TRAIN, **FIT)


def test_a_process_that_is_killed_in_fit_is_said_to_be(local_ray, project, capsys):
    tuner = on_ray(project, Deadly("epoch"), 2, max_concurrent_trials=2, max_failures=0)
    tuner.search(*tiny_models.TRAIN, **{**FIT, "verbose": 1})
    assert list(tuner.results_dataframe()["status"]) == ["FAILED"] * 2
    assert "The worker was lost in `fit`, after epoch 1:" in capsys.readouterr().out


def test_a_fatal_error_of_the_user_comes_out_of_search_as_itself(local_ray, project):
    class Refuses(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            raise gk.errors.FatalValueError("wrong data for all trials")

    with pytest.raises(gk.errors.FatalValueError, match="wrong data for all trials"):
        on_ray(project, Refuses()).search(*tiny_models.TRAIN, **FIT)


def test_failures_in_a_row_stop_a_parallel_search_without_ray_in_the_message(local_ray, project):
    def broken(config):
        if config.Int("units", 2, 16) > 2:
            raise RuntimeError("the user's own mistake")
        return tiny_models.build(config)

    tuner = on_ray(project, broken, max_trials=50)
    with pytest.raises(gk.errors.SearchError, match="the user's own mistake") as stopped:
        tuner.search(*tiny_models.TRAIN, **FIT)
    assert "/ray/" not in str(stopped.value)
    assert len(tuner.results_dataframe()) < 10


class Counted(gk.HyperModel):
    """Scores by the number of units alone, epoch by epoch, so a scheduler's choice is known."""

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, **kwargs):
        tiny_models.train_by_hand(
            model,
            callbacks,
            epochs,
            lambda epoch: {"val_loss": config["units"] + 1.0 / (epoch + 1)},
        )


def test_a_scheduler_stops_trials_which_keep_their_score_and_rank_behind(local_ray, project):
    scheduler = tune.schedulers.ASHAScheduler(max_t=9, grace_period=1, reduction_factor=2)
    tuner = on_ray(project, Counted(), max_trials=8, scheduler=scheduler)
    tuner.search(*tiny_models.TRAIN, epochs=9, verbose=0)
    table = tuner.results_dataframe()
    assert set(table["status"]) == {"COMPLETED", "STOPPED"}
    assert table["score"].notna().all()
    assert (table[table["status"] == "STOPPED"]["epochs"] < 9).all()
    assert (table[table["status"] == "COMPLETED"]["epochs"] == 9).all()
    best = tuner.get_best_hyperparameters(1)[0]
    assert best["units"] == table[table["status"] == "COMPLETED"]["units"].min()


class Listens(tune.Callback):
    """A Ray Tune callback of a user."""

    def __init__(self):
        self.scores, self.started, self.completed = [], 0, []

    def on_trial_start(self, iteration, trials, trial, **info):
        self.started += 1

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.scores.append(result["val_loss"])

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.completed.append(trial.last_result["val_loss"])


def test_ray_callbacks_of_the_user_hear_every_epoch(local_ray, project):
    listens = Listens()
    on_ray(project, max_trials=2, callbacks=[listens]).search(*tiny_models.TRAIN, **FIT)
    assert len(listens.scores) == 4
    assert listens.started == 2  # and nothing of what makes the workers ready
    assert set(listens.completed) < set(listens.scores)


def test_a_ray_that_the_user_started_is_left_running(local_ray, project):
    on_ray(project, max_trials=1).search(*tiny_models.TRAIN, **FIT)
    assert ray.is_initialized()


def test_relative_paths_mean_what_they_mean_in_the_script(local_ray, project, tmp_path):
    here = pathlib.Path.cwd()  # of the workers too, which this Ray started here
    name = f"{tmp_path.name}.csv"
    try:
        tuner = on_ray(project, max_trials=1)
        tuner.search(*tiny_models.TRAIN, **FIT, callbacks=[keras.callbacks.CSVLogger(name)])
        assert len((here / name).read_text().splitlines()) == 3
    finally:
        (here / name).unlink(missing_ok=True)
        (here / f".{name}.json").unlink(missing_ok=True)  # which says whose it is
        for own in here.glob(f"trial_*/{name}"):  # that of each trial
            own.unlink()
            own.parent.rmdir()


class Unsendable(gk.errors.FatalError):
    """Has what cannot be pickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")
        self.lock = threading.Lock()


def test_a_fatal_error_that_cannot_be_sent_keeps_its_message(local_ray, project):
    class Refuses(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, **kwargs):
            raise Unsendable("one", "two")

    with pytest.raises(gk.errors.FatalError, match="Unsendable: one and two"):
        on_ray(project, Refuses()).search(*tiny_models.TRAIN, **FIT)


def test_a_module_that_a_worker_does_not_have_is_named(local_ray, project, tmp_path, monkeypatch):
    (tmp_path / "gone.py").write_text("def build(config):\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import gone

    (tmp_path / "gone.py").unlink()
    with pytest.raises(
        gk.errors.ShippingError,
        match="cannot be loaded there: ModuleNotFoundError: No module named 'gone'",
    ):
        on_ray(project, gone.build).search(*tiny_models.TRAIN, **FIT)


def test_two_runs_of_a_script_that_seeds_python_are_one_search(local_ray, tmp_path):
    class Runs(gk.HyperModel):
        def run(self, config):
            return config.Float("x", 0.0, 1.0) + np.random.rand()

    before, tables = random.getstate(), []
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        keras.utils.set_random_seed(seed)
        place = {"directory": tmp_path, "project_name": name}
        tuner = gk.RandomSearch(
            Runs(), gk.Objective("x", "min"), 4, max_concurrent_trials=2, **place
        )
        tuner.search(verbose=0)
        tables.append(tuner.results_dataframe().sort_values("trial_id")[["x", "score"]])
    random.setstate(before)
    assert tables[0].values.tolist() == tables[1].values.tolist()
    assert tables[0].values.tolist() != tables[2].values.tolist()


def test_max_concurrent_trials_is_kept(local_ray, project):
    tuner = on_ray(project, build_and_tell, max_trials=3, max_concurrent_trials=1)
    tuner.search(*tiny_models.TRAIN, **FIT)
    assert tuner.results_dataframe()["process"].nunique() == 1


def test_the_model_is_built_before_the_first_trial_in_a_process_that_then_runs_trials(
    local_ray, project, tmp_path
):
    def build_and_tell_who(config):
        with (tmp_path / "built").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return build_and_tell(config)

    tuner = on_ray(project, build_and_tell_who, max_trials=4)
    tuner.search(*tiny_models.TRAIN, **FIT)
    built = [int(pid) for pid in (tmp_path / "built").read_text().split()]
    before, in_trials = built[:-4], built[-4:]
    assert len(before) > 1  # with other values too, to see what they change
    assert len(set(before)) == 1
    assert set(before) <= set(in_trials)
    assert set(in_trials) == set(tuner.results_dataframe()["process"])


@pytest.mark.slow
def test_a_worker_that_has_become_too_large_is_replaced_and_no_trial_is_lost(local_ray, project):
    tuner = on_ray(
        project, build_and_tell, max_trials=3, max_concurrent_trials=1, max_worker_memory=2**20
    )
    tuner.search(*tiny_models.TRAIN, **FIT)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 3
    assert table["process"].nunique() == 3
    again = on_ray(
        {**project, "project_name": "large"},
        build_and_tell,
        max_trials=3,
        max_concurrent_trials=1,
        max_worker_memory=2**40,
    )
    again.search(*tiny_models.TRAIN, **FIT)
    assert again.results_dataframe()["process"].nunique() == 1


def test_pipelines_given_to_search_run_in_the_workers(local_ray, project):
    import tensorflow as tf

    def augmented(x, y):
        return x + tf.random.normal(tf.shape(x), stddev=1e-6), y

    train, validation = (
        tf.data.Dataset.from_tensor_slices(part)
        for part in (tiny_models.TRAIN, tiny_models.VALIDATION)
    )
    train, validation = (
        train.shuffle(64, seed=1).batch(8).map(augmented).prefetch(2),
        validation.batch(8),
    )
    tuner = on_ray(project, tiny_models.build_subclassed, max_trials=2)
    tuner.search(train, validation_data=validation, epochs=2, verbose=0)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 2
    loss = tuner.get_best_models()[0].evaluate(validation, verbose=0, return_dict=True)["loss"]
    assert loss == pytest.approx(table["score"].min(), abs=1e-6)


class Batches(keras.utils.PyDataset):
    """Batches with weights."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        rows = slice(8 * index, 8 * index + 8)
        return tiny_models.TRAIN[0][rows], tiny_models.TRAIN[1][rows], np.ones(8)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((Batches(),), {}),
        ((pd.DataFrame(tiny_models.TRAIN[0]), pd.Series(tiny_models.TRAIN[1])), {}),
        (tiny_models.TRAIN, {"sample_weight": np.ones(64)}),
        (tiny_models.TRAIN, {"class_weight": {0: 1.0, 1: 2.0}}),
        (tiny_models.TRAIN, {"validation_data": Batches()}),
        (tiny_models.TRAIN, {"validation_data": tuple(map(pd.DataFrame, tiny_models.VALIDATION))}),
        (tiny_models.TRAIN, {"validation_data": (*tiny_models.VALIDATION, np.ones(32))}),
    ],
    ids=[
        "PyDataset",
        "pandas",
        "weights",
        "class weights",
        "PyDataset to validate",
        "pandas to validate",
        "weights to validate",
    ],
)
def test_data_of_every_kind_reaches_the_workers(local_ray, project, arguments, options):
    tuner = on_ray(project, max_trials=1)
    tuner.search(*arguments, **{**FIT, **options})
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED"]


class Large(gk.HyperModel):
    """Is given more than a megabyte, and holds some itself; tells whether they are where TensorFlow
    reads them.
    """

    def __init__(self):
        self.own = np.ones((2**18, 1), "float32")

    def build(self, config):
        self.config = config
        model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    def fit(self, config, model, x, y, **kwargs):
        import tensorflow as tf

        for name, array in (("given", x), ("own", self.own)):
            address = np.asarray(tf.convert_to_tensor(array)).ctypes.data
            config.Fixed(f"{name}_in_place", bool(address == array.ctypes.data))
            config.Fixed(f"{name}_writeable", bool(array.flags.writeable))
        return model.fit(x, y, batch_size=2**15, **kwargs)


def test_large_arrays_are_shared_and_not_copied_by_keras(local_ray, project):
    x, y = np.ones((2**17, 8), "float32"), np.ones(2**17, "float32")
    tuner = on_ray(project, Large(), max_trials=1)
    tuner.search(x, y, validation_data=(x, y), epochs=1, verbose=0)
    values = tuner._glimr.read().trials["0"].values
    assert values == {
        "given_in_place": True,
        "given_writeable": False,
        "own_in_place": True,
        "own_writeable": False,
    }


def test_a_run_of_the_users_own_on_ray(local_ray, project):
    class Runs(gk.HyperModel):
        def run(self, config):
            return config.Float("x", 0.0, 1.0)

    tuner = gk.RayTuner(Runs(), gk.Objective("x", "min"), max_trials=20, seed=0, **project)
    tuner.search(verbose=0)
    table = tuner.results_dataframe()
    assert list(table["score"]) == list(table["x"])
    assert len(table) == 20


def test_a_stop_that_comes_while_training_goes_on_ends_the_trial(local_ray, project):
    """Epochs much shorter than Ray's answer: the trial hears of it later, and what it did meanwhile
    does not count.
    """
    scheduler = tune.schedulers.ASHAScheduler(max_t=50, grace_period=1, reduction_factor=4)
    tuner = on_ray(project, Counted(), max_trials=12, scheduler=scheduler)
    tuner.search(*tiny_models.TRAIN, epochs=50, verbose=0)
    for trial in tuner._glimr.read().trials.values():
        (execution,) = trial.executions.values()
        assert execution.best_epoch == len(execution.history)
        assert list(execution.history) == list(range(1, len(execution.history) + 1))
        checkpoint = (
            pathlib.Path(tuner.project_dir) / f"trial_{trial.trial_id}" / checkpoints.DESCRIPTION
        )
        assert json.loads(checkpoint.read_text())["epoch"] == execution.best_epoch
    assert "STOPPED" in set(tuner.results_dataframe()["status"])


def script(tmp_path, text, ray_files=None):
    """Writes a user's script, which may import the tests' models."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text))
    return [sys.executable, str(path)], script_environment(ray_files)


@pytest.mark.slow
def test_a_script_prints_its_lines_and_nothing_else_and_leaves_no_process(tmp_path):
    command, environment = script(
        tmp_path,
        f"""
        import glimr_keras as gk
        import ray
        from tests import tiny_models

        place = dict(directory={str(tmp_path)!r}, project_name="p", executor="ray")
        tuner = gk.RayTuner(tiny_models.build, "val_loss", 2, **place)
        tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1)
        print(ray._private.worker.global_worker.node.get_session_dir_path())
        """,
    )
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"Search of 2 trials in {tmp_path / 'p'} began at ")
    assert lines[1].endswith("with 1 CPU.")
    assert "2/2 trials, best val_loss" in lines[2]
    assert len(lines) == 4
    assert done.stderr == ""
    remaining = subprocess.run(
        ["pgrep", "-f", lines[3]], capture_output=True, text=True, check=False
    )
    assert remaining.stdout == ""


@pytest.mark.slow
def test_a_cluster_that_is_named_is_joined_and_left_running(tmp_path, ray_files):
    command, environment = script(
        tmp_path,
        f"""
        import ray
        from ray.cluster_utils import Cluster
        import glimr_keras as gk
        from tests import tiny_models

        cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1}})
        cluster.add_node(num_cpus=1)
        place = dict(directory={str(tmp_path)!r}, address=cluster.address)
        tuner = gk.RayTuner(tiny_models.build, "val_loss", 2, **place)
        validation = tiny_models.VALIDATION
        tuner.search(*tiny_models.TRAIN, validation_data=validation, epochs=1, verbose=0)
        assert ray.get_runtime_context().gcs_address == cluster.address
        assert set(tuner.results_dataframe()["status"]) == {{"COMPLETED"}}
        ray.shutdown()
        ray.init(address=cluster.address, log_to_driver=False)
        print("nodes left:", len(ray.nodes()))
        ray.shutdown()
        cluster.shutdown()
        """,
        ray_files,
    )
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert "nodes left: 2" in done.stdout, done.stderr


@pytest.mark.slow
def test_ctrl_c_stops_the_search_which_then_can_be_continued(tmp_path, capsys):
    command, environment = script(
        tmp_path,
        f"""
        import glimr_keras as gk
        from tests import tiny_models

        place = dict(directory={str(tmp_path)!r}, project_name="p", executor="ray")
        tuner = gk.RayTuner(tiny_models.build, "val_loss", 4, seed=0, **place)
        validation = tiny_models.VALIDATION
        tuner.search(*tiny_models.TRAIN, validation_data=validation, epochs=100_000, verbose=0)
        """,
    )
    journal = tmp_path / "p" / ".glimr_keras" / "journal.jsonl"
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        while not (journal.exists() and '"record": "epoch"' in journal.read_text()):
            assert process.poll() is None
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0
    place = {"directory": tmp_path, "project_name": "p", "executor": "inline"}
    tuner = gk.RayTuner(tiny_models.build, "val_loss", 4, seed=0, **place)
    assert capsys.readouterr().out == f"Reloading Tuner from {tmp_path / 'p' / 'tuner0.json'}\n"
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, epochs=1, verbose=0)
    assert tuner.results_dataframe()["status"].tolist() == ["COMPLETED"] * 4
