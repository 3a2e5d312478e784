"""The coordinator with a hand-driven executor: executions, failures, stopping and resuming."""

import pathlib

import pytest

from glimr_keras.errors import FatalValueError, SearchError, StorageError
from glimr_keras.executors.coordinator import Coordinator
from glimr_keras.executors.policies import FailurePolicy, StoppingPolicy
from glimr_keras.oracles import RandomSearchOracle
from glimr_keras.project import checkpoints, model_weights
from glimr_keras.project.journal import Journal, Project
from glimr_keras.space.hp_types import Choice, Condition, Float, Int
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.messages import Outcome, Report, this_worker
from glimr_keras.trials.objective import Objective
from tests import tiny_models

OBJECTIVE = Objective("score", "max")


class Silent:
    """An observer that remembers what ended."""

    def __init__(self):
        self.ended, self.said = [], []

    def say(self, what):
        self.said.append(what)

    def on_running(self, running):
        self.running = running

    def before_trial(self):
        """Nothing."""

    def on_trial_begin(self, trial):
        """Nothing."""

    def on_trial_end(self, trial):
        self.ended.append(trial.trial_id)


@pytest.fixture
def coordinator_in(tmp_path):
    """Makes coordinators of the project in a directory, and closes their journals at the end."""
    journals = []

    def make(executions=1, max_trials=4, restored=(), **failure_policy):
        for journal in journals:
            journal.close()
        journals.append(Journal(tmp_path))
        return coordinator_of(
            journals[-1], tmp_path, executions, max_trials, restored, **failure_policy
        )

    yield make
    for journal in journals:
        journal.close()


def coordinator_of(journal, directory, executions, max_trials, restored, **failure_policy):
    oracle = RandomSearchOracle(OBJECTIVE, max_trials, 0, space=[Float("x", 0, 1)])
    for trial in restored:
        oracle.restore_trial(trial)
    if not journal.exists():
        journal.create(Project(OBJECTIVE, 0, executions, []))
    return Coordinator(
        oracle, journal, directory, executions, Silent(), FailurePolicy(2, **failure_policy)
    )


def finish(
    coordinator,
    run,
    status="COMPLETED",
    score=1.0,
    message=None,
    fatal=None,
    expected=False,
    **of_gpu,
):
    coordinator.on_start(run)
    scored = score if status == "COMPLETED" else None
    outcome = Outcome(status, 2.0, scored, 1, message, fatal, expected, **of_gpu)
    coordinator.on_report(run, Report(1, {"score": score}, {"x": run.values["x"]}, [], outcome))


def test_it_gives_out_exactly_the_budget(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    runs = [coordinator.next_spec() for _ in range(5)]
    assert [run.trial_id for run in runs[:4]] == ["0", "1", "2", "3"]
    assert runs[4] is None
    assert coordinator.all_given_out
    assert not coordinator.finished  # one may have to be started again
    for run in runs[:4]:
        finish(coordinator, run)
    assert coordinator.next_spec() is None
    assert coordinator.finished


def test_a_run_that_is_given_back_is_the_next_to_be_given_out(coordinator_in, tmp_path):
    coordinator = coordinator_in(max_trials=2)
    first, second = coordinator.next_spec(), coordinator.next_spec()
    assert coordinator.next_spec() is None
    assert coordinator.all_given_out
    coordinator.give_back(first)
    assert not coordinator.all_given_out
    assert coordinator.next_spec() is first
    for run in (first, second):
        finish(coordinator, run)
    assert [trial.status for trial in coordinator.oracle.trials.values()] == ["COMPLETED"] * 2


def test_a_trial_ends_when_its_executions_have_and_scores_their_mean(coordinator_in, tmp_path):
    coordinator = coordinator_in(executions=2)
    first, second = coordinator.next_spec(), coordinator.next_spec()
    assert (first.key, second.key) == (("0", 0), ("0", 1))
    assert first.values == second.values
    assert first.directory != second.directory
    finish(coordinator, first, score=1.0)
    assert Journal(tmp_path).read().trials["0"].status == "RUNNING"
    finish(coordinator, second, score=2.0)
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.score, trial.duration) == ("COMPLETED", 1.5, 4.0)


