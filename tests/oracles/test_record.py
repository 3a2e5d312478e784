"""What an oracle knows, and what it writes."""

import itertools
import json

import pytest

import glimr_keras as gk
from glimr_keras.oracles import RandomSearchOracle, record
from glimr_keras.space.hp_types import Int
from tests.oracles.helpers import (
    MIN,
    SCORE,
    SPACE,
    continued_from,
    end,
    grid,
    oracle_of,
    random_search,
    run,
    run_by_hand,
)


def test_what_is_written_is_read_again(tmp_path):
    oracle = oracle_of()
    oracle._set_project_dir(tmp_path, "project")
    done, failed = run_by_hand(oracle), run_by_hand(oracle, status="FAILED")
    going_on = oracle.create_trial("a")
    state = json.loads((tmp_path / "project" / "oracle.json").read_text())
    assert (state["start_order"], state["end_order"], state["ongoing_trials"]) == (
        ["0", "1", "2"],
        ["0", "1"],
        {"a": "2"},
    )
    stored = json.loads((tmp_path / "project" / "trial_0" / "trial.json").read_text())
    assert (stored["score"], stored["status"]) == (done.score, "COMPLETED")
    again = oracle_of()
    again._set_project_dir(tmp_path, "project")
    again.reload()
    assert [trial.get_state() for trial in again.trials.values()] == [
        trial.get_state() for trial in (done, failed, going_on)
    ]
    assert again.create_trial("a").trial_id == "2"
    oracle.save(tmp_path / "own.json")
    assert json.loads((tmp_path / "own.json").read_text()) == state
    with pytest.raises(RuntimeError, match="no project's directory"):
        oracle_of().reload()


def test_what_was_tried_is_read_again(tmp_path):
    oracle = oracle_of()
    oracle._set_project_dir(tmp_path, "project")
    oracle._tried_so_far.add(oracle._compute_values_hash({"x": 200}))
    run_by_hand(oracle)
    again = oracle_of()
    again._set_project_dir(tmp_path, "project")
    again.reload()
    assert again._tried_so_far == oracle._tried_so_far
    assert again._id_to_hash == oracle._id_to_hash
    assert again._duplicate({"x": 200})
    assert again.get_state() == oracle.get_state()


def test_new_entries_are_searched_refused_or_left_alone():
    found = gk.HyperParameters()
    found.Int("y", 1, 9)
    searched, refuses = oracle_of(), oracle_of(allow_new_entries=False)
    searched.update_space(found)
    assert {parameter.name for parameter in searched.get_space().space} == {"x", "y"}
    with pytest.raises(RuntimeError, match="`allow_new_entries` is `False`, but found new entries"):
        refuses.update_space(found)
    leaves = oracle_of(tune_new_entries=False)
    leaves.update_space(found)
    assert {parameter.name for parameter in leaves.get_space().space} == {"x"}
    with pytest.raises(
        ValueError, match="If you set `tune_new_entries=False`, you must pass the search space"
    ):
        RandomSearchOracle(SCORE, 3, tune_new_entries=False)


# How often a search writes `oracle.json`, which grows with the trials


@pytest.fixture
def sizes(monkeypatch):
    """The number of trials in each `oracle.json` that is written."""
    written = []

    def write_json(path, content, is_forced):
        if path.name == "oracle.json":
            written.append(len(content["start_order"]))

    monkeypatch.setattr(record, "write_json", write_json)
    return written


class WithState(RandomSearchOracle):
    """Keeps something of its own in the file."""

    mine = 0

    def get_state(self):
        return {**super().get_state(), "mine": self.mine}

    def set_state(self, state):
        super().set_state(state)
        self.mine = state["mine"]


class WithCreation(RandomSearchOracle):
    def create_trial(self, tuner_id):
        return super().create_trial(tuner_id)


def search(oracle, directory, count):
    """Runs so many trials, as a search asks and tells."""
    oracle._set_project_dir(directory, "project")
    return [end(oracle, oracle.ask()) for _ in range(count)]


