"""Models that train by the graphs of equal ones: to the bit as they would by their own."""

import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from glimr_keras.training import held_graphs, keras_session, tf_kernels
from glimr_keras.training.keras_session import Session
from glimr_keras.training.user_callbacks import knows

layers, optimizers = keras.layers, keras.optimizers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X.sum(axis=1) > 0).astype("float32")[:, None]
IMAGES = RNG.normal(size=(40, 6, 6, 1)).astype("float32")
WORDS = RNG.integers(0, 9, size=(40, 5))


@pytest.fixture(autouse=True)
def worker(monkeypatch):
    """A process that is taken for a worker, and holds no graphs."""
    monkeypatch.setattr(keras_session, "is_worker", lambda: True)
    held_graphs.forget()
    yield
    held_graphs.forget()
    keras.config.set_dtype_policy("float32")
    keras.config.set_epsilon(1e-7)


def compiled(hidden, optimizer=None, loss="binary_crossentropy", **kwargs):
    model = keras.Sequential([*hidden, layers.Dense(1, activation="sigmoid")])
    kwargs = {"metrics": ["accuracy"], **kwargs}
    model.compile(optimizer or optimizers.Adam(0.01), loss, **kwargs)
    return model


def dense(config):
    return compiled(
        [keras.Input((6,)), layers.Dense(4, activation="relu"), layers.Dropout(0.3)],
        optimizers.Adam(config["rate"]),
    )


def convolutional(config):
    schedule = optimizers.schedules.ExponentialDecay(0.1, 3, 0.9)
    hidden = [layers.Conv2D(2, 3), layers.BatchNormalization(), layers.Flatten()]
    return compiled(
        [keras.Input((6, 6, 1)), *hidden], optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    )


def recurrent(config):
    optimizer = optimizers.AdamW(config["rate"], use_ema=True, ema_overwrite_frequency=2)
    hidden = [layers.Embedding(9, 3, mask_zero=True), layers.LSTM(3, dropout=0.2)]
    return compiled([keras.Input((5,)), *hidden], optimizer, metrics=[keras.metrics.AUC()])


def normalized(config):
    normalization = layers.Normalization()
    normalization.adapt(X)
    return compiled([keras.Input((6,)), normalization, layers.GaussianNoise(0.1)])


def frozen(config):
    model = compiled([keras.Input((6,)), layers.Dense(4), layers.BatchNormalization()])
    model.layers[0].trainable = False
    optimizer = optimizers.Adam(config["rate"], clipnorm=1.0, gradient_accumulation_steps=2)
    model.compile(optimizer, "mse", weighted_metrics=["mae"], steps_per_execution=2)
    return model


def of_two(config):
    inputs = keras.Input((6,))
    shared = layers.Dense(3, kernel_regularizer="l2")
    outputs = {
        "a": layers.Dense(1, name="a")(shared(inputs)),
        "b": layers.Dense(1, name="b")(shared(layers.Rescaling(2.0)(inputs))),
    }
    model = keras.Model(inputs, outputs)
    model.compile("rmsprop", {"a": "mse", "b": "mae"}, loss_weights={"a": 1.0, "b": 0.5})
    return model


def mixed(config):
    keras.config.set_dtype_policy("mixed_float16")
    return dense(config)


def train(build, number, holds=True, x=X, y=Y, callbacks=(), change=None, **kwargs):
    """Train a model as a trial does, and return what came of it, and whether by a held graph.

    Args:
        number: Of the trial; seeds and learning rate depend on it.
        holds: Whether graphs are held and used.
        change: Called with the model before it trains.
    """
    kwargs = {"epochs": 2, "batch_size": 16, "verbose": 0, **kwargs}
    with Session.current().fresh(number):
        model = build({"rate": 0.01 * number})
        size = kwargs["batch_size"]
        first = keras.tree.map_structure(lambda part: part[:size], (x, y))
        model._symbolic_build(data_batch=(*first, None))
        if change is not None:
            change(model)
        given = [make() for make in callbacks]
        if holds:
            with held_graphs.lent_to(model, given, knows) as is_used:
                history = model.fit(x, y, callbacks=given, **kwargs)
            used = is_used()
        else:
            history, used = model.fit(x, y, callbacks=given, **kwargs), False
        variables = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
        said = [getattr(callback, "said", None) for callback in given]
        values = [np.asarray(variable) for variable in variables]
        return (repr(history.history), said, [v.tobytes() for v in values]), used, model


