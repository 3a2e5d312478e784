"""Tables over configurations, folds and epochs."""

import os
import pathlib
import platform

import numpy as np
import pandas as pd
import pytest

import glimr_keras as gk
from glimr_keras.errors import ProjectError
from tests import tiny_models


class Folded(gk.HyperModel):
    """Scores by units, fold and epoch alone; the last fold of a configuration with 6 units and more
    fails.
    """

    def build(self, config):
        return tiny_models.build(config)

    def fit(self, config, model, *args, callbacks, epochs, **kwargs):
        if config["units"] >= 14 and config.fold == 2:
            raise gk.FailedTrialError("too large")

        def logs(epoch):
            return {"quality": config["units"] + config.fold - abs(epoch - 1)}

        tiny_models.train_by_hand(model, callbacks, epochs, logs)


pytestmark = pytest.mark.xdist_group("tables")  # one search for all of them


@pytest.fixture(scope="module")
def tuner(tmp_path_factory):
    points = [{"units": units} for units in (4, 8, 12, 15)]
    objective = gk.Objective("quality", "max")
    tuner = gk.RayTuner(
        Folded(),
        objective,
        max_trials=4,
        cv_folds=3,
        initial_points=points,
        directory=tmp_path_factory.mktemp("tables"),
        executor="inline",
    )
    tuner.search(*tiny_models.TRAIN, epochs=3, verbose=0)
    return tuner


@pytest.fixture(scope="module")
def table(tuner):
    return gk.experiment_table(tuner)


def test_one_row_an_epoch(tuner, table):
    completed = table[table["status"] == "COMPLETED"]
    assert len(completed) == 3 * 3 * 3 + 2 * 3
    assert list(table.columns[:6]) == [
        "config_enum",
        "trial_id",
        "execution",
        "status",
        "training_iteration",
        "cv_index",
    ]
    assert list(completed["training_iteration"][:4]) == [1, 2, 3, 1]
    assert set(completed["cv_index"]) == {0, 1, 2}
    assert (
        completed["quality"]
        == completed["config/units"]
        + completed["cv_index"]
        - (completed["training_iteration"] - 2).abs()
    ).all()
    assert list(table.columns[-3:]) == ["config/units", "config/learning_rate", "checkpoint_path"]
    assert gk.experiment_table(tuner.project_dir).equals(table)


def test_the_checkpointed_epoch_is_the_best(tuner, table):
    checkpoints = gk.default_checkpoints(table)
    assert (checkpoints["training_iteration"] == 2).all()
    assert len(checkpoints) == 3 * 3 + 2
    assert all(
        (pathlib.Path(tuner.project_dir) / path / "checkpoint.weights.h5").exists()
        for path in checkpoints["checkpoint_path"]
    )
    assert gk.experiment_table(tuner, checkpointed=True).equals(checkpoints)


def test_the_best_trainings_have_one_row_each(table):
    best = gk.top_k_trials(table, "quality", k=3)
    assert list(best["quality"]) == [16, 15, 14]
    assert (best["training_iteration"] == 2).all()
    worst = gk.top_k_trials(table, "quality", mode="min", k=None, fold=1)
    assert list(worst["quality"]) == [4, 8, 12, 15]
    assert (worst["training_iteration"] == 1).all()
    few = gk.top_k_trials(table, "quality", config_filter=lambda config: config["units"] < 10)
    assert set(few["config/units"]) == {4, 8}


def test_a_filter_sees_nested_configurations_without_what_they_lack():
    seen = []
    rows = {"status": "COMPLETED", "config_enum": [0, 1], "execution": 0, "quality": [1.0, 2.0]}
    values = {"config/a/b": [1, 2], "config/a/c": pd.array([3, None], "Int64")}
    gk.top_k_trials(pd.DataFrame(rows | values), "quality", config_filter=seen.append)
    assert seen == [{"a": {"b": 1, "c": 3}}, {"a": {"b": 2}}]


def test_configurations_are_compared_over_their_folds(table):
    compared = gk.config_table(table, "quality")
    assert list(compared["config_enum"]) == [2, 1, 0, 3]  # the last lacks a fold
    first = compared.iloc[0]
    assert [first[f"fold{fold}_quality"] for fold in range(3)] == [12, 13, 14]
    assert (first["rank_quality"], first["mean_quality"], first["std_quality"]) == (
        1,
        13,
        pytest.approx(np.std([12, 13, 14])),
    )
    assert np.isnan(compared.iloc[3]["fold2_quality"])
    assert "max_quality" in gk.config_table(table, "quality", statistic=max)