@pytest.mark.parametrize("kind", [RandomSearchOracle, WithCreation])
def test_all_that_a_search_writes_is_in_proportion_to_its_trials(kind, tmp_path, sizes):
    oracle = kind(MIN, None, 0, space=SPACE)
    search(oracle, tmp_path, 2000)
    assert sizes[0] == 1
    assert sum(sizes) < 20 * 2000
    assert len(sizes) < 150
    assert max(after / before for before, after in itertools.pairwise(sizes)) <= 2
    oracle.save(tmp_path / "oracle.json")  # as at the search's end
    assert sizes[-1] == 2000


@pytest.mark.parametrize("overridden", ["get_state", "set_state", "save"])
def test_a_state_of_ones_own_is_written_at_each_end(overridden, tmp_path, sizes):
    def own(self, *args):
        return getattr(RandomSearchOracle, overridden)(self, *args)

    kind = type("Own", (RandomSearchOracle,), {overridden: own})
    search(kind(MIN, None, 0, space=SPACE), tmp_path, 50)
    assert sizes == list(range(1, 51))


def test_a_loop_of_ones_own_writes_at_each_change(tmp_path, sizes):
    oracle = oracle_of(30)
    oracle._set_project_dir(tmp_path, "project")
    for _ in range(30):
        run_by_hand(oracle)
    assert sizes == [number for number in range(1, 31) for _ in ("created", "ended")]


@pytest.mark.parametrize("is_behind", [True, False])
def test_a_state_of_ones_own_comes_back_beside_what_the_journal_knows(tmp_path, is_behind):
    """After a kill the file may be behind the journal, or know a trial that is not in it."""
    killed, file = WithState(MIN, None, 0, space=SPACE), tmp_path / "project" / "oracle.json"
    killed.mine = 5
    search(killed, tmp_path, 2)
    behind = file.read_text()
    trials = [*killed.trials.values(), *search(killed, tmp_path, 1)]
    killed.ask()
    killed.save()
    if is_behind:
        file.write_text(behind)
    again = continued_from(trials, WithState(MIN, None, 0, space=SPACE))
    late = Int("late", 1, 3)
    again.update_space([late])
    again._set_project_dir(tmp_path, "project")
    again.restore_state()
    assert again.mine == 5
    assert again.start_order == again.end_order == ["0000", "0001", "0002"]
    assert again.ongoing_trials == {}
    assert late in again.hyperparameters.space
    assert again.ask().trial_id == "0003"


def test_a_file_that_is_behind_is_not_read_by_an_oracle_without_a_state_of_its_own(tmp_path):
    trials = search(random_search(), tmp_path, 30)
    again = continued_from(trials, random_search())
    again._set_project_dir(tmp_path, "project")
    again.restore_state()
    assert again.start_order == [trial.trial_id for trial in trials]


def test_looking_at_a_project_takes_in_its_trials_whichever_oracle_chose_them():
    oracle, other = grid(), random_search()
    run(other, 3)
    oracle.recall(MIN, other.space, other.trials, other.end_order)
    assert oracle.get_best_trials(3) == other.get_best_trials(3)
    assert (oracle.end_order, oracle.ongoing_trials) == (other.end_order, {})


def test_only_a_trial_that_has_ended_waits_for_the_disk(tmp_path, monkeypatch):
    forced = []
    monkeypatch.setattr(
        record, "write_json", lambda path, content, is_forced: forced.append((path.name, is_forced))
    )
    oracle = oracle_of(1)
    oracle._set_project_dir(tmp_path, "project")
    trial = oracle.create_trial("tuner0")
    oracle.update_trial(trial.trial_id, {"score": 1.0})
    of_trial = [is_forced for name, is_forced in forced if name == "trial.json"]
    assert of_trial == [False, False]
    trial.status = "COMPLETED"
    oracle.end_trial(trial)
    assert [is_forced for name, is_forced in forced if name == "trial.json"][-1]
