"""What a model is made of: equal for models that trace to equal graphs, and for no others."""

import functools
import operator
import types

import keras
import numpy as np
import pytest

from glimr_keras.training.fingerprint import fingerprint

layers = keras.layers
l2 = keras.regularizers.L2


@pytest.fixture(autouse=True)
def session():
    """Names of layers from the start, and settings as they were."""
    keras.backend.clear_session()
    yield
    keras.backend.clear_session()
    keras.config.set_dtype_policy("float32")


def compiled(hidden, optimizer=None, loss="mse", metrics=("mae",), **kwargs):
    """A model with some layers, ready to be trained."""
    inputs = keras.Input((4,))
    outputs = inputs
    for layer in hidden() if callable(hidden) else hidden:
        outputs = layer(outputs)
    return ready(keras.Model(inputs, outputs), optimizer, loss, metrics, **kwargs)


def ready(model, optimizer=None, loss="mse", metrics=("mae",), **kwargs):
    model.compile(optimizer or keras.optimizers.Adam(0.01), loss, metrics=list(metrics), **kwargs)
    x, y = np.ones((2, 4), "float32"), np.ones((2, 1), "float32")
    model._symbolic_build(data_batch=(x, y, None))
    return model


def usual():
    return [layers.Dense(3, activation="relu"), layers.Dropout(0.2), layers.Dense(1)]


def dense(**kwargs):
    return lambda: [layers.Dense(1, **kwargs)]


def key(model, *others):
    found = fingerprint(model, *others)
    return None if found is None else found.key


def adam(**kwargs):
    return lambda: keras.optimizers.Adam(0.01, **kwargs)


def made(hidden=usual, optimizer=None, **kwargs):
    keras.backend.clear_session()
    return compiled(hidden, optimizer and optimizer(), **kwargs)


def test_what_is_built_twice_is_equal_whatever_its_values_are():
    first, second = made(), made(optimizer=lambda: keras.optimizers.Adam(0.5))
    assert key(first) is not None
    assert key(first) == key(second)
    assert hash(key(first)) == hash(key(second))
    for one, other in zip(fingerprint(first).variables, fingerprint(second).variables, strict=True):
        assert (one.path, one.shape) == (other.path, other.shape)


def test_all_variables_are_found():
    model = made()
    found = set(map(id, fingerprint(model).variables))
    seeds = [each.state for layer in model.layers for each in layer._seed_generators]
    for variable in (
        *model.variables,
        *model.optimizer.variables,
        *model.metrics_variables,
        *seeds,
    ):
        assert id(variable) in found


def decay(rate):
    return lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.ExponentialDecay(0.1, 10, rate), momentum=0.9
    )


@pytest.mark.parametrize(
    ("hidden", "others"),
    [
        (usual, {"loss": "mae"}),
        (usual, {"metrics": ["mse"]}),
        (usual, {"metrics": [keras.metrics.MeanAbsoluteError(name="other")]}),
        (usual, {"weighted_metrics": ["mse"]}),
        (usual, {"loss_weights": 2.0}),
        (usual, {"loss": keras.losses.Huber(0.5)}),
        (usual, {"steps_per_execution": 2}),
        (usual, {"jit_compile": True}),
        (usual, {"optimizer": adam(beta_1=0.8)}),
        (usual, {"optimizer": adam(epsilon=1e-5)}),
        (usual, {"optimizer": adam(clipnorm=1.0)}),
        (usual, {"optimizer": adam(global_clipnorm=1.0)}),
        (usual, {"optimizer": adam(weight_decay=0.1)}),
        (usual, {"optimizer": adam(use_ema=True)}),
        (usual, {"optimizer": adam(loss_scale_factor=2.0)}),
        (usual, {"optimizer": adam(gradient_accumulation_steps=2)}),
        (usual, {"optimizer": lambda: keras.optimizers.SGD(0.01)}),
        (usual, {"optimizer": decay(0.9)}),
        (lambda: [layers.Dense(3), layers.Dropout(0.2), layers.Dense(1)], {}),
        (lambda: [layers.Dense(3, "relu"), layers.Dropout(0.3), layers.Dense(1)], {}),
        (lambda: [layers.Dense(3, "relu"), layers.Dropout(0.2), layers.Dense(2)], {}),
        (lambda: [layers.Dense(3, "relu", name="x"), layers.Dropout(0.2), layers.Dense(1)], {}),
    ],
)
def test_what_enters_the_graph_makes_another(hidden, others):
    assert key(made(hidden, **others)) not in (None, key(made()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (dense(kernel_regularizer=l2(0.1)), dense(kernel_regularizer=l2(0.2))),
        (dense(kernel_regularizer=l2(0.1)), dense(kernel_regularizer="l2")),
        (dense(kernel_constraint="non_neg"), dense(kernel_constraint="unit_norm")),
        (dense(dtype="mixed_bfloat16"), dense()),
        (
            lambda: [layers.BatchNormalization(momentum=0.9), layers.Dense(1)],
            lambda: [layers.BatchNormalization(momentum=0.8), layers.Dense(1)],
        ),
        (lambda: [layers.Activation("gelu"), layers.Dense(1)], lambda: [layers.Dense(1)]),
    ],
)
def test_constants_of_layers_make_another(one, other):
    keys = {key(made(one)), key(made(other))}
    assert len(keys) == 2
    assert None not in keys