def same_with_and_without(build, trials=2, uses=None, **kwargs):
    """Check that trials come out as they do without held graphs, and which of them use some."""
    alone = [train(build, number, holds=False, **kwargs)[0] for number in range(1, trials + 1)]
    held_graphs.forget()
    found = [train(build, number, **kwargs)[:2] for number in range(1, trials + 1)]
    assert [result for result, _ in found] == alone
    expected = [False] + [True] * (trials - 1) if uses is None else uses
    assert [used for _, used in found] == expected


VALIDATED = {"validation_data": (X[:20], Y[:20])}


@pytest.mark.parametrize(
    ("build", "x", "y"),
    [
        (dense, X, Y),
        (convolutional, IMAGES, Y),
        (recurrent, WORDS, Y),
        (normalized, X, Y),
        (frozen, X, Y),
        (of_two, X, {"a": Y, "b": Y}),
        (mixed, X, Y),
    ],
)
def test_results_are_the_same_to_the_bit(build, x, y):
    halves = keras.tree.map_structure(lambda part: part[:20], (x, y))
    trials = 4 if build is dense else 2  # the third finds kernels that were kept
    same_with_and_without(build, trials, x=x, y=y, validation_data=halves)


@pytest.mark.parametrize(
    "given",
    [
        {"sample_weight": np.linspace(0, 1, 40), **VALIDATED},
        {"class_weight": {0: 1.0, 1: 3.0}, **VALIDATED},
        {"validation_split": 0.3, "batch_size": 7},
        {"batch_size": 20, "shuffle": False},
        {"batch_size": 16, "shuffle": "batch", "validation_batch_size": 5, **VALIDATED},
        {"steps_per_epoch": 2, "batch_size": 8, "epochs": 2, **VALIDATED},
    ],
)
def test_however_the_data_are_given(given):
    same_with_and_without(dense, **given)


class Rates(keras.callbacks.Callback):
    """Another learning rate in each epoch, by the user's own code."""

    def on_epoch_begin(self, epoch, logs=None):
        self.model.optimizer.learning_rate = 0.1 / (epoch + 1)


class Looks(keras.callbacks.Callback):
    """Evaluates on other data at the end of epochs, and looks at each batch."""

    def __init__(self):
        super().__init__()
        self.said = []

    def on_train_batch_end(self, batch, logs=None):
        self.said.append(sorted((name, float(value)) for name, value in logs.items()))

    def on_epoch_end(self, epoch, logs=None):
        self.said.append(self.model.evaluate(X[:9], Y[:9], batch_size=9, verbose=0))
        self.said.append(self.model.predict(X[:3], verbose=0).tobytes())


class Early(Looks):
    """Evaluates before Keras does."""

    def on_train_begin(self, logs=None):
        self.on_epoch_end(0)


@pytest.mark.parametrize(
    "callbacks",
    [
        [lambda: keras.callbacks.EarlyStopping("loss", patience=0, restore_best_weights=True)],
        [lambda: keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=9.0)],
        [lambda: keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)],
        [lambda: keras.callbacks.SwapEMAWeights(swap_on_epoch=True)],
        [Rates],
        [Looks, Rates],
    ],
)
def test_callbacks_do_what_they_do(callbacks):
    build = recurrent if "Swap" in repr(callbacks[0]()) else dense
    x = WORDS if build is recurrent else X
    data = {"x": x, "validation_data": (x[:20], Y[:20])}
    same_with_and_without(build, callbacks=callbacks, **data)


def test_who_evaluates_other_data_first_does_so_by_a_graph_of_its_own():
    same_with_and_without(dense, callbacks=[Early], **VALIDATED)


class Freezes(keras.callbacks.Callback):
    """Changes the model before it is traced."""

    def on_train_begin(self, logs=None):
        self.model.layers[1].rate = 0.9
        self.model.layers[0].trainable = False


