"""Hyperparameters in TensorBoard, as its own tab reads them, on each backend."""

import pathlib
import subprocess
import sys

import keras
import pytest

import glimr_keras as gk
from tests import tiny_models
from tests.script_environment import script_environment

pytest.importorskip("tensorboard")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard.*")


def search(directory):
    """Search two trials of two executions; returns the configurations, by trial."""
    tuner = gk.RandomSearch(
        tiny_models.build,
        "val_loss",
        2,
        executions_per_trial=2,
        directory=directory,
        project_name="digits",
        executor="inline",
    )
    tuner.search(
        *tiny_models.TRAIN,
        validation_data=tiny_models.VALIDATION,
        callbacks=[keras.callbacks.TensorBoard(directory / "logs")],
        verbose=0,
    )
    return {trial.trial_id: trial.values for trial in tuner.oracle.trials.values()}


def shown(logs):
    """What TensorBoard's tab of hyperparameters shows of a directory."""
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.context import RequestContext
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(logs))
    events.Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(logs))
    context = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    request, here = api_pb2.ListSessionGroupsRequest(slice_size=9), RequestContext()
    experiment = context.experiment_from_metadata(
        here, "", True, context.hparams_metadata(here, ""), []
    )
    request.allowed_statuses.extend(
        [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING]
    )
    for info in experiment.metric_infos:
        request.col_params.add(metric=info.name)
    for info in experiment.hparam_infos:
        request.col_params.add(hparam=info.name)
    return list_session_groups.Handler(here, context, "", request).run().session_groups


def check(directory, configurations):
    """Raises an error if the tab does not show a group of two sessions for each configuration."""
    from tensorboard.plugins.hparams import api_pb2

    groups = {group.name: group for group in shown(pathlib.Path(directory) / "logs")}
    assert groups.keys() == configurations.keys()
    for trial_id, group in groups.items():
        values = {name: value.number_value for name, value in group.hparams.items()}
        assert values == pytest.approx(configurations[trial_id])
        assert [session.status for session in group.sessions] == [api_pb2.STATUS_SUCCESS] * 2
        assert all(session.start_time_secs <= session.end_time_secs for session in group.sessions)
        logged = {(metric.name.group, metric.name.tag) for metric in group.metric_values}
        assert ("validation", "epoch_loss") in logged


def test_the_tab_shows_a_group_of_sessions_for_each_trial(tmp_path):
    check(tmp_path, search(tmp_path))


@pytest.mark.slow
def test_so_it_does_on_jax(tmp_path):
    pytest.importorskip("jax")
    script = "from tests.training import test_hparams as this; import pathlib, sys; "
    script += "place = pathlib.Path(sys.argv[1]); this.check(place, this.search(place))"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=script_environment(KERAS_BACKEND="jax"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_nothing_is_left_open_by_a_training_that_fails(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    class Fails(gk.HyperModel):
        def build(self, config):
            return tiny_models.build(config)

        def fit(self, config, model, *args, callbacks, **kwargs):
            config.Choice("activation", ["relu"])
            model.fit(*args, callbacks=callbacks, **kwargs)

    tuner = gk.RandomSearch(
        Fails(), "val_loss", 1, directory=tmp_path, project_name="digits", executor="inline"
    )
    tuner.search(
        *tiny_models.TRAIN, callbacks=[keras.callbacks.TensorBoard(tmp_path / "logs")], verbose=0
    )
    assert tuner.oracle.trials["0"].status == "FAILED"
    read = EventAccumulator(str(tmp_path / "logs" / "0" / "execution0"))
    read.Reload()
    said = read.PluginTagToContent(metadata.PLUGIN_NAME)
    begun = metadata.parse_session_start_info_plugin_data(said[metadata.SESSION_START_INFO_TAG])
    assert begun.group_name == "0"
    assert begun.hparams["activation"].string_value == "relu"
