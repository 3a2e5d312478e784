"""The user's Ray Tune callbacks, told by hand as Ray Tune does it; Ray's loggers write files."""

import dataclasses
import json
import pathlib
from typing import ClassVar

import pandas as pd
import pytest
from ray import tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback, aim

from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.logged_trial import LoggedTrial, known_values
from glimr_keras.executors.policies import FailurePolicy
from glimr_keras.executors.ray_bridge import Bridge
from glimr_keras.executors.ray_callbacks import UserCallbacks, file_writers
from glimr_keras.oracles import RandomSearchOracle
from glimr_keras.project.journal import Journal, Project
from glimr_keras.space.hp_types import Condition, Float
from glimr_keras.space.reserved_names import Stage
from glimr_keras.space.search_space import SearchSpace
from glimr_keras.training.messages import ExecutionSpec, Outcome, Report
from glimr_keras.trials.objective import Objective
from tests.executors.test_coordinator import Silent

OBJECTIVE = Objective("score", "max")
RATE = Float("optimizer/rate", 0, 1)


class Notes(tune.Callback):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def setup(self, **info):
        self.told.append("setup")

    def on_trial_start(self, iteration, trials, trial, **info):
        self.told.append(("start", str(trial), dict(trial.config)))

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.told.append(("result", str(trial), result["score"], result["config"]))
        result["noted"] = True

    def on_trial_recover(self, iteration, trials, trial, **info):
        self.told.append(("recover", str(trial)))

    def on_trial_complete(self, iteration, trials, trial, **info):
        self.told.append(("complete", str(trial), trial.status))

    def on_trial_error(self, iteration, trials, trial, **info):
        self.told.append(("error", str(trial), trial.status, trial.get_error()))

    def on_experiment_end(self, trials, **info):
        self.told.append(("end", list(map(str, trials))))


@dataclasses.dataclass
class OfRay:
    """What is used here of one of Ray's trials."""

    trial_id: str
    status: str = RayTrial.RUNNING
    checkpoint: None = None


class Search:
    """A search whose Ray trials are run by hand."""

    def __init__(self, directory, callbacks, is_whole=True, executions=1, retries=0):
        self.journal = Journal(directory)
        self.journal.create(Project(OBJECTIVE, 0, executions, []))
        self.coordinator = Coordinator(
            RandomSearchOracle(OBJECTIVE, 9, 0, space=[RATE]),
            self.journal,
            directory,
            executions,
            Silent(),
            FailurePolicy(retries=retries),
            project_id="0123456789",
        )
        self.coordinator.oracle.space.is_whole = is_whole
        self.callbacks = UserCallbacks(callbacks)
        self.bridge = None
        self.next_phase()

    def next_phase(self):
        self.bridge = Bridge(lambda found: None, 0, None, coordinator=self.coordinator)
        self.callbacks.follow(self.bridge)
        self.callbacks.setup(stop=None, num_samples=-1)

    def tell(self, hook, ray_id, **info):
        getattr(self.callbacks, hook)(iteration=1, trials=[], trial=OfRay(ray_id), **info)

    def start(self, ray_id):
        assert self.bridge.next_task(ray_id) is not None
        self.bridge.start(ray_id)
        self.tell("on_trial_start", ray_id)

    def report(self, ray_id, epoch, score=1.0, outcome=None, **more):
        metrics = {} if epoch is None else {"score": score}
        values = self.bridge.specs[ray_id].values | more
        self.bridge.report(ray_id, Report(epoch, metrics, values, [], outcome))
        result = {
            **metrics,
            "training_iteration": epoch or 99,
            "config": {"glimr_keras": "internals"},
            "trial_id": ray_id,
        }
        self.tell("on_trial_result", ray_id, result=result)
        return result

    def end(self, ray_id):
        self.bridge.end(ray_id)
        self.tell("on_trial_complete", ray_id)

    def train(self, ray_id, epochs=1, status="COMPLETED", message=None):
        self.start(ray_id)
        for epoch in range(1, epochs + 1):
            self.report(ray_id, epoch)
        self.report(ray_id, None, outcome=Outcome(status, 1.0, 1.0, 1, message))
        self.end(ray_id)


@pytest.fixture
def search(tmp_path):
    """Makes a search in a project, and closes its journal at the end."""
    made = []

    def make(*callbacks, **how):
        made.append(Search(tmp_path / "digits", callbacks, **how))
        return made[-1]

    yield make
    for each in made:
        each.journal.close()


def test_callbacks_hear_of_trials_by_our_names_with_their_hyperparameters(search):
    notes = Notes()
    found = search(notes)
    with found.callbacks.experiment():
        found.tell("on_trial_start", "stands by")
        found.start("r0")
        result = found.report("r0", 1, 0.5)
        found.report("r0", None, outcome=Outcome("COMPLETED", 1.0, 0.5, 1))
        found.end("r0")
    config = found.coordinator.oracle.trials["0"].values
    assert list(config) == ["optimizer/rate"]
    assert notes.told == [
        "setup",
        ("start", "0", config),
        ("result", "0", 0.5, config),
        ("complete", "0", "RUNNING"),  # as Ray has it, which stops it after that
        ("end", ["0"]),
    ]
    assert result["trial_id"] == "01234567_0"
    assert result["noted"]  # what a callback adds to a result, others see


