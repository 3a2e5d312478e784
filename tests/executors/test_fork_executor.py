"""Searches that begin in forks of the script's process; each script is a process of its own, in
which nothing has computed.
"""

import json
import subprocess
import sys
import time

import psutil
import pytest

from tests.script_environment import ROOT, script_environment

DONE = "COMPLETED"


@pytest.fixture
def run(tmp_path, ray_files):
    """Runs a scenario of `fork_scripts`, and returns what it found."""

    def run(scenario, **environment):
        command = [sys.executable, "-m", "tests.executors.fork_scripts", scenario, str(tmp_path)]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=script_environment(ray_files, **environment),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads((tmp_path / "found.json").read_text("utf-8"))

    return run


def processes(environment_variable, value):
    """The processes whose environment has a variable."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(environment_variable) == value:
                found.append(process)
        except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def without(table, *names):
    return {name: values for name, values in table.items() if name not in names}


def test_what_comes_of_a_search_does_not_depend_on_where_its_trials_run(run):
    """The same trials with the same scores to the last bit, in forks, continued, and on Ray, also
    where what is proposed depends on them; and the script is as it was, with nothing left.
    """
    found = run("same")
    assert found["forks"]["units"] == [2, 3, 4]
    assert found["forks"]["status"] == [DONE] * 3
    assert not found["forks"]["ray"] and not found["forks"]["left"]
    where = ("worker", "ray", "left")
    assert without(found["continued"], *where) == without(found["ray"], *where)
    assert found["continued"]["units"] == [2, 3, 4, 5]
    for kind in ("BayesianOptimization", "Hyperband"):
        here, there = found[f"{kind}-auto"], found[f"{kind}-ray"]
        assert without(here, *where) == without(there, *where)
        assert set(here["status"]) == {DONE}
        assert not here["ray"] and there["ray"]
    assert found["is_same"] and not found["begun"]
    assert found["handled"] == 1
    assert found["written"] == "once\n"


def test_large_arrays_are_shared_and_cannot_be_written_to(run):
    """Each is at the beginning of a page, so that TensorFlow reads it where it is."""
    found = run("large")
    assert found["forks"]["status"] == [DONE] * 2
    assert found["seen"] == ["SharedArray False 0"]


def test_a_lost_process_is_one_execution_of_one_trial(run):
    """Whether it is killed, leaves a process that has what it had, or ends amid a message: another
    goes on with its trial. One that is lost each time fails, and says where and of what.
    """
    found = run("lost")
    scores = found["dies"]["score"]
    assert len(set(scores)) == 4
    for name in ("dies", "dies_with_child", "dies_in_message"):
        assert found[name]["status"] == [DONE] * 4
        assert found[name]["score"] == scores
        assert not found[name]["ray"] and not found[name]["left"]
    always = found["always"]
    assert always["status"] == [DONE, "FAILED", DONE, DONE]
    assert always["score"] == [scores[0], None, *scores[2:]]
    message = always["message"][1]
    assert "lost in `data`, in `build` or before the end of the first epoch" in message
    assert "Its process ended with exit code 5.\nits last words" in message


def test_what_the_script_has_is_none_of_its_trials(run):
    """Files that it reads, handlers of its logs, what it does at its end; and what a trial spawns
    does not run it again.
    """
    found = run("world")
    assert found["forks"]["status"] == [DONE] * 4
    assert found["wrong"] == []
    assert found["exits"] == 2
    assert found["ends"] == 0
    assert found["logged"] == 1
    assert found["imported"] == ["__main__"]


def test_threads_and_connections_of_the_script(run):
    """OpenMP's threads are ended before a fork, which then can use OpenMP; a script that is
    connected to something is not forked.
    """
    found = run("threads")
    assert found["forks"]["status"] == [DONE] * 2
    assert not found["forks"]["ray"]
    assert found["not connected"] and not found["connected"]


def test_a_failed_training_is_tried_again_by_another_worker(run):
    found = run("again")["forks"]
    assert found["status"] == [DONE] * 2
    assert not found["ray"] and not found["left"]


def test_standard_streams_that_are_closed(tmp_path, ray_files):
    command = f"{sys.executable} -m tests.executors.fork_scripts again {tmp_path} <&- >&- 2>&-"
    subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=script_environment(ray_files),
        timeout=300,
        check=True,
    )
    found = json.loads((tmp_path / "found.json").read_text("utf-8"))["forks"]
    assert found["status"] == [DONE] * 2
    assert not found["ray"]


def test_trainings_are_ended_as_on_ray(run):
    """One that hangs beyond the limit of its time, those that a stopper stops, and a search whose
    time is over, for which no Ray is started.
    """
    found = run("ended")
    hangs = found["hangs"]
    assert hangs["status"] == [DONE, "FAILED", DONE, DONE]
    assert "No epoch was over within `trial_time_limit_s=5`" in hangs["message"][1]
    assert found["epochs"] == [2, 2, 2, 2]
    assert set(found["stopped"]["status"]) <= {DONE, "STOPPED"}
    budget = found["budget"]
    assert 0 < len(budget["status"]) < 1000
    for name in ("hangs", "stopped", "budget"):
        assert not found[name]["ray"] and not found[name]["left"]


@pytest.mark.slow
def test_a_look_that_fails_or_dies(run):
    """The user's error is said; of a default that ends the process, another configuration is
    looked at; and where a fork does not come to compute, the search is on Ray.
    """
    found = run("looks")
    assert "OSError: as it was told to" in found["fails"]
    assert found["dies"]["units"] == [3, 4]
    assert found["dies"]["status"] == [DONE] * 2
    assert "died while it ran `data` and `build`" in found["always"]
    assert not found["dies"]["ray"] and not found["dies"]["left"]
    assert found["hangs"]["status"] == [DONE] * 2
    assert found["hangs"]["ray"]


@pytest.mark.slow
def test_a_process_that_cannot_be_forked_searches_on_ray(run):
    found = run("no_fork")
    assert found["no process"]["status"] == [DONE] * 2
    assert found["no process"]["ray"]
    assert found["may_fork"] == {
        "at first": True,
        "with a thread": False,
        "without it": True,
        "computed": False,
    }


@pytest.mark.slow
def test_ray_takes_over_what_is_left_of_a_long_search(run):
    """And the search is as it would be without; where Ray cannot be started, too."""
    found = run("hand_over")
    fails, rest = found["fails"], found["rest"]
    assert fails["status"] == rest["status"] == [DONE] * 8
    assert fails["units"] == rest["units"] == list(range(2, 10))
    assert not fails["ray"] and not fails["left"]
    assert rest["ray"]
    assert len(set(rest["worker"])) == 4  # two forks and two of Ray's workers
    assert found["second"]["score"] == rest["score"][:3]


@pytest.mark.slow
def test_ray_takes_over_no_search_whose_time_is_over(run):
    found = run("limited")["limited"]
    assert 0 < len(found["status"]) < 60
    assert len(set(found["worker"])) <= 2  # the forks


def test_ctrl_c_leaves_nothing(run):
    """Also in the moment after a fork, when the script's handler must not run in the new process;
    and the search goes on afterwards.
    """
    found = run("interrupted")
    assert found["left"] == [[], []]
    assert set(found["handled"]) == {found["driver"]}
    assert found["goes_on"]["status"] == [DONE] * 4


def test_a_killed_script_leaves_nothing(tmp_path, ray_files):
    script = subprocess.Popen(
        [sys.executable, "-m", "tests.executors.fork_scripts", "killed", str(tmp_path)],
        cwd=ROOT,
        env=script_environment(ray_files),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    notes = [tmp_path / f"did-{units}" for units in (3, 4)]
    until = time.monotonic() + 120
    while not all(note.exists() and note.read_text("utf-8") for note in notes):
        assert time.monotonic() < until and script.poll() is None
        time.sleep(0.05)
    assert (
        len(processes("RAY_TMPDIR", ray_files)) >= 4
    )  # the script, what it forks with, two trials
    script.kill()
    script.wait()
    until = time.monotonic() + 20
    while processes("RAY_TMPDIR", ray_files):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_on_jax(run):
    pytest.importorskip("jax")
    found = run("lost", KERAS_BACKEND="jax")
    assert found["dies"]["status"] == [DONE] * 4
    assert not found["always"]["ray"]
