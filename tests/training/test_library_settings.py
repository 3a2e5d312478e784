"""Global settings of Keras and other libraries: read, written, and the same afterwards."""

import pickle
import sys
import threading
import types
import warnings

import keras
import matplotlib
import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import sklearn
import tensorflow as tf
from ray import cloudpickle

from glimr_keras.training import library_settings
from glimr_keras.training.keras_session import Session


@pytest.fixture(autouse=True)
def left_as_it_was():
    before = library_settings.current()
    yield
    keras.backend.clear_session(free_memory=False)
    library_settings.apply(before)
    matplotlib.rcParams.update(matplotlib.rcParamsDefault)


CHANGES = {
    "floatx": lambda: keras.config.set_floatx("float64"),
    "epsilon": lambda: keras.config.set_epsilon(1e-3),
    "image_data_format": lambda: keras.config.set_image_data_format("channels_first"),
    "dtype_policy": lambda: keras.config.set_dtype_policy("mixed_bfloat16"),
    "max_epochs": lambda: keras.config.set_max_epochs(3),
    "max_steps_per_epoch": lambda: keras.config.set_max_steps_per_epoch(2),
    "interactive_logging": keras.config.disable_interactive_logging,
    "traceback_filtering": keras.config.disable_traceback_filtering,
    "flash_attention": keras.config.disable_flash_attention,
    "unsafe_deserialization": keras.config.enable_unsafe_deserialization,
    "tensorflow: functions run eagerly": lambda: tf.config.run_functions_eagerly(True),
    "tensorflow: deterministic operations": tf.config.experimental.enable_op_determinism,
    "tensorflow: TensorFloat-32": lambda: tf.config.experimental.enable_tensor_float_32_execution(
        False
    ),
    "tensorflow: soft device placement": lambda: tf.config.set_soft_device_placement(False),
    "tensorflow: XLA": lambda: tf.config.optimizer.set_jit(True),
    "tensorflow: checks of numbers": tf.debugging.enable_check_numerics,
    "tensorflow: data in debug mode": tf.data.experimental.enable_debug_mode,
    "numpy: errors of numbers": lambda: np.seterr(all="raise"),
    "sklearn": lambda: sklearn.set_config(transform_output="pandas"),
    "matplotlib": lambda: matplotlib.rcParams.update({"lines.linewidth": 9}),
    "PIL: images that are cut off": lambda: setattr(PIL.ImageFile, "LOAD_TRUNCATED_IMAGES", True),
    "PIL: largest image": lambda: setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.filterwarnings("ignore:.*debug mode.*")
def test_a_setting_is_read_sent_and_written(name):
    before = library_settings.current()
    CHANGES[name]()
    changed = library_settings.current()
    assert {other for other in changed if changed[other] != before[other]} == {name}
    sent = pickle.loads(cloudpickle.dumps(changed))
    keras.backend.clear_session(free_memory=False)
    library_settings.apply(before)
    assert library_settings.current() == before
    library_settings.apply(sent)
    assert library_settings.current() == changed


def test_nothing_of_this_version_is_missing():
    of_libraries = {
        name
        for name, setting in library_settings.SETTINGS.items()
        if setting.library in sys.modules
    }
    assert set(library_settings.current()) == of_libraries
    in_keras = {name for name in dir(keras.config) if name.startswith(("set_", "enable_"))}
    known = {
        function
        for name in library_settings.SETTINGS
        for function in (f"set_{name}", f"enable_{name}")
    }
    assert in_keras - known == {"set_backend"}  # which a process chooses once


@pytest.fixture
def said_anew(monkeypatch):
    monkeypatch.setattr(library_settings, "_said", set())
    return monkeypatch


@pytest.mark.filterwarnings("default:A setting of the script")
@pytest.mark.parametrize("mistake", [ModuleNotFoundError, KeyError, TypeError])
def test_what_a_machine_does_not_have_is_said_once_and_the_others_are_set(said_anew, mistake):
    names = list(library_settings.SETTINGS)
    place = names.index("epsilon")

    def write(module, value):
        raise mistake("not here")

    broken = library_settings.Setting("keras", lambda keras: None, write)
    gone = library_settings.Setting("no.such.library", lambda module: None, write)
    settings = dict(library_settings.SETTINGS)
    changed = {**library_settings.current(), "floatx": 7, "gone": 1, "epsilon": 1e-3}
    said_anew.setattr(
        library_settings,
        "SETTINGS",
        {"floatx": broken, "gone": gone, **dict(list(settings.items())[place:])},
    )
    with pytest.warns(UserWarning, match="A setting of the script") as said:
        library_settings.apply(changed)
        with Session("tensorflow", changed).fresh():
            assert keras.config.epsilon() == 1e-3
    assert [
        each for each in ("floatx", "gone") for one in said if f": {each} (" in str(one.message)
    ] == ["floatx", "gone"]


@pytest.mark.filterwarnings("error")
def test_filters_of_the_script_make_no_error_of_what_a_machine_does_not_have(said_anew, recwarn):
    library_settings.apply({"matplotlib": {"no.such": 1, "lines.linewidth": 5.0}})
    assert matplotlib.rcParams["lines.linewidth"] == 5.0
    assert "matplotlib (AttributeError: this version does not have no.such" in str(
        recwarn[0].message
    )


def test_an_older_sklearn_has_fewer_settings(said_anew):
    had = {"assume_finite": False, "transform_output": "default"}
    older = types.SimpleNamespace(
        get_config=lambda: dict(had), set_config=lambda **values: had.update(values)
    )
    said_anew.setitem(sys.modules, "sklearn", older)
    assert library_settings.current()["sklearn"] == had
    library_settings.apply({"sklearn": {"assume_finite": True, "enable_metadata_routing": False}})
    assert had == {"assume_finite": True, "transform_output": "default"}


def test_a_library_that_cannot_be_read_does_not_matter(said_anew):
    def fails():
        raise KeyError("of another version")

    said_anew.setattr(sklearn, "get_config", fails)
    assert "sklearn" not in library_settings.current()
    assert "epsilon" in library_settings.current()


def test_reading_and_writing_starts_no_device():
    """After which threads could not be set; asked in a thread, as a worker does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        library_settings.apply(library_settings.current())


def test_settings_of_one_thread_are_given_to_another():
    keras.config.disable_interactive_logging()
    np.seterr(all="raise")
    session, seen = Session.current(), []

    def look():
        with session.fresh():
            seen.append((keras.config.is_interactive_logging_enabled(), np.geterr()["over"]))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [(False, "raise")]


def test_what_a_trial_changes_is_not_left_to_the_next():
    with Session.current().fresh():
        keras.config.set_epsilon(0.5)
        tf.config.run_functions_eagerly(True)
        keras.config.enable_unsafe_deserialization()
    assert keras.config.epsilon() == 1e-7
    assert not tf.config.functions_run_eagerly()
    assert library_settings.current()["unsafe_deserialization"] is False


def test_a_distribution_is_sent_too():
    devices = keras.distribution.list_devices()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    sent = pickle.loads(cloudpickle.dumps(library_settings.current()))
    keras.distribution.set_distribution(None)
    library_settings.apply(sent)
    mesh = keras.distribution.distribution().device_mesh
    assert list(mesh.devices.flatten()) == devices
