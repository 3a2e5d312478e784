"""Event files, read by TensorBoard."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from glimr_keras.errors import ProjectError
from glimr_keras.exports import tensorboard_runs
from glimr_keras.space.hp_types import Choice, Condition, Float, Int
from tests.exports import contents
from tests.results import made


def read(directory):
    found = EventAccumulator(str(directory))
    found.Reload()
    return found


def told(found, tag):
    """What the HParams tab is told under a tag."""
    content = found.summary_metadata[tag].plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs" / "digits"


@pytest.fixture
def write(tmp_path):
    return lambda content: tensorboard_runs.write_events(content, str(tmp_path / "logs"))


def test_scalars_have_their_epochs_and_times(write, logs):
    assert write(contents.early()) == f"Wrote 3 runs of 3 trials into {logs}."
    found = read(logs / "trial_00")
    scalars = found.Scalars("val_loss")
    assert [(each.step, each.value) for each in scalars] == [(1, 0.5), (2, 0.25), (3, 0.375)]
    assert [each.wall_time for each in scalars] == [made.BEGAN + n for n in (1, 2, 3)]
    assert [(each.step, each.value) for each in found.Scalars("score")] == [(2, 0.25)]
    assert "score" not in read(logs / "trial_01").Tags()["scalars"]


def test_hyperparameters_are_in_the_tab_for_them(write, logs):
    write(contents.early())
    experiment = told(read(logs), metadata.EXPERIMENT_TAG).experiment
    domains = {each.name: each for each in experiment.hparam_infos}
    assert [*domains] == ["units", "rate", "kind", "norm", "drop", "depth"]
    assert domains["units"].domain_interval.max_value == 512
    kinds = [each.string_value for each in domains["kind"].domain_discrete.values]
    assert kinds == ["plain", "wide"]
    names = [each.name.tag for each in experiment.metric_infos]
    assert names == ["score", "val_loss", "loss"]
    start = told(read(logs / "trial_00"), metadata.SESSION_START_INFO_TAG).session_start_info
    assert start.hparams["units"].number_value == 8
    assert start.hparams["kind"].string_value == "wide"
    assert start.hparams["norm"].bool_value is False
    assert (start.group_name, start.start_time_secs) == ("trial 00", made.BEGAN)
    ends = [
        told(read(logs / f"trial_0{n}"), metadata.SESSION_END_INFO_TAG).session_end_info.status
        for n in (0, 1)
    ]
    assert ends == [1, 2]  # success and failure


def test_what_was_written_is_gone_on_with(write, logs):
    write(contents.early())
    (file,) = (logs / "trial_02").iterdir()
    before, inode = file.read_bytes(), file.stat().st_ino
    write(contents.early())
    assert file.read_bytes() == before
    write(contents.late())
    assert file.read_bytes().startswith(before)
    assert file.stat().st_ino == inode  # which a TensorBoard that runs goes on to read
    assert [each.value for each in read(logs / "trial_02").Scalars("val_loss")] == [0.75, 0.5]
    assert len(list(logs.rglob("events*"))) == 5


def test_what_began_anew_is_replaced(write, logs):
    write(contents.early())
    write(contents.begun_again())
    values = [each.value for each in read(logs / "trial_00").Scalars("val_loss")]
    assert values == pytest.approx([0.4, 0.3])


def test_folds_are_runs_of_one_row(write, logs):
    write(contents.folded())
    groups = {
        told(read(logs / name), metadata.SESSION_START_INFO_TAG).session_start_info.group_name
        for name in ("trial_00_0", "trial_00_1")
    }
    assert groups == {"trial 00"}


def test_values_that_are_no_scalars_are_texts(write, logs):
    values = {"kind": None, "layers": [1, 2], "units": 4}
    write(contents.content([made.trial(0, [[0.5]], values=values)]))
    start = told(read(logs / "trial_00"), metadata.SESSION_START_INFO_TAG).session_start_info
    assert start.hparams["kind"].string_value == "None"
    assert start.hparams["layers"].string_value == "[1, 2]"


def test_what_was_put_into_the_history_is_a_scalar_at_the_best_epoch(write, logs):
    trial = made.trial(0, [[0.5, 0.25, 0.375]])
    trial.executions[0].returned = {"f1": 0.75}
    write(contents.content([trial]))
    found = read(logs / "trial_00")
    assert [(each.step, each.value) for each in found.Scalars("f1")] == [(2, 0.75)]
    experiment = told(read(logs), metadata.EXPERIMENT_TAG).experiment
    assert [each.name.tag for each in experiment.metric_infos][-1] == "f1"


A, B = ((Condition("net", (name,)),) for name in "ab")


@pytest.mark.parametrize(
    ("space", "domain"),
    [
        ([Int("x", 1, 200_000, conditions=A), Int("x", 8, 300_000, conditions=B)], (1, 300_000)),
        ([Int("x", 2, 9, conditions=A), Float("x", 0.5, 4.0, conditions=B)], (0.5, 9.0)),
        (
            [Int("x", 1, 9, conditions=A), Choice("x", [64, 128], conditions=B)],
            {*range(1, 10), 64, 128},
        ),
        ([Int("x", 1, 200_000, conditions=A), Choice("x", [8], conditions=B)], None),
        ([Choice("x", list(range(101)))], None),
    ],
)
def test_a_name_of_two_branches_has_their_range_or_few_values(write, logs, space, domain):
    write(contents.content([], space=space))
    (info,) = told(read(logs), metadata.EXPERIMENT_TAG).experiment.hparam_infos
    match info.WhichOneof("domain"):
        case "domain_interval":
            found = info.domain_interval.min_value, info.domain_interval.max_value
        case "domain_discrete":
            found = {each.number_value for each in info.domain_discrete.values}
        case _:
            found = None
    assert found == domain


def test_the_events_of_another_project_are_left_alone(write, logs):
    write(contents.early())
    other = contents.early()
    other.project.project_id = "another"
    with pytest.raises(ProjectError, match="has events of something else"):
        write(other)