class FreezesLate(keras.callbacks.Callback):
    """Changes it when training is traced, and evaluation is not."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.layers[0].activation = keras.activations.tanh


class CompilesAnew(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            self.model.compile(optimizers.SGD(0.5), "mse", metrics=["mae"])
            self.model.make_train_function()


@pytest.mark.parametrize(
    ("callback", "uses"),
    [(Freezes, [False, False]), (FreezesLate, [False, True]), (CompilesAnew, [False, True])],
)
def test_a_callback_that_changes_the_model_is_heard(callback, uses):
    same_with_and_without(dense, 2, uses, callbacks=[callback], **VALIDATED)


def test_a_callback_that_changes_the_second_model_only_is_heard():
    def result(holds):
        train(dense, 1, holds)
        return [
            train(dense, 2, holds, callbacks=callbacks, **VALIDATED)[0]
            for callbacks in ([Freezes], [FreezesLate], [Looks], [])
        ]

    assert result(True) == result(False)


class Scaled(layers.Dense):
    """Reads a variable of the script when it is traced."""

    factor = 1.0

    def call(self, inputs):
        return super().call(inputs) * Scaled.factor


def test_code_of_the_users_is_traced_each_time():
    def build(config):
        Scaled.factor = config["rate"]
        return compiled([keras.Input((6,)), Scaled(3)])

    same_with_and_without(build, 2, [False, False])


def test_constants_that_differ_are_not_those_of_another():
    def build(config):
        layer = layers.Dense(3, kernel_regularizer=keras.regularizers.L2(config["rate"]))
        return compiled([keras.Input((6,)), layer])

    same_with_and_without(build, 2, [False, False])


def test_settings_that_a_trace_takes_in_count():
    def build(config):
        keras.config.set_epsilon(config["rate"] / 100)
        return dense({"rate": 0.1})

    same_with_and_without(build, 2, [False, False])


def test_weights_that_were_loaded_and_slots_that_are_not_zero_are_kept():
    def change(model):
        for variable in (*model.weights, *model.optimizer.variables):
            if keras.backend.is_float_dtype(variable.dtype):
                variable.assign(np.abs(variable) + 0.01)
        model.optimizer.iterations.assign(5)

    same_with_and_without(dense, change=change)


def test_a_variable_of_a_loss_has_the_value_of_its_own_model():
    def build(config):
        loss = keras.losses.BinaryCrossentropy()
        loss.factor = keras.Variable(config["rate"])
        return compiled([keras.Input((6,)), layers.Dense(2)], loss=loss)

    same_with_and_without(build)


def test_what_is_kept_of_a_model_is_not_that_of_the_next():
    results, models = [], []
    for number in (1, 2, 3):
        result, used, model = train(dense, number)
        results.append((result, model.get_weights(), model.predict(X, verbose=0)))
        models.append(model)
        assert used == (number > 1)
    for (_, weights, predicted), model in zip(results, models, strict=True):
        for one, other in zip(weights, model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(predicted, model.predict(X, verbose=0))
        model.fit(X, Y, verbose=0)
        model.evaluate(X, Y, verbose=0)


def test_no_model_and_no_variable_is_held():
    _, _, model = train(dense, 1)
    gone = [weakref.ref(model), *(weakref.ref(each.value) for each in model.variables)]
    handle = weakref.ref(model.variables[0].value.handle)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert [ref() for ref in (*gone, handle)] == [None] * (len(gone) + 1)
    assert train(dense, 2)[1]


def sized(units):
    return lambda config: compiled([keras.Input((6,)), layers.Dense(units)])


def test_four_kinds_of_models_are_held_and_the_one_of_longest_ago_goes():
    for units in range(1, 5):
        assert not train(sized(units), 1, epochs=1)[1]
    assert train(sized(1), 2, epochs=1)[1]
    assert not train(sized(5), 1, epochs=1)[1]
    assert train(sized(1), 3, epochs=1)[1]
    assert not train(sized(2), 2, epochs=1)[1]
    assert len(held_graphs._held) == 4


class Fails(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise RuntimeError("mine")


def test_nothing_is_held_after_an_error():
    train(dense, 1)
    with pytest.raises(RuntimeError, match="mine"):
        train(dense, 2, callbacks=[Fails])
    assert not train(dense, 3)[1]


def test_labels_that_do_not_fit_are_an_error_all_the_same():
    train(dense, 1)
    with pytest.raises(ValueError, match="shape"):
        train(dense, 2, y=np.ones((40, 3), "float32"))


def test_only_workers_hold_graphs(monkeypatch):
    monkeypatch.setattr(keras_session, "is_worker", lambda: False)
    assert [train(dense, number)[1] for number in (1, 2)] == [False, False]


def test_eager_steps_and_functions_of_the_users_own_are_left_alone():
    def eager(model):
        model.run_eagerly = True

    def own(model):
        model.train_function = lambda iterator: {"loss": float(len(next(iterator)))}

    for change in (eager, own):
        held_graphs.forget()
        same_with_and_without(dense, 2, [False, False], change=change)


def test_random_numbers_of_the_users_are_those_of_each_trial(monkeypatch):
    """Also where the kernels that drew them are kept."""

    def build(config):
        drawn.append(float(tf.random.normal(())))
        return dense(config)

    drawn = []
    for number in (1, 2, 3, 3, 4):
        train(build, number, epochs=1)
    assert tf_kernels.pays
    kept, drawn = drawn, []
    for number in (1, 2, 3, 3, 4):
        train(build, number, holds=False, epochs=1)
    assert kept == drawn
    assert len(set(drawn)) == 4
