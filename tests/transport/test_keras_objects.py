"""Keras' objects that are sent: with what a script has put into them, and what cannot be."""

import functools
import random
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.errors import ShippingError
from glimr_keras.transport.serialization import LARGE, check_sendable, copied, pack, unpack
from tests import tiny_models

FACTOR = 3.0
X = np.linspace(-1, 1, 12, dtype="float32").reshape(2, 6)


def sent(value):
    """What arrives."""
    check_sendable(value, "value")
    packed = pack(value)
    return unpack(packed.content, packed.arrays)


def predicted(model, x=X):
    return np.asarray(model(x))


def same(model, other, x=X):
    np.testing.assert_allclose(predicted(model, x), predicted(other, x), rtol=1e-5)


class Twice(keras.layers.Layer):
    """Neither registered nor with a `get_config`, and without `**kwargs`."""

    def __init__(self, by=2.0):
        super().__init__()
        self.by = by

    def call(self, x):
        return x * self.by * FACTOR


class Scaled(keras.layers.Layer):
    """With a configuration, in which there is a function."""

    def __init__(self, units, function=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.function = units, keras.activations.get(function)

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1], self.units), initializer="glorot_uniform")

    def call(self, x):
        return self.function(keras.ops.matmul(x, self.scale))

    def get_config(self):
        function = keras.activations.serialize(self.function)
        return {**super().get_config(), "units": self.units, "function": function}


class Constant(keras.initializers.Initializer):
    def __init__(self, value=1.0):
        self.value = value

    def __call__(self, shape, dtype=None):
        return keras.ops.full(shape, self.value, dtype)


class Penalty(keras.regularizers.Regularizer):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, weights):
        return keras.ops.sum(keras.ops.abs(weights)) * self.rate


class Loss(keras.losses.Loss):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def call(self, y_true, y_pred):
        return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1) * self.weight


class Counted(keras.metrics.Metric):
    def __init__(self, step=1.0, name="counted"):
        super().__init__(name=name)
        self.step = step
        self.total = self.add_weight(name="total", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.total.assign_add(self.step)

    def result(self):
        return self.total + 0


class Slow(keras.optimizers.schedules.LearningRateSchedule):
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, step):
        return self.rate


class Descent(keras.optimizers.SGD):
    def __init__(self, *args, patience=1, **kwargs):
        super().__init__(*args, **kwargs)
        self.patience = patience


class Cell(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units))

    def call(self, inputs, states):
        output = keras.ops.matmul(inputs, self.kernel) + states[0]
        return output, [output]


class Wide(keras.layers.Layer):
    """Without a configuration for `*units`."""

    def __init__(self, *units):
        super().__init__()
        self.units = units
        self.parts = [keras.layers.Dense(number) for number in units]

    def build(self, shape):
        for part in self.parts:
            part.build(shape)

    def call(self, x):
        return keras.ops.concatenate([part(x) for part in self.parts], axis=-1)


class Net(keras.Model):
    """Made of another model and a function, without a configuration."""

    def __init__(self, inner, function, units=2):
        super().__init__()
        self.inner, self.function, self.units = inner, function, units
        self.last = keras.layers.Dense(units)

    def call(self, x):
        return self.last(self.function(self.inner(x)))


class Forgetful(keras.Model):
    """Does not remember an argument, nor tells of it."""

    def __init__(self, rate=0.1):
        super().__init__()
        self.hidden, self.dropout = keras.layers.Dense(3), keras.layers.Dropout(rate)

    def call(self, x):
        return self.dropout(self.hidden(x))


class OwnStep(keras.Model):
    """A functional model with a training step of its own."""

    def train_step(self, data):
        return {"loss": keras.ops.sum(data[0]) * 0 + 7.0}


def tripled(x):
    return x * FACTOR


def times(number):
    def function(x):
        return x * number

    return function


def distance(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(keras.ops.subtract(y_true, y_pred)), axis=-1)