def test_constants_of_a_schedule_make_another():
    assert key(made(optimizer=decay(0.9))) == key(made(optimizer=decay(0.9)))
    assert key(made(optimizer=decay(0.9))) != key(made(optimizer=decay(0.8)))


def test_frozen_layers_make_another_whenever_they_are_frozen():
    before, after, late = made(), made(), made()
    after.layers[1].trainable = False
    after.compile(keras.optimizers.Adam(0.01), "mse", metrics=["mae"])
    late.layers[1].trainable = False
    assert len({key(each) for each in (before, after, late)}) == 3


def wired(connect):
    keras.backend.clear_session()
    inputs = [keras.Input((2,)), keras.Input((2,))]
    parts = layers.Dense(2), layers.Dense(2), layers.Subtract(), layers.Dense(1)
    return ready_of_two(keras.Model(inputs, connect(inputs, *parts)))


def ready_of_two(model):
    model.compile("sgd", "mse")
    x = [np.ones((2, 2), "float32")] * 2
    model._symbolic_build(data_batch=(x, np.ones((2, 1), "float32"), None))
    return model


def test_how_layers_are_connected_makes_another():
    ways = [
        lambda given, a, b, minus, last: last(minus([a(given[0]), b(given[1])])),
        lambda given, a, b, minus, last: last(minus([b(given[1]), a(given[0])])),
        lambda given, a, b, minus, last: last(minus([a(given[1]), b(given[0])])),
        lambda given, a, b, minus, last: last(minus([a(given[0]), a(given[1])])),
    ]
    keys = [key(wired(way)) for way in ways]
    assert None not in keys
    assert len(set(keys)) == len(ways)
    assert keys == [key(wired(way)) for way in ways]


def test_arguments_of_calls_make_another():
    def build(training):
        keras.backend.clear_session()
        inputs = keras.Input((4,))
        hidden = layers.Dropout(0.5)(inputs, training=training)
        return ready(keras.Model(inputs, layers.Dense(1)(hidden)))

    assert len({key(build(each)) for each in (None, True, False)}) == 3


def test_values_of_constants_count_and_those_of_variables_do_not():
    def build(mean):
        return made(lambda: [layers.Normalization(mean=mean, variance=1.0), layers.Dense(1)])

    assert key(build(0.5)) == key(build(0.5))
    assert key(build(0.5)) != key(build(0.6))


def test_settings_and_labels_of_another_shape_make_another():
    model = made()
    assert key(model, {"epsilon": 1e-7}) != key(model, {"epsilon": 1e-5})
    assert key(model, {"a": True}) != key(model, {"a": 1})
    assert key(model, {"a": 0.0}) != key(model, {"a": -0.0})
    assert key(model, {"a": 1, "b": 2}) != key(model, {"b": 2, "a": 1})