def test_the_rows_of_the_best_configurations(table):
    best = gk.top_k_configs(table, "quality", k=2)
    assert list(best["config_enum"]) == [2, 2, 2, 1, 1, 1]
    assert list(best["cv_index"]) == [0, 1, 2] * 2
    assert list(best["mean_quality"]) == [13] * 3 + [9] * 3
    assert list(best["median_quality"]) == [13] * 3 + [9] * 3
    assert set(table.columns) <= set(best.columns)


def test_equal_configurations_share_their_rank(table):
    same = table.assign(quality=1.0)
    assert list(gk.config_table(same[same["config_enum"] < 3], "quality")["rank_quality"]) == [
        1,
        1,
        1,
    ]


def test_a_stopped_configuration_ranks_below_completed_ones(table):
    stopped = table.assign(status=np.where(table["config_enum"] == 2, "STOPPED", table["status"]))
    assert list(gk.config_table(stopped, "quality")["config_enum"]) == [1, 0, 2, 3]


def test_a_failed_training_is_never_the_best(table):
    failed = table.assign(status=table["status"].where(table["trial_id"] != "3", "FAILED"))
    assert "3" not in set(gk.top_k_trials(failed, "quality", k=None)["trial_id"])
    assert set(gk.top_k_trials(table, "quality", k=1)["trial_id"]) == {"3"}


def test_a_row_without_weights_has_none(table):
    paths = table["checkpoint_path"]
    assert {type(path) for path in paths} == {str, type(None)}


def test_what_is_given_is_not_changed(table):
    before = table.copy()
    for function in (gk.top_k_trials, gk.top_k_configs, gk.config_table):
        function(table, "quality")
    gk.default_checkpoints(table)
    pd.testing.assert_frame_equal(table, before)


def test_results_have_a_column_for_each_fold(tuner):
    results = tuner.results_dataframe()
    assert list(results.columns[:7]) == [
        "trial_id",
        "status",
        "score",
        "std_score",
        "fold0_score",
        "fold1_score",
        "fold2_score",
    ]
    assert list(results.loc[0, ["score", "fold0_score", "fold1_score", "fold2_score"]]) == [
        13,
        12,
        13,
        14,
    ]
    assert results["score"].isna().tolist() == [False, False, False, True]


def test_results_are_in_order_and_say_when_and_where_they_were_made(tuner):
    results = tuner.results_dataframe()
    assert list(results["trial_id"]) == ["2", "1", "0", "3"]
    assert list(results.columns[-3:]) == ["started", "ended", "worker"]
    assert str(results["started"].dtype) == "datetime64[ns, UTC]"
    assert (results["started"] < results["ended"]).all()
    ended = results.sort_values("trial_id")["ended"]
    assert ended.is_monotonic_increasing
    assert pd.Timestamp.now("UTC") - ended.iloc[-1] < pd.Timedelta(hours=1)
    assert set(results["worker"]) == {f"{platform.node()}:{os.getpid()}"}


def test_without_folds(project):
    tuner = gk.RayTuner(
        tiny_models.build, "val_loss", 2, executions_per_trial=2, executor="inline", **project
    )
    tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)
    table = gk.experiment_table(tuner)
    assert "cv_index" not in table
    assert "execution1_val_loss" in gk.config_table(table, "val_loss", "min")
    with pytest.raises(
        ValueError, match=r"`fold` must be one of the folds. .*the project has no cross validation"
    ):
        gk.top_k_trials(table, "val_loss", fold=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"metric": "qualty"},
            "There is no metric 'qualty' in the table. Did you mean 'quality'. It has: quality",
        ),
        ({"metric": "status"}, "There is no metric 'status'"),
        ({"mode": "up"}, "`mode` must be 'max' or 'min'. Received: mode='up'"),
        ({"k": 0}, "`k` must be a positive integer or None. Received: k=0"),
        ({"fold": 3}, r"`fold` must be one of the folds. Received: fold=3; there are \[0, 1, 2\]"),
    ],
)
def test_bad_arguments_are_named(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        gk.top_k_trials(table, **{"metric": "quality", **arguments})


def test_no_project(tmp_path):
    with pytest.raises(ProjectError, match="There is no glimr_keras project"):
        gk.experiment_table(tmp_path)