def sequential(*layers):
    return keras.Sequential([keras.Input((6,)), *layers])


def own_step():
    inputs = keras.Input((6,))
    return OwnStep(inputs, Twice()(keras.layers.Dense(2)(inputs)))


MODELS = {
    "a layer without a configuration": lambda: sequential(Twice(5.0)),
    "a layer with a function": lambda: sequential(Scaled(2, tripled), Scaled(2)),
    "an activation": lambda: sequential(keras.layers.Dense(2, activation=tripled)),
    "activations of one name": lambda: sequential(
        keras.layers.Dense(2, activation=times(2.0)), keras.layers.Dense(2, activation=times(5.0))
    ),
    "a lambda as activation": lambda: sequential(
        keras.layers.Dense(2, activation=lambda x: x - FACTOR)
    ),
    "a lambda without source": lambda: sequential(
        keras.layers.Dense(2, activation=eval("lambda x: x + 1"))
    ),
    "lambda layers": lambda: sequential(
        keras.layers.Lambda(lambda x: x * FACTOR),
        keras.layers.Lambda(tripled),
        keras.layers.Lambda(functools.partial(lambda by, x: x * by, 4.0), output_shape=(6,)),
    ),
    "an initializer": lambda: sequential(keras.layers.Dense(2, kernel_initializer=Constant(0.5))),
    "a recurrent cell": lambda: sequential(
        keras.layers.Reshape((3, 2)), keras.layers.RNN(Cell(4)), keras.layers.Dense(1)
    ),
    "a layer in a layer": lambda: sequential(
        keras.layers.Reshape((3, 2)), keras.layers.TimeDistributed(Scaled(2, tripled))
    ),
    "a model in a model": lambda: sequential(sequential(Twice()), Twice()),
    "an operation of Keras as activation": lambda: sequential(
        keras.layers.Dense(2, activation=keras.ops.sin)
    ),
    "a class made of a model": lambda: Net(sequential(Twice()), tripled, units=3),
    "a class of functional models": own_step,
    "a layer with any number of arguments": lambda: sequential(Wide(2, 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_with_parts_of_the_scripts_own_arrive(name):
    model = MODELS[name]()
    predicted(model)
    arrived = sent(model)
    assert type(arrived) is type(model)
    assert arrived is not model
    same(arrived, model)
    assert [layer.name for layer in arrived.layers] == [layer.name for layer in model.layers]


def test_how_a_model_is_compiled_arrives():
    model = sequential(keras.layers.Dense(2, kernel_regularizer=Penalty(0.5)))
    metrics = [Counted(4.0), distance, lambda y_true, y_pred: keras.ops.max(y_pred)]
    model.compile(Descent(Slow(0.25), patience=9), Loss(3.0), metrics=metrics)
    arrived = sent(model)
    expected = model.evaluate(X, X[:, :2], verbose=0, return_dict=True)
    assert arrived.evaluate(X, X[:, :2], verbose=0, return_dict=True) == pytest.approx(expected)
    assert arrived.optimizer.patience == 9
    assert float(arrived.optimizer.learning_rate) == 0.25


@pytest.mark.parametrize(
    ("make", "look"),
    [
        (lambda: Loss(3.0), lambda loss: float(loss(X, X * 2))),
        (lambda: keras.losses.Huber(0.3), lambda loss: float(loss(X, X * 9))),
        (lambda: Counted(3.0), lambda metric: (metric.name, metric.step)),
        (lambda: keras.metrics.MeanMetricWrapper(distance), lambda metric: float(metric(X, -X))),
        (lambda: Descent(0.5, patience=3), lambda one: (one.patience, float(one.learning_rate))),
        (lambda: keras.optimizers.Adam(Slow(0.25)), lambda one: float(one.learning_rate)),
        (lambda: Twice(7.0), lambda layer: float(layer(X)[0, 0])),
    ],
)
def test_objects_of_their_own_arrive(make, look):
    one = make()
    expected = look(one)
    assert look(sent(make())) == expected


def test_what_was_set_later_arrives():
    layer = Twice(5.0)
    model = sequential(layer, keras.layers.Dense(2, name="frozen"), keras.layers.Dense(1))
    layer.by, model.get_layer("frozen").trainable = 7.0, False
    model.layers[-1].kernel.trainable = False
    arrived = sent(model)
    same(arrived, model)
    assert [part.trainable for part in arrived.layers] == [True, False, True]
    assert [weight.name for weight in arrived.trainable_weights] == ["bias"]


def test_a_model_that_was_trained_arrives_with_all_that_it_has_learnt():
    model = sequential(Twice(), keras.layers.BatchNormalization(), Scaled(2, tripled))
    model.compile("adam", Loss(1.0), metrics=["mae", Counted(2.0)])
    model.fit(X, X[:, :2], verbose=0)
    arrived = sent(model)
    for weight, other in zip(arrived.weights, model.weights, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (weight, other)))
    assert int(arrived.optimizer.iterations) == 1
    histories = [part.fit(X, X[:, :2], epochs=2, verbose=0).history for part in (model, arrived)]
    assert histories[1] == pytest.approx(histories[0])
    same(arrived, model)


def test_an_unbuilt_model_arrives_unbuilt():
    arrived = sent(keras.Sequential([Twice(), keras.layers.Dense(2, activation=tripled)]))
    assert not arrived.built
    assert predicted(arrived).shape == (2, 2)


def test_layers_that_models_share_are_shared_there():
    shared = keras.layers.Dense(2, activation=tripled)
    first, second = sequential(Twice(), shared), sequential(shared, Twice())
    first.compile("adam", Loss(2.0))
    first.fit(X, X[:, :2], verbose=0)
    tensor = first.outputs[0]
    arrived = sent({"tensor": tensor, "first": first, "second": second, "layer": shared})
    same(keras.Model(arrived["first"].inputs[0], arrived["tensor"]), first)
    assert arrived["first"].layers[-1] is arrived["second"].layers[0] is arrived["layer"]
    same(arrived["first"], first)
    same(arrived["second"], second)
    assert arrived["first"].evaluate(X, X[:, :2], verbose=0) == pytest.approx(
        first.evaluate(X, X[:, :2], verbose=0)
    )
    assert int(arrived["first"].optimizer.iterations) == 1
    losses = [
        model.fit(X, X[:, :2], epochs=3, verbose=0).history["loss"]
        for model in (first, arrived["first"])
    ]
    assert losses[1] == pytest.approx(losses[0])


def test_a_model_in_a_model_is_the_same_there():
    inner = sequential(Twice(), keras.layers.Dense(2))
    base = sequential(inner, keras.layers.Lambda(tripled))
    for arrived in (sent([base, inner]), sent([inner, base])[::-1], copied([base, inner])):
        assert arrived[0].layers[0] is arrived[1]
        same(arrived[0], base)
        same(arrived[1], inner)


def test_a_layer_in_a_model_of_the_scripts_own_class_is_the_same_there():
    net = Net(sequential(Twice()), tripled)
    predicted(net)
    arrived, inner, last = sent([net, net.inner, net.last])
    assert arrived.inner is inner
    assert arrived.last is last


def test_tensors_connected_by_layers_of_the_scripts_own_arrive():
    inputs = keras.Input((6,))
    hidden = Scaled(3, tripled)(Twice()(inputs))
    model = OwnStep(inputs, hidden)
    model.compile("sgd", Loss(1.0))
    arrived, tensor = sent([model, hidden])
    assert arrived.outputs[0] is tensor
    same(arrived, model)
    assert arrived.train_on_batch(X, X[:, :3]) == pytest.approx(7.0)


def test_large_weights_are_left_out_of_the_pickle_and_are_not_changed_in_place():
    table = np.arange(LARGE // 2, dtype="float32").reshape(-1, 128)
    embedding = keras.layers.Embedding(
        *table.shape, embeddings_initializer=keras.initializers.Constant(table)
    )
    dense = sequential(keras.layers.Dense(LARGE // 16, use_bias=False))
    packed = pack([embedding, dense])
    assert len(packed.content) < LARGE / 10
    before = [array.copy() for array in packed.arrays]
    for array in packed.arrays:
        array.flags.writeable = False
    arrived, dense_there = unpack(packed.content, packed.arrays)
    np.testing.assert_array_equal(np.asarray(arrived(np.array([7])))[0], table[7])
    same(dense_there, dense)
    dense_there.compile("sgd", "mse")
    dense_there.fit(X, np.zeros((2, LARGE // 16)), verbose=0)
    for array, unchanged in zip(packed.arrays, before, strict=True):
        np.testing.assert_array_equal(array, unchanged)


def test_what_layers_have_adapted_arrives():
    words = keras.layers.StringLookup()
    words.adapt(np.array(["b", "a", "b"]))
    normal = keras.layers.Normalization()
    normal.adapt(X)
    space = keras.utils.FeatureSpace({"size": "float_normalized"}, output_mode="concat")
    space.adapt(tf.data.Dataset.from_tensor_slices({"size": [1.0, 2.0, 3.0]}))
    arrived, normal_there, space_there = sent([words, normal, space])
    sizes = {"size": [[2.0], [3.0]]}
    np.testing.assert_allclose(space_there(sizes), space(sizes), rtol=1e-6)
    assert np.asarray(arrived(np.array(["b", "a", "?"]))).tolist() == [1, 2, 0]
    same(normal_there, normal)


class Opaque(keras.layers.Layer):
    def __init__(self, factors):
        super().__init__()
        self.kept = list(factors)

    def call(self, x):
        return x * self.kept[0]


class Wrong(Scaled):
    def get_config(self):
        return {"name": self.name}


class Block(keras.layers.Layer):
    """Does not tell of an argument that is a function."""

    def __init__(self, units=2, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.units, self.activation = units, keras.activations.get(activation)

    def call(self, x):
        return self.activation(x - 0.5)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Applied(Block):
    """As it is given."""

    def __init__(self, units=2, *, activation=keras.ops.relu, **kwargs):
        super().__init__(units, **kwargs)
        self.activation = activation


class Renamed(keras.layers.Layer):
    """Has an argument of which it does not tell under another name."""

    def __init__(self, function=None, **kwargs):
        super().__init__(**kwargs)
        self.kept = keras.activations.get(function)

    def call(self, x):
        return self.kept(x)

    def get_config(self):
        return {**super().get_config()}


class Made(keras.layers.Layer):
    """Makes what it needs in its constructor."""

    def __init__(self, by=2.0, **kwargs):
        super().__init__(**kwargs)
        self.by, self.function, self.loss = by, lambda x: x * by, keras.losses.Huber(by)
        self.again = lambda x: self.function(x) + 0

    def call(self, x):
        self.last = x
        return self.again(x)

    def get_config(self):
        return {**super().get_config(), "by": self.by}


@pytest.mark.parametrize("activation", ["tanh", tripled, keras.ops.sin])
def test_an_argument_that_a_configuration_leaves_out_arrives(activation):
    given = keras.activations.get(activation)
    model = sequential(Block(8, activation), Block(), Applied(activation=given), Applied())
    arrived = sent(model)
    same(arrived, model)
    assert arrived.layers[1].activation is keras.activations.relu
    assert arrived.layers[3].activation is keras.ops.relu
    for layer, other in zip(arrived.layers, model.layers, strict=True):
        same(layer, other)


def test_a_model_that_has_trained_is_no_other_for_that():
    model = sequential(keras.layers.Dense(2))
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    same(sent(model), model)


class Rest(keras.layers.Layer):
    """Keeps whatever else it is given under the names of its parameters."""

    def __init__(self, by, **kwargs):
        super().__init__(**kwargs)
        self.by, self.kwargs = by, kwargs

    def call(self, x):
        return x * self.by


class Several(keras.layers.Layer):
    """Likewise, of what has no names."""

    def __init__(self, *sizes):
        super().__init__()
        self.sizes = sizes

    def call(self, x):
        return x * sum(self.sizes)

    def get_config(self):
        return {"all": self.sizes}

    @classmethod
    def from_config(cls, config):
        return cls(*config.pop("all"), **config)


class Leaves(keras.layers.Layer):
    """Has what its calls leave, in containers."""

    def call(self, x):
        self.maps, self.by_name = [x, (x, None)], {"x": x, "more": [{"y": x}]}
        return x


def test_what_takes_the_rest_is_no_argument():
    model = sequential(Rest(2.0, name="a"), Several(3, 4), Rest(by=2.0), keras.layers.Dense(2))
    arrived = sent(model)
    same(arrived, model)
    assert (arrived.layers[1].sizes, arrived.layers[0].kwargs) == ((3, 4), {"name": "a"})


def test_tensors_that_calls_leave_in_containers_are_no_part_of_a_model():
    model = keras.Sequential([Leaves(), keras.layers.Dense(2)])
    predicted(model)
    model.layers[0].trained_with = [keras.callbacks.History()]
    same(sent(model), model)


def test_what_a_constructor_makes_arrives():
    model = sequential(Made(3.0), keras.layers.Dense(2))
    predicted(model)
    arrived = sent(model)
    same(arrived, model)
    assert type(arrived.layers[0].loss) is keras.losses.Huber


def test_what_a_script_has_set_on_objects_of_keras_arrives():
    shared = keras.layers.Dense(2)
    base, step = sequential(shared), own_step()
    base.class_names, shared.kept, step.rate = ["a", "b"], {"c": 1}, 0.5
    hidden = base.outputs[0]
    for arrived in (sent([base, step]), sent([base, step, hidden]), copied([base, step])):
        assert arrived[0].class_names == ["a", "b"]
        assert arrived[0].layers[0].kept == {"c": 1}
        assert arrived[1].rate == 0.5
        same(arrived[0], base)


def later(make, **attributes):
    def made():
        model = make()
        for name, value in attributes.items():
            setattr(model, name, value)
        return model

    return made


class Unlike(Scaled):
    @classmethod
    def from_config(cls, config):
        return cls(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sequential(Opaque(np.ones(1))), "is a Sequential.*Received: .*Opaque.*get_config"),
        (
            lambda: sequential(Forgetful(0.7)),
            r"Keras cannot make again.*a `get_config\(\)`.*of your own in it: Forgetful\. .*"
            "'dropout.*' had rate=0.7, and has 0.1",
        ),
        (lambda: sequential(Unlike(4)), "of your own in it: Unlike.*shape"),
        (lambda: sequential(Renamed("tanh")), "Renamed.*had kept=tanh, and has linear"),
        (later(own_step, loss_fn=distance), "the OwnStep .* had loss_fn=distance, and has None"),
        (
            later(lambda: sequential(keras.layers.Dense(2)), lock=threading.Lock()),
            "the Sequential .* had lock=.*lock.*, and has None",
        ),
    ],
)
def test_what_cannot_be_made_again_is_refused_by_name_in_the_driver(make, message):
    base = make()
    predicted(base)

    def build(config):
        return base

    with pytest.raises(ShippingError, match=rf"(?s)hypermodel's variable `base`.*{message}"):
        check_sendable(build, "hypermodel")


def test_what_cannot_be_pickled_in_a_keras_object_is_named():
    lock, base = threading.Lock(), sequential(keras.layers.Dense(2))

    def guarded(y_true, y_pred):
        return distance(y_true, y_pred) + (lock is None)

    base.compile("sgd", guarded)

    def build(config):
        return base

    with pytest.raises(ShippingError, match=r"variable `base`'s guarded's variable `lock` is a lo"):
        check_sendable(build, "hypermodel")
    base.compile("sgd", Loss(lock))
    with pytest.raises(ShippingError, match=r"variable `base`'s Loss\.weight is a lock"):
        check_sendable(build, "hypermodel")


def test_looking_changes_nothing_of_this_process():
    model = sequential(Scaled(3, tripled))
    model.compile("adam", Loss(1.0))
    drawn = random.getstate()
    assert not Scaled.__annotations__  # which Python makes when they are first asked for
    registry, kinds = dict(keras.saving.get_custom_objects()), dict(vars(Scaled))
    number, drawn_by_numpy = keras.backend.get_uid("dense"), np.random.get_state()[1].tolist()
    check_sendable(model, "model")
    pack(model)
    assert copied([model])[0] is not model
    assert keras.backend.get_uid("dense") == number + 1
    assert random.getstate() == drawn
    assert np.random.get_state()[1].tolist() == drawn_by_numpy
    assert keras.saving.get_custom_objects() == registry
    assert dict(vars(Scaled)) == kinds
    assert keras.saving.get_registered_name(tripled) == "tripled"


def of_a_script():
    """What a script has at its top, of classes that workers cannot import."""
    factor = 3.0

    class Multiplied(keras.layers.Layer):
        def call(self, x):
            return x * factor

    @keras.saving.register_keras_serializable("script")
    class Registered(Multiplied):
        pass

    def loss(y_true, y_pred):
        return keras.ops.mean(y_pred, axis=-1) * 0 + factor

    inner = sequential(Multiplied(), Registered())
    hidden = keras.layers.Dense(4, activation=lambda x: x + factor)
    base = sequential(inner, keras.layers.Lambda(lambda x: x / factor), hidden)
    return base, inner, Registered, loss


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_objects_of_the_script_are_used_in_trials_on_ray(local_ray, project):
    search_with_objects_of_a_script(project, "ray")


def test_objects_of_the_script_are_used_in_trials_inline(project):
    search_with_objects_of_a_script(project, "inline")


def search_with_objects_of_a_script(project, executor):
    base, inner, kind, loss = of_a_script()
    expected = predicted(base, tiny_models.X)[:2]
    frozen, metric = keras.layers.Dense(1, name="frozen"), Counted(3.0)
    frozen.build((None, 4))
    start = keras.ops.convert_to_numpy(frozen.kernel)

    def build(config):
        config.Float("unused", 0.0, 1.0)
        np.testing.assert_allclose(predicted(base, tiny_models.X)[:2], expected, rtol=1e-4)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(frozen.kernel), start)
        assert keras.saving.get_registered_object("script>Registered") is kind
        assert keras.saving.get_registered_name(kind) == "script>Registered"
        assert base.layers[0] is inner
        assert type(keras.models.clone_model(inner).layers[1]) is type(inner.layers[1]) is kind
        model = keras.Sequential([base, frozen])
        found, of_scope = map(keras.saving.get_registered_object, ("by_name", "of_the_scope"))
        model.compile("sgd", found, metrics=[metric, of_scope], run_eagerly=True)
        return model

    keras.saving.get_custom_objects()["by_name"] = loss
    tuner = gk.RandomSearch(
        build, "val_loss", max_trials=2, executor=executor, max_concurrent_trials=2, **project
    )
    try:
        with keras.saving.custom_object_scope({"of_the_scope": distance}):
            tuner.search(*tiny_models.TRAIN, validation_data=tiny_models.VALIDATION, verbose=0)
    finally:
        for name in ("by_name", "script>Registered"):
            del keras.saving.get_custom_objects()[name]
    trials = tuner.oracle.get_best_trials(2)
    assert [trial.score for trial in trials] == pytest.approx([3.0, 3.0])
    assert all({"val_distance", "val_counted"} <= set(trial.metrics.metrics) for trial in trials)
