"""What driver and worker say to each other."""

from glimr_keras.training.messages import ExecutionSpec


def test_a_run_is_known_by_its_trial_and_execution():
    assert ExecutionSpec("0003", 1, {}, (0,), "place").key == ("0003", 1)