def test_a_failed_execution_fails_its_trial_and_spares_the_others(coordinator_in, tmp_path):
    coordinator = coordinator_in(executions=3)
    finish(coordinator, coordinator.next_spec(), "FAILED", message="a mistake")
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.message) == ("FAILED", "a mistake")
    assert coordinator.next_spec().trial_id == "1"


def test_failures_in_a_row_stop_the_search_with_the_last_message(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    for message in ("first", "second"):
        finish(coordinator, coordinator.next_spec(), "FAILED", message=message)
    assert isinstance(coordinator.error, SearchError)
    assert "consecutive failures exceeded the limit of 2" in str(coordinator.error)
    assert str(coordinator.error).endswith("second")
    assert coordinator.next_spec() is None
    assert coordinator.finished


def test_a_success_in_between_lets_the_search_go_on(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    for status in ("FAILED", "COMPLETED", "FAILED"):
        finish(coordinator, coordinator.next_spec(), status)
    assert coordinator.error is None


def test_what_is_said_of_good_trainings_is_said_of_their_trial(coordinator_in, tmp_path):
    coordinator = coordinator_in(executions=2)
    for score in (1.0, 2.0):
        finish(coordinator, coordinator.next_spec(), score=score, message="no number in epoch 3")
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.message) == ("COMPLETED", "no number in epoch 3")


def test_failures_that_are_expected_do_not_stop_the_search(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    for _ in range(4):
        finish(coordinator, coordinator.next_spec(), "FAILED", expected=True)
    assert coordinator.error is None


def test_a_fatal_error_stops_the_search_as_itself(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    fatal = FatalValueError("stop")
    finish(coordinator, coordinator.next_spec(), "FAILED", fatal=fatal)
    assert coordinator.error is fatal
    assert coordinator.next_spec() is None


def test_a_stopped_run_keeps_the_score_of_its_best_epoch(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    run = coordinator.next_spec()
    for epoch, score in enumerate((1.0, 3.0, 2.0), start=1):
        coordinator.on_report(run, Report(epoch, {"score": score}, {"x": 0.5}, []))
    coordinator.on_stopped(run, 1.0)
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.score, trial.executions[0].best_epoch) == ("STOPPED", 3.0, 2)


def test_an_end_is_heard_once(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    run = coordinator.next_spec()
    finish(coordinator, run)
    coordinator.on_stopped(run, 1.0)
    coordinator.on_lost(run, 1.0, "gone")
    assert Journal(tmp_path).read().trials["0"].status == "COMPLETED"


def test_a_late_hyperparameter_joins_the_space_and_the_journal(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    run = coordinator.next_spec()
    coordinator.on_report(
        run, Report(1, {"score": 1.0}, {"x": 0.5, "late": 0.1}, [Float("late", 0, 1)])
    )
    assert [parameter.name for parameter in coordinator.oracle.space.parameters] == ["x", "late"]
    assert [entry["config"]["name"] for entry in Journal(tmp_path).read().late_space] == ["late"]
    assert "late" in coordinator.next_spec().values


@pytest.mark.parametrize("executions", [1, 2])
def test_what_was_running_is_run_again_after_a_kill(coordinator_in, tmp_path, executions):
    before = coordinator_in(executions)
    finish(before, before.next_spec())
    lost = [before.next_spec() for _ in range(2)]
    after = coordinator_in(executions, restored=list(Journal(tmp_path).read().trials.values()))
    after.resume()
    assert [after.next_spec().key for _ in range(2)] == [run.key for run in lost]
    assert len(after.oracle.trials) == len(before.oracle.trials)


def test_a_kill_after_any_record_loses_no_trial(coordinator_in, tmp_path):
    before = coordinator_in(executions=2)
    for status in ("COMPLETED", "FAILED", "COMPLETED", "COMPLETED", "COMPLETED"):
        finish(before, before.next_spec(), status)
    lines = Journal(tmp_path).path.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        Journal(tmp_path).path.write_bytes(b"".join(lines[:count]))
        after = coordinator_in(
            executions=2, restored=list(Journal(tmp_path).read().trials.values())
        )
        after.resume()
        while (run := after.next_spec()) is not None:
            finish(after, run)
        trials = Journal(tmp_path).read().trials
        assert len(trials) == 4
        assert {trial.status for trial in trials.values()} <= {"COMPLETED", "FAILED"}


KIND = Choice("kind", ("a", "b"))
RATES = [
    Float("kind/rate", 0, 1, conditions=(Condition("kind", ("a",)),)),
    Float("kind/rate", 100, 200, conditions=(Condition("kind", ("b",)),)),
    Int("units", 1, 64),
]


@pytest.mark.parametrize(
    ("mutated", "expected"),
    [
        ({}, {"kind": "a", "kind/rate": 0.5, "units": 8}),
        ({"kind": "b", "kind/rate": 150.0}, {"kind": "b", "kind/rate": 150.0, "units": 8}),
        ({"kind/rate": 7.0, "units": 9.6}, {"kind": "a", "kind/rate": 1.0, "units": 9}),
        ({"units": 1000}, {"kind": "a", "kind/rate": 0.5, "units": 64}),
    ],
)
def test_values_that_a_scheduler_changed_become_ones_that_their_hyperparameters_can_have(
    tmp_path, mutated, expected
):
    journal = Journal(tmp_path)
    journal.create(Project(OBJECTIVE, 0, 1, []))
    oracle = RandomSearchOracle(
        OBJECTIVE,
        1,
        0,
        space=[KIND, *RATES],
        initial_points=[{"kind": "a", "kind/rate": 0.5, "units": 8}],
    )
    coordinator = Coordinator(oracle, journal, tmp_path, 1, Silent())
    run = coordinator.next_spec()
    assert coordinator.mutated(run, run.values | mutated).values == expected
    journal.close()


def test_what_is_drawn_only_with_a_changed_value_is_drawn_then(tmp_path):
    journal = Journal(tmp_path)
    journal.create(Project(OBJECTIVE, 0, 1, []))
    points = [{"kind": "a", "kind/rate": 0.5, "units": 8}]
    oracle = RandomSearchOracle(OBJECTIVE, 1, 0, space=[KIND, *RATES], initial_points=points)

    def draw(values, key):
        return {f"drawn_for_{values['kind']}": 3}

    coordinator = Coordinator(oracle, journal, tmp_path, 1, Silent(), draw=draw)
    run = coordinator.next_spec()
    changed = coordinator.mutated(run, run.values | {"kind": "b", "kind/rate": 150.0}).values
    assert changed["kind"] == "b"
    assert changed["drawn_for_b"] == 3
    journal.close()


# What a search bears


def report(coordinator, run, epoch, score):
    coordinator.on_report(run, Report(epoch, {"score": score}, {"x": run.values["x"]}, []))


def test_a_lost_training_is_the_next_to_go_on_with_what_it_reported(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    first, _ = coordinator.next_spec(), coordinator.next_spec()
    coordinator.on_start(first)
    report(coordinator, first, 1, 5.0)
    report(coordinator, first, 2, 4.0)
    coordinator.on_lost(first, 1.0, "gone")
    again = coordinator.next_spec()
    assert (again.key, again.values, again.resumes) == (first.key, first.values, True)
    report(coordinator, again, 2, 3.0)  # from the state after the first epoch
    coordinator.on_report(
        again, Report(3, {"score": 2.0}, {"x": 0.5}, [], Outcome("COMPLETED", 2.0, 5.0, 1))
    )
    execution = Journal(tmp_path).read().trials[first.trial_id].executions[0]
    assert {epoch: metrics["score"] for epoch, metrics in execution.history.items()} == {
        1: 5.0,
        2: 3.0,
        3: 2.0,
    }
    assert (execution.score, execution.best_epoch, execution.lost, execution.status) == (
        5.0,
        1,
        1,
        "COMPLETED",
    )


def searched_by(tmp_path, score_at, restored=()):
    """A coordinator of trials with three executions, and its journal."""
    journal = Journal(tmp_path)
    oracle = RandomSearchOracle(OBJECTIVE, 1, 0, space=[Float("x", 0, 1)])
    for trial in restored:
        oracle.restore_trial(trial)
    if not journal.exists():
        journal.create(Project(OBJECTIVE, 0, 1, [], cv_folds=3, score_at=score_at))
    return journal, Coordinator(
        oracle, journal, tmp_path, 1, Silent(), FailurePolicy(2), cv_folds=3, score_at=score_at
    )


def train(coordinator, run, scores):
    """Reports epochs, the last with the outcome, which is that of the best epoch."""
    for epoch, score in enumerate(scores[:-1], start=max(run.last_epoch, 1)):
        report(coordinator, run, epoch, score)
    last = max(run.last_epoch, 1) + len(scores) - 1
    history = coordinator.oracle.trials[run.trial_id].executions[run.execution].history
    known = {epoch: seen["score"] for epoch, seen in history.items()} | {last: scores[-1]}
    best = max(known, key=known.__getitem__)
    outcome = Outcome("COMPLETED", 2.0, known[best], best)
    metrics = {"score": scores[-1]}
    coordinator.on_report(run, Report(last, metrics, {"x": run.values["x"]}, [], outcome))


@pytest.mark.parametrize(
    ("score_at", "epochs", "score"),
    [("best", [2, 1, 3], 7.0), ("common", [3, 3, 3], 6.0), ("last", [3, 3, 4], 16 / 3)],
)
@pytest.mark.parametrize(
    "kill", ["in a training", "between trainings", "before the end is written"]
)
def test_epochs_of_scores_are_the_same_after_a_kill(
    tmp_path, monkeypatch, kill, score_at, epochs, score
):
    curves = [[1.0, 7.0, 6.0], [8.0, 1.0, 6.0], [1.0, 1.0, 6.0, 4.0]]
    journal, coordinator = searched_by(tmp_path, score_at)
    runs = [coordinator.next_spec() for _ in curves]
    for run in runs:
        coordinator.on_start(run)
    train(coordinator, runs[0], curves[0])
    if kill == "in a training":
        report(coordinator, runs[1], 1, 8.0)
        report(coordinator, runs[1], 2, 9.0)  # void: its state was after the first epoch
    else:
        train(coordinator, runs[1], curves[1])
    if kill == "before the end is written":
        monkeypatch.setattr(journal, "end_trial", lambda trial: None)
        train(coordinator, runs[2], curves[2])
    journal.close()
    restored = Journal(tmp_path).read().trials.values()
    assert [trial.status for trial in restored] == ["RUNNING"]
    journal, coordinator = searched_by(tmp_path, score_at, restored)
    coordinator.resume()
    while (run := coordinator.next_spec()) is not None:
        coordinator.on_start(run)
        train(coordinator, run, curves[run.execution][max(run.last_epoch, 1) - 1 :])
    journal.close()
    told, read = coordinator.oracle.trials["0"], Journal(tmp_path).read()
    for trial in (told, read.trials["0"]):
        assert trial.status == "COMPLETED"
        assert [each.best_epoch for each in trial.executions.values()] == epochs
        assert [each.saved_epoch for each in trial.executions.values()] == [2, 1, 3]
        assert [each.saved_score for each in trial.executions.values()] == [7.0, 8.0, 6.0]
        assert trial.score == pytest.approx(score)
    assert read.score_at == score_at


def test_a_failed_trial_is_not_scored_at_a_common_epoch(tmp_path):
    journal, coordinator = searched_by(tmp_path, "common")
    runs = [coordinator.next_spec() for _ in range(3)]
    for run in runs:
        coordinator.on_start(run)
    train(coordinator, runs[0], [1.0, 7.0, 6.0])
    train(coordinator, runs[1], [8.0, 1.0, 6.0])
    finish(coordinator, runs[2], "FAILED", message="a mistake")
    journal.close()
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.message) == ("FAILED", "a mistake")
    assert [each.weights_epoch for each in trial.executions.values()] == [None] * 3


def test_losses_count_across_sessions(coordinator_in, tmp_path):
    coordinator = coordinator_in(failures=1)
    run = coordinator.next_spec()
    coordinator.on_lost(run, 1.0, "gone")
    restored = Journal(tmp_path).read().trials.values()
    coordinator = coordinator_in(failures=1, restored=restored)
    coordinator.resume()
    run = coordinator.next_spec()
    assert run.resumes
    coordinator.on_lost(run, 1.0, "gone again")
    assert Journal(tmp_path).read().trials[run.trial_id].status == "FAILED"


def test_losses_may_be_borne_for_ever(coordinator_in):
    coordinator = coordinator_in(failures=-1)
    for _ in range(20):
        coordinator.on_lost(coordinator.next_spec(), 1.0, "gone")
    assert coordinator.next_spec().trial_id == "0"


def test_a_failed_training_is_begun_again_as_often_as_allowed(coordinator_in, tmp_path):
    coordinator = coordinator_in(retries=2)
    attempts = []
    for _ in range(3):
        run = coordinator.next_spec()
        attempts.append((run.trial_id, run.attempt, run.resumes))
        finish(coordinator, run, "FAILED", message="mine")
    assert attempts == [("0", 0, False), ("0", 1, False), ("0", 2, False)]
    assert coordinator.next_spec().trial_id == "1"
    trial = Journal(tmp_path).read().trials["0"]
    assert (trial.status, trial.message, trial.executions[0].attempt) == ("FAILED", "mine", 2)


def test_what_the_user_calls_failed_is_not_begun_again(coordinator_in):
    coordinator = coordinator_in(retries=2)
    run = coordinator.next_spec()
    coordinator.on_report(
        run,
        Report(None, {}, {}, [], Outcome("FAILED", 1.0, message="no", expected=True, final=True)),
    )
    assert coordinator.next_spec().trial_id == "1"


def test_a_hung_training_has_the_score_of_its_best_epoch_or_has_failed(coordinator_in, tmp_path):
    coordinator = coordinator_in(seconds=5.0)
    first, second, third = (coordinator.next_spec() for _ in range(3))
    report(coordinator, first, 1, 3.0)
    coordinator.on_lost(first, 6.0, "killed")
    coordinator.on_lost(second, 6.0, "killed")
    coordinator.on_lost(third, 1.0, "killed")  # by somebody else
    assert coordinator.next_spec().key == third.key
    trials = Journal(tmp_path).read().trials
    assert (trials["0"].status, trials["0"].score) == ("STOPPED", 3.0)
    assert (trials["1"].status, trials["2"].status) == ("FAILED", "RUNNING")
    assert "No epoch was over within `trial_time_limit_s=5`" in trials["1"].message


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_hung_training_has_the_score_of_the_weights_that_are_there(
    coordinator_in, tmp_path, epoch
):
    coordinator = coordinator_in(seconds=5.0)
    run = coordinator.next_spec()
    report(coordinator, run, 2, 3.0)
    saved = checkpoints.Checkpoint(
        epoch, score=2.0
    )  # of another epoch: one that was not reported any more, or before a loss
    model_weights.save(tiny_models.build(HyperParameters()), run.directory, saved)
    coordinator.on_lost(run, 6.0, "killed")
    execution = Journal(tmp_path).read().trials["0"].executions[0]
    assert (execution.status, execution.score, execution.best_epoch) == ("STOPPED", 2.0, epoch)


class FullDisk(Journal):
    """Takes so many records."""

    room = 3

    def _append(self, record, at=None, /, **fields):
        if self.room == 0:
            raise StorageError("The disk is full.")
        self.room -= 1
        super()._append(record, at, **fields)


def test_a_search_that_cannot_be_written_down_ends_and_is_continued(tmp_path):
    journal = FullDisk(tmp_path)
    coordinator = coordinator_of(journal, tmp_path, 1, 4, ())
    first, second = coordinator.next_spec(), coordinator.next_spec()
    report(coordinator, first, 1, 1.0)
    assert isinstance(coordinator.error, StorageError)
    finish(coordinator, second)
    assert coordinator.next_spec() is None
    assert coordinator.finished
    journal.close()
    restored = Journal(tmp_path).read().trials
    assert [trial.status for trial in restored.values()] == ["RUNNING"] * 2
    journal = Journal(tmp_path)
    coordinator = coordinator_of(journal, tmp_path, 1, 4, restored.values())
    coordinator.resume()
    assert [coordinator.next_spec().trial_id for _ in range(4)] == ["0", "1", "2", "3"]
    journal.close()


def test_when_and_where_a_training_ran_is_known_and_written_down(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    run = coordinator.next_spec()
    assert coordinator.oracle.trials["0"].started is None
    finish(coordinator, run)
    trial = coordinator.oracle.trials["0"]
    assert trial.started <= trial.ended
    assert trial.worker == this_worker()
    assert Journal(tmp_path).read().trials["0"] == trial


def test_a_training_that_begins_anew_in_another_session_begins_then(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    for _ in range(2):
        coordinator.on_start(coordinator.next_spec())
    report(coordinator, coordinator._spec_of(coordinator.oracle.trials["1"], 0, True), 1, 1.0)
    restored = Journal(tmp_path).read().trials
    before = [trial.started for trial in restored.values()]
    for trial in restored.values():
        trial.executions[0].started -= 1000  # as if the script had been killed long ago
    coordinator = coordinator_in(restored=restored.values())
    coordinator.resume()
    for _ in range(2):
        coordinator.on_start(coordinator.next_spec())
    first, second = coordinator.oracle.trials["0"], coordinator.oracle.trials["1"]
    assert first.started >= before[0]
    assert second.started == before[1] - 1000  # it goes on after its first epoch


def test_a_training_that_could_not_be_stored_has_not_ended(coordinator_in, tmp_path):
    coordinator = coordinator_in()
    run = coordinator.next_spec()
    error = StorageError("The disk is full.")
    coordinator.on_report(
        run, Report(1, {"score": 1.0}, {"x": 0.5}, [], Outcome("RUNNING", 1.0, fatal=error))
    )
    assert coordinator.error is error
    assert Journal(tmp_path).read().trials["0"].status == "RUNNING"


def test_the_weights_of_the_best_are_kept(coordinator_in, tmp_path):
    coordinator = coordinator_in(keep_top_k=2, max_trials=6)
    for number, score in enumerate((1.0, 5.0, 3.0, 4.0, 2.0)):
        run = coordinator.next_spec()
        place = tmp_path / f"trial_{number}"
        place.mkdir()
        for name in ("checkpoint.json", "checkpoint.weights.h5", "of_the_user.txt"):
            (place / name).touch()
        finish(coordinator, run, score=score)
    kept = [
        number
        for number in range(5)
        if (tmp_path / f"trial_{number}" / "checkpoint.weights.h5").exists()
    ]
    assert kept == [1, 3]
    assert len(list(tmp_path.glob("trial_*/of_the_user.txt"))) == 5
    restored = Journal(tmp_path).read().trials.values()
    coordinator = coordinator_in(keep_top_k=1, max_trials=6, restored=restored)
    coordinator.resume()
    assert [path.parent.name for path in tmp_path.glob("trial_*/checkpoint.json")] == ["trial_1"]


class Late(StoppingPolicy):
    """Has come to a limit as soon as it is asked to."""

    late = False

    def reached(self):
        return "It is late." if self.late else None


def test_a_search_that_has_come_to_a_limit_starts_nothing_again(tmp_path):
    journal = Journal(tmp_path)
    journal.create(Project(OBJECTIVE, 0, 1, []))
    oracle = RandomSearchOracle(OBJECTIVE, 4, 0, space=[Float("x", 0, 1)])
    stopping_policy = Late(OBJECTIVE)
    coordinator = Coordinator(
        oracle, journal, tmp_path, 1, Silent(), stopping_policy=stopping_policy
    )
    run = coordinator.next_spec()
    stopping_policy.late = True
    assert coordinator.next_spec() is None
    assert coordinator.finished
    coordinator.on_lost(run, 1.0, "gone")
    assert coordinator.finished  # the training goes on when the search is continued
    assert coordinator.next_spec() is None
    journal.close()
    assert Journal(tmp_path).read().trials["0"].status == "RUNNING"


def test_a_further_attempt_does_not_go_on_from_the_one_that_failed(coordinator_in, tmp_path):
    coordinator = coordinator_in(retries=1)
    run = coordinator.next_spec()
    (tmp_path / "trial_0" / "latest" / "epoch_000001").mkdir(parents=True)
    model_weights.save(
        tiny_models.build(HyperParameters()), run.directory, checkpoints.Checkpoint(1, score=2.0)
    )
    finish(coordinator, run, "FAILED", message="mine")
    assert not (tmp_path / "trial_0" / "latest").exists()
    assert not checkpoints.exists(run.directory)


def test_the_weights_are_on_the_disk_before_the_journal_tells_of_them(coordinator_in, monkeypatch):
    order = []
    monkeypatch.setattr(checkpoints, "force", order.append)
    end = Journal.end_execution
    monkeypatch.setattr(
        Journal, "end_execution", lambda *args: (order.append("written down"), end(*args))
    )
    coordinator = coordinator_in()
    run = coordinator.next_spec()
    coordinator.on_stopped(run, 1.0)
    assert order == [pathlib.Path(run.directory), "written down"]


def test_what_could_not_be_recorded_keeps_its_state(tmp_path):
    journal = FullDisk(tmp_path)
    journal.room = 2
    coordinator = coordinator_of(journal, tmp_path, 1, 4, ())
    run = coordinator.next_spec()
    state = tmp_path / "trial_0" / "latest" / "epoch_000001"
    state.mkdir(parents=True)
    finish(coordinator, run)
    assert isinstance(coordinator.error, StorageError)
    assert state.exists()
    journal.close()


def test_what_goes_on_says_which_epoch_the_journal_has(coordinator_in, tmp_path):
    coordinator = coordinator_in(max_trials=1)
    run = coordinator.next_spec()
    assert (run.last_epoch, run.initial_epoch) == (0, 0)
    coordinator.on_start(run)
    for epoch in (1, 2):
        coordinator.on_report(run, Report(epoch, {"score": 1.0}, {"x": run.values["x"]}, []))
    coordinator.on_lost(run, 1.0, "gone")
    assert coordinator.next_spec().last_epoch == 2
    trials = Journal(tmp_path).read().trials.values()
    again = coordinator_in(max_trials=1, restored=trials)
    again.resume()
    assert again.next_spec().last_epoch == 2


def test_what_a_trial_asked_for_is_known_though_the_script_died_before_its_end(
    coordinator_in, tmp_path, monkeypatch
):
    coordinator = coordinator_in(max_trials=1)
    run = coordinator.next_spec()
    coordinator.on_start(run)

    class DiedError(BaseException):
        pass

    def dies(*args):
        raise DiedError

    monkeypatch.setattr(Journal, "end_trial", dies)
    outcome, asked = Outcome("COMPLETED", 2.0, 1.0, 1), {**run.values, "late": 3}
    with pytest.raises(DiedError):
        coordinator.on_report(run, Report(1, {"score": 1.0}, asked, [Int("late", 1, 9)], outcome))
    monkeypatch.undo()
    again = coordinator_in(max_trials=1, restored=Journal(tmp_path).read().trials.values())
    again.resume()
    trial = again.oracle.trials["0"]
    assert (trial.status, trial.values["late"]) == ("COMPLETED", 3)
    assert Journal(tmp_path).read().trials["0"].values == trial.values


def test_a_failed_trial_leaves_no_execution_that_runs(coordinator_in, tmp_path):
    coordinator = coordinator_in(executions=2, max_trials=1)
    first, second = coordinator.next_spec(), coordinator.next_spec()
    for run in (first, second):
        coordinator.on_start(run)
    again = coordinator_in(
        executions=2, max_trials=1, restored=Journal(tmp_path).read().trials.values()
    )
    again.resume()
    finish(again, again.next_spec(), "FAILED", message="mine")
    for trial in (again.oracle.trials["0"], Journal(tmp_path).read().trials["0"]):
        assert trial.status == "FAILED"
        assert [each.status for each in trial.executions.values()] == ["FAILED", "STOPPED"]