def test_what_is_asked_for_late_is_there_with_the_start(search):
    notes = Notes()
    found = search(notes, is_whole=False)
    found.start("r0")
    assert notes.told == ["setup"]
    found.report("r0", 1, late=3)
    assert [each[0] for each in notes.told[1:]] == ["start", "result"]
    assert notes.told[1][2]["late"] == 3
    found.start("r1")
    found.report("r1", None, outcome=Outcome("FAILED", 1.0, message="in `build`"), early=1)
    found.end("r1")
    assert [each[:2] for each in notes.told[3:]] == [("start", "1"), ("error", "1")]
    assert notes.told[3][2]["early"] == 1


def test_a_failed_trial_is_an_error_and_one_that_is_tried_again_is_not(search):
    notes = Notes()
    found = search(notes, retries=1)
    with found.callbacks.experiment():
        found.train("r0", status="FAILED", message="first")
        found.next_phase()
        found.train("r1", status="FAILED", message="second")
        found.train("r2", status="STOPPED")
    assert [each if each == "setup" else each[0] for each in notes.told] == [
        "setup",
        *("start", "result", "recover", "result", "error"),
        *("start", "result", "complete"),
        "end",
    ]
    assert notes.told[5] == ("error", "0", "ERROR", "second")
    assert notes.told[-1] == ("end", ["0", "1"])


def test_a_trial_whose_process_was_lost_goes_on_as_the_same(search):
    notes = Notes()
    found = search(notes)
    found.start("r0")
    found.report("r0", 1)
    found.bridge.lose("r0", "out of memory")
    found.tell("on_trial_error", "r0")
    found.start("r1")
    found.report("r1", 2)
    assert [each[0] for each in notes.told[1:]] == ["start", "result", "recover", "result"]


def test_a_trial_whose_process_was_lost_before_its_first_epoch_starts_when_all_is_known(search):
    notes = Notes()
    found = search(notes, is_whole=False)
    found.start("r0")
    found.bridge.lose("r0", "out of memory")
    found.tell("on_trial_error", "r0")
    assert notes.told == ["setup"]
    found.start("r1")
    found.report("r1", 1, late=3)
    assert [each[0] for each in notes.told[1:]] == ["start", "result"]
    assert notes.told[1][2]["late"] == 3


def test_what_runs_when_the_search_is_interrupted_is_an_error_to_loggers(search):
    notes = Notes()
    found = search(notes)

    def run():
        with found.callbacks.experiment():
            found.train("r0")
            found.start("r1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert notes.told[-2:] == [
        ("error", "1", "ERROR", "The search was interrupted."),
        ("end", ["0", "1"]),
    ]


class Breaks(Notes):
    def on_trial_result(self, iteration, trials, trial, result, **info):
        raise OSError("the tracking server is gone")


def test_an_error_of_a_callback_ends_the_search_and_others_are_told_of_all(search):
    notes = Notes()
    found = search(Breaks(), notes)

    def run():
        with found.callbacks.experiment():
            found.start("r0")
            found.report("r0", 1)
            assert found.bridge.finished
            raise found.bridge.error

    with pytest.raises(OSError, match="the tracking server is gone"):
        run()
    assert [each[0] for each in notes.told[1:]] == ["start", "result", "error", "end"]


def test_executions_of_a_trial_have_names_and_folders_of_their_own(search, tmp_path):
    notes = Notes()
    found = search(notes, executions=2)
    found.train("r0")
    found.train("r1")
    assert [each[1] for each in notes.told if each[0] == "start"] == ["0", "0_execution_1"]
    folded = ExecutionSpec("7", 4, {}, (), str(tmp_path), fold=1, num_folds=3)
    assert folded.name == folded.unique_name == "7_fold_1_execution_1"


@pytest.fixture
def seen(tmp_path):
    spec = ExecutionSpec("3", 1, {}, (), str(tmp_path / "digits" / "trial_3" / "execution_1"))
    trial = LoggedTrial(spec)
    trial.ray_trial = OfRay("abc")
    trial.know({"rate": 0.1, "units": 3, Stage.EPOCHS: 4, Stage.BRACKET: 0})
    return trial


def test_a_trial_looks_like_rays_and_has_paths_in_the_project(seen, tmp_path):
    assert isinstance(seen, RayTrial)
    assert {seen: 1}[seen] == 1
    assert seen.config == seen.evaluated_params == {"rate": 0.1, "units": 3}
    assert (str(seen), repr(seen), seen.trial_id) == ("3_execution_1",) * 3
    assert (seen.status, seen.checkpoint) == ("RUNNING", None)
    assert seen.experiment_dir_name == "digits"
    assert seen.local_path == seen.path == str(tmp_path / "digits" / "trial_3" / "execution_1")
    assert seen.local_experiment_path == str(tmp_path / "digits")
    assert pathlib.Path(seen.relative_logdir) == pathlib.Path("trial_3", "execution_1")
    with pytest.raises(AttributeError):
        seen.nothing  # noqa: B018
    with pytest.raises(AttributeError):
        seen.__array__  # noqa: B018