def test_objects_that_are_shared_are_not_equal_to_two_that_are_alike():
    one, other = layers.Dropout(0.5, name="x"), layers.Dropout(0.5, name="x")
    assert key([one, one]) != key([one, other])


class Doubled(layers.Dense):
    """A layer of the user's own that its configuration does not show."""

    factor = 2.0

    def call(self, inputs):
        return self.factor * super().call(inputs)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.last = layers.Dense(1)

    def call(self, inputs):
        return self.last(inputs)


class OwnLoss(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_pred - y_true)


class OwnSchedule(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return 0.1


def own(x):
    return x


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))


def hooked():
    model = made()
    model.layers[1].call = functools.partial(own)
    return model


def with_step():
    model = made()
    model.train_step = types.MethodType(lambda self, data: {}, model)
    return model


def with_regularizer():
    model = made()
    model.layers[1].kernel.regularizer = lambda kernel: 0.0
    return model


def excluding():
    optimizer = keras.optimizers.AdamW(0.01)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    optimizer.exclude_from_weight_decay(var_list=[model.weights[1]])
    return ready(model, optimizer)


@pytest.mark.parametrize(
    "build",
    [
        lambda: made(lambda: [Doubled(1)]),
        lambda: ready(Own()),
        lambda: made(loss=OwnLoss()),
        lambda: made(loss=own_loss),
        lambda: made(metrics=[own_loss]),
        lambda: made(dense(activation=own)),
        lambda: made(dense(activation=lambda x: x)),
        lambda: made(lambda: [layers.Lambda(own), layers.Dense(1)]),
        lambda: made(optimizer=lambda: keras.optimizers.SGD(OwnSchedule())),
        lambda: made(optimizer=lambda: keras.optimizers.SGD(lambda: 0.1)),
        hooked,
        with_step,
        with_regularizer,
        excluding,
    ],
)
def test_what_has_code_of_the_users_has_no_fingerprint(build):
    assert fingerprint(build()) is None


def test_attributes_that_someone_set_count():
    one, other, unknown = made(), made(), made()
    other.layers[1].factor = 2
    unknown.layers[1].helper = object()
    assert len({key(one), key(other)}) == 2
    assert fingerprint(unknown) is None


def test_a_variable_in_a_loss_is_one_of_the_variables():
    def build(value):
        loss = keras.losses.MeanSquaredError()
        loss.factor = keras.Variable(value)
        return made(loss=loss)

    one, other = build(1.0), build(2.0)
    assert key(one) == key(other)
    assert id(one.loss.factor) in set(map(id, fingerprint(one).variables))


def test_classes_and_functions_that_someone_replaced_are_seen(monkeypatch):
    model = made()
    assert fingerprint(model) is not None
    with monkeypatch.context() as patched:
        patched.setattr(layers.Dense, "call", lambda self, inputs, training=None: inputs)
        assert fingerprint(model) is None
    with monkeypatch.context() as patched:
        patched.setattr(layers.Dropout, "compute_mask", lambda self, *_: None, raising=False)
        assert fingerprint(model) is None
    with monkeypatch.context() as patched:
        patched.setattr(keras.src.ops.nn, "relu", lambda x: x)
        assert fingerprint(model) is None
    with monkeypatch.context() as patched:
        patched.setattr(keras.optimizers.Adam, "factor", 2, raising=False)
        assert fingerprint(model) is None
    assert fingerprint(model) is not None


def test_a_deep_model_is_no_problem():
    deep = made(lambda: [*(layers.Dense(2) for _ in range(120)), layers.Dense(1)])
    assert len(fingerprint(deep).variables) > 700


def test_a_class_that_says_that_it_is_keras_own_is_not():
    kind = type("Dense", (layers.Dense,), {"__module__": layers.Dense.__module__})
    assert fingerprint(made(lambda: [kind(1)])) is None


def test_arrays_count_by_what_they_have():
    one = np.arange(4.0)
    assert key(one) == key(one.copy())
    assert key(one) != key(one.astype("float32"))
    assert key(one) != key(one.reshape(2, 2))
    assert key(one) != key(one[::-1])
    assert fingerprint(np.array([operator.add], object)) is None
