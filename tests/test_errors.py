"""The errors' family tree, hints at a known name, and tracebacks as the user's own."""

import inspect
import pathlib
import traceback

import pytest

import glimr_keras
from glimr_keras import errors
from glimr_keras.errors import did_you_mean, user_traceback
from glimr_keras.models.hypermodel import HyperModel
from glimr_keras.space.hyperparameters import HyperParameters

PACKAGE = pathlib.Path(glimr_keras.__file__).parent


def run_as(filename, call):
    """Calls `call` from a file of that name, and returns the error that it raises."""
    frame = {}
    exec(compile("def run(call):\n    call()\n", str(filename), "exec"), frame)
    try:
        frame["run"](call)
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def fails():
    raise KeyError("units")


# The tree


@pytest.mark.parametrize(
    ("error", "parents"),
    [
        (errors.FailedTrialError, [Exception]),
        (errors.FatalError, [Exception]),
        (errors.FatalValueError, [errors.FatalError, ValueError]),
        (errors.FatalTypeError, [errors.FatalError, TypeError]),
        (errors.FatalRuntimeError, [errors.FatalError, RuntimeError]),
        (errors.ModelError, [ValueError]),
        (errors.ObjectiveError, [ValueError]),
        (errors.ProjectError, [ValueError]),
        (errors.ResourcesError, [ValueError]),
        (errors.ShippingError, [errors.FatalValueError, TypeError]),
        (errors.SearchError, [RuntimeError]),
    ],
)
def test_every_error_is_also_the_builtin_that_fits(error, parents):
    assert list(error.__bases__) == parents
    assert error.__doc__


def test_the_tree_in_the_docstring_names_every_error():
    defined = [
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, Exception)
    ]
    assert defined
    assert [name for name in defined if name not in errors.__doc__] == []


def test_a_failed_trial_does_not_stop_the_search():
    assert not issubclass(errors.FailedTrialError, errors.FatalError)


# Hints


def test_the_nearest_known_name_is_suggested():
    assert did_you_mean("val_acuracy", ["loss", "val_accuracy"]) == " Did you mean 'val_accuracy'?"
    assert did_you_mean("unit", {"units": 4}) == " Did you mean 'units'?"


@pytest.mark.parametrize("known", [[], ["loss"]])
def test_nothing_is_suggested_where_nothing_is_near(known):
    assert did_you_mean("val_accuracy", known) == ""


# Tracebacks


def test_a_traceback_shows_the_users_frames_and_not_ours():
    text = user_traceback(run_as("train.py", lambda: HyperModel().build(HyperParameters())))
    assert 'File "train.py", line 2, in run' in text
    assert "glimr_keras/hypermodel.py" not in text
    assert text.endswith(
        "NotImplementedError: HyperModel must override `build(config)` and return a compiled Keras "
        "model.\n"
    )


def test_frames_between_the_users_own_are_hidden_too():
    text = user_traceback(run_as("train.py", lambda: HyperModel().fit(None, Model())))
    assert "in run" in text
    assert "in fit\n" in text  # that of the user's model
    assert str(PACKAGE) not in text


class Model:
    """Fails in the user's own code, called by ours."""

    def fit(self):
        fails()


def test_every_package_that_is_named_is_hidden():
    error = run_as(pathlib.Path(pytest.__file__).parent / "inside.py", fails)
    assert "inside.py" in user_traceback(error)
    assert "inside.py" not in user_traceback(error, hidden=("pytest",))
    assert "inside.py" in user_traceback(error, hidden=("no_such_package",))


@pytest.mark.parametrize("beside", ["glimr_keras_examples/train.py", "glimr_keras.py"])
def test_a_file_beside_the_package_is_the_users_own(beside):
    assert pathlib.Path(beside).name in user_traceback(run_as(PACKAGE.parent / beside, fails))


def test_causes_are_shown_with_their_frames_hidden_likewise():
    def fails_again():
        try:
            HyperModel().build(HyperParameters())
        except NotImplementedError as error:
            raise ValueError("outer") from error

    text = user_traceback(run_as("train.py", fails_again))
    assert "direct cause" in text
    assert "NotImplementedError: HyperModel must override" in text
    assert "ValueError: outer" in text
    assert "glimr_keras/hypermodel.py" not in text


def test_an_error_that_was_raised_from_none_hides_its_context():
    def fails_again():
        try:
            fails()
        except KeyError:
            raise ValueError("outer") from None

    text = user_traceback(run_as("train.py", fails_again))
    assert "ValueError: outer" in text
    assert "KeyError" not in text


def test_where_every_frame_is_ours_only_the_error_is_left():
    namespace = {}
    code = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    error = e\n"
    exec(compile(code, str(PACKAGE / "worker.py"), "exec"), namespace)
    assert user_traceback(namespace["error"]) == "ZeroDivisionError: division by zero\n"


# Notes


@pytest.mark.parametrize("has_notes", [True, False])
def test_a_note_is_shown_below_an_error(has_notes):
    class Old(ValueError):
        """As in Python 3.10, without notes."""

        add_note = property()

    error = ValueError("wrong", 3) if has_notes else Old("wrong", 3)
    errors.add_note(error, "Do this.")
    shown = "".join(traceback.format_exception(error))
    assert shown.count("Do this.") == 1
    assert shown.count("wrong") == 1
    assert error.args[-1] == 3