def test_a_trials_hyperparameters_are_known_where_the_space_is(tmp_path):
    units = Float("units", 0, 1, conditions=(Condition("optimizer/rate", (0.5,)),))
    spec = ExecutionSpec("0", 0, {"optimizer/rate": 0.1, "units": 1, "seed": 7}, (), "")
    space = SearchSpace([RATE, units], drawn=["seed", "other"])
    assert known_values(spec, space) == {"optimizer/rate": 0.1, "seed": 7}
    assert known_values(dataclasses.replace(spec, values={}), space) is None
    assert known_values(spec, SearchSpace([RATE], is_whole=False)) is None


def test_files_are_in_the_trials_folder_and_a_later_session_appends(search, tmp_path):
    logs = [CSVLoggerCallback(), JsonLoggerCallback()]
    found = search(*logs)
    with found.callbacks.experiment():
        found.start("r0")
        found.report("r0", 1, 0.5)
    place = tmp_path / "digits" / "trial_0"
    (place / "checkpoint.json").write_text("{}")

    found.callbacks = UserCallbacks([CSVLoggerCallback(), JsonLoggerCallback()])
    found.coordinator.give_back(found.bridge.specs["r0"])
    with found.callbacks.experiment():
        found.next_phase()
        found.start("r1")
        found.report("r1", 2, 0.7)
        found.report("r1", None, outcome=Outcome("COMPLETED", 1.0, 0.7, 2))
        found.end("r1")
    table = pd.read_csv(place / "progress.csv")
    assert list(table["training_iteration"]) == [1, 2]
    assert list(table["score"]) == [0.5, 0.7]
    lines = [json.loads(line) for line in (place / "result.json").read_text().splitlines()]
    config = json.loads((place / "params.json").read_text())
    assert [line["config"] for line in lines] == [config, config]
    written = {"params.json", "params.pkl", "progress.csv", "result.json"}
    assert {path.name for path in place.iterdir()} == {"checkpoint.json", *written}


class AimRun:
    """What Aim's `Run` is, as far as Ray's logger uses it."""

    made: ClassVar = []

    def __init__(self, repo, experiment):
        self.repo, self.experiment = repo, experiment
        self.values, self.tracked, self.is_closed = {}, [], False
        self.made.append(self)

    def __setitem__(self, name, value):
        self.values[name] = value

    def track(self, value, name, epoch, step, context):
        self.tracked.append((name, value, step))

    def close(self):
        self.is_closed = True


def test_aim_has_a_run_for_each_trial(search, tmp_path, monkeypatch):
    monkeypatch.setattr(aim, "Run", AimRun)
    monkeypatch.setattr(AimRun, "made", [])
    monkeypatch.setattr(OfRay, "get_ray_actor_ip", lambda self: "127.0.0.1", raising=False)
    monkeypatch.setattr(LoggedTrial, "get_ray_actor_ip", lambda self: "127.0.0.1")
    found = search(aim.AimLoggerCallback())
    with found.callbacks.experiment():
        found.train("r0", epochs=2)
        found.train("r1", status="FAILED")
    first, second = AimRun.made
    assert (first.repo, first.experiment) == (str(tmp_path / "digits"), "digits")
    assert first.values["hparams"] == found.coordinator.oracle.trials["0"].values
    assert first.values["trial_id"] == "01234567_0"
    assert [(name, step) for name, _, step in first.tracked if "score" in name] == [
        ("ray/tune/score", 1),
        ("ray/tune/score", 2),
    ]
    assert first.is_closed
    assert second.is_closed


class WandbLoggerCallback(tune.Callback):
    """What is used here of Ray's logger for W&B."""

    upload_checkpoints = True

    def __init__(self, **kwargs):
        self.kwargs = kwargs


@pytest.mark.parametrize(("given", "then"), [({}, "allow"), ({"resume": "never"}, "never")])
def test_wandb_goes_on_with_the_run_of_an_earlier_session(given, then):
    logger = WandbLoggerCallback(**given)
    UserCallbacks([logger])
    assert logger.kwargs["resume"] == then


def test_that_no_checkpoints_are_uploaded_is_said(search):
    with pytest.warns(UserWarning, match=r"WandbLoggerCallback\(upload_checkpoints=True\)"):
        search(WandbLoggerCallback())


def test_loggers_that_write_files_are_known():
    assert file_writers([Notes(), CSVLoggerCallback(), JsonLoggerCallback()]) == [
        "CSVLoggerCallback",
        "JsonLoggerCallback",
    ]


def test_rays_snapshots_have_nothing_of_the_callbacks(search):
    kind, arguments = search(Notes()).callbacks.__reduce__()
    assert kind(*arguments)._callbacks == []
