"""Want of memory is told apart from other errors, with what helps."""

import keras
import pytest

import glimr_keras as gk
from glimr_keras.space.hyperparameters import HyperParameters
from glimr_keras.training.out_of_memory import advice, is_out_of_memory
from tests import tiny_models


class OutOfMemoryError(RuntimeError):
    """Stands for PyTorch's."""


def of_tensorflow(message="OOM when allocating tensor"):
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError(None, None, message)


def chained():
    error = RuntimeError("the training failed")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        of_tensorflow(),
        OutOfMemoryError("CUDA"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        chained(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_that_say_so_are_known(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        RuntimeError("no such room"),
        KeyError("OOM"),
        of_tensorflow("/runs/a.index; No space left on device"),
        of_tensorflow("/runs/a.index; Disk quota exceeded"),
        of_tensorflow("/data/b.tfrecord; Too many open files"),
    ],
)
def test_other_errors_are_not_meant(error):
    assert not is_out_of_memory(error)


def test_what_helps_is_said_in_one_line():
    model = tiny_models.build(HyperParameters())
    values = {"units": 4096, "rate": 0.5, "bias": True, "layers/depth": 9}
    said = advice(model, values, gpus=0)
    assert f"the model of {model.count_params()} parameters" in said
    assert "(units, layers/depth)" in said
    for name in ("`batch_size`", "`max_model_size`", "`max_concurrent_trials=1`"):
        assert name in said
    assert "\n" not in said
    assert "max_model_size" not in advice(None, {}, gpus=0)


@pytest.mark.parametrize(
    ("gpus", "texts"),
    [
        (0, ["did not fit. ", "`max_concurrent_trials=1`"]),
        (0.25, ["into 0.25 of a GPU's memory", "mixed_bfloat16", "a smaller `trials_per_gpu`"]),
        (2, ["into the GPU's memory", "mixed_bfloat16", "a larger GPU"]),
    ],
)
def test_what_helps_depends_on_the_share_of_a_gpu(gpus, texts):
    said = advice(None, {}, gpus)
    assert all(text in said for text in texts)
    assert ("mixed_bfloat16" in said) == (gpus > 0)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_a_trial_without_memory_says_what_helps(local_ray, project):
    class Large(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise of_tensorflow() if self.model.layers[0].units > 8 else ValueError("small")

    def build(config):
        hidden = keras.layers.Dense(config.Choice("units", [4, 16]))
        layers = [keras.Input((6,)), hidden, keras.layers.Dense(2, "softmax")]
        return tiny_models.compiled(keras.Sequential(layers))

    tuner = gk.GridSearch(
        build, "val_loss", callbacks=[Large()], max_concurrent_trials=2, **project
    )
    fit = {"validation_data": tiny_models.VALIDATION, "verbose": 0}
    tuner.search(*tiny_models.TRAIN, **fit)
    messages = {
        trial.values["units"]: trial.message for trial in tuner._glimr.read().trials.values()
    }
    assert messages[16].splitlines()[-1].startswith("Out of memory: the model of ")
    assert "ResourceExhaustedError" in messages[16]
    assert messages[4].splitlines()[-1] == "ValueError: small"
