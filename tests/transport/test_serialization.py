"""What can be sent to a worker, and how what cannot is named."""

import threading

import keras
import numpy as np
import pandas as pd
import pytest

from glimr_keras.errors import ShippingError
from glimr_keras.models.hypermodel import FunctionHyperModel, HyperModel
from glimr_keras.transport.serialization import LARGE, check_sendable, copied, pack, unpack


class Holder(HyperModel):
    """Holds what it is given."""

    def __init__(self, x):
        self.x = x


class WithState:
    """Decides itself what of it is pickled."""

    def __init__(self):
        self.lock = threading.Lock()

    def __getstate__(self):
        return {}


def function_with(variable):
    def build(config):
        return variable

    return build


def class_with(variable):
    """A class as a script defines it, which is pickled by value."""

    class Local(HyperModel):
        guard = variable

        def build(self, config):
            return None

    return Local()


def hypermodel_using(variable):
    class Local(HyperModel):
        def build(self, config):
            return variable

    return Local()


@pytest.mark.parametrize(
    "value",
    [
        None,
        Holder({"a": [1, {"b": (2, "c")}]}),
        Holder(np.zeros(3)),
        Holder(lambda: 1),
        Holder(WithState()),
        FunctionHyperModel(function_with(1)),
        hypermodel_using([1]),
        [Holder(1), Holder(2)],
    ],
)
def test_what_can_be_pickled_can_be_sent(value):
    check_sendable(value, "hypermodel")


@pytest.mark.parametrize(
    ("hold", "path"),
    [
        (Holder, r"hypermodel\.x"),
        (lambda lock: Holder({"a": {"b": lock}}), r"hypermodel\.x\['a'\]\['b'\]"),
        (lambda lock: Holder([1, lock]), r"hypermodel\.x\[1\]"),
        (lambda lock: Holder((1, [lock])), r"hypermodel\.x\[1\]\[0\]"),
        (lambda lock: Holder(Holder(lock)), r"hypermodel\.x\.x"),
        (lambda lock: Holder(function_with(lock)), r"hypermodel\.x's variable `variable`"),
        (
            lambda lock: FunctionHyperModel(function_with({"a": lock})),
            r"hypermodel's variable `variable`\['a'\]",
        ),
        (hypermodel_using, r"hypermodel\.build's variable `variable`"),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_place(hold, path):
    with pytest.raises(
        ShippingError,
        match=rf"cannot be pickled: {path} is a lock\. Create it inside `data\(config\)`",
    ):
        check_sendable(hold(threading.Lock()), "hypermodel")


def test_a_class_attribute_that_cannot_be_sent_is_named():
    with pytest.raises(ShippingError, match=r"hypermodel\.guard is a lock"):
        check_sendable(class_with(threading.Lock()), "hypermodel")


def test_a_part_that_cannot_be_looked_into_is_named_as_a_whole():
    with pytest.raises(
        ShippingError, match=r"hypermodel\.x is a set\. .*Received: cannot pickle '_thread\.lock'"
    ):
        check_sendable(Holder({threading.Lock()}), "hypermodel")


def test_a_generator_is_named_as_one():
    with pytest.raises(
        ShippingError,
        match=r"`callbacks` must be sent to worker processes.*callbacks\[0\]\.x is a generator",
    ):
        check_sendable([Holder(i for i in range(3))], "callbacks")


def test_parts_that_hold_each_other_are_looked_at_once():
    one, two = Holder(None), Holder(None)
    one.x, two.x, two.lock = two, one, threading.Lock()
    with pytest.raises(ShippingError, match=r"hypermodel\.x\.lock is a lock"):
        check_sendable(one, "hypermodel")


def test_what_can_be_pickled_and_not_unpickled_is_named_in_the_driver():
    class Settings:
        def __init__(self, values):
            self.values = values

        def __getattr__(self, name):
            return self.values[name]

    class Refused(Exception):
        def __init__(self, code, text):
            super().__init__(text)

    settings = Settings({"a": 1})
    with pytest.raises(
        ShippingError,
        match=r"hypermodel\.x\['s'\] is a Settings that can be pickled and not unpickled.*"
        r"__getattr__.*Received: RecursionError",
    ):
        check_sendable(Holder({"s": settings}), "hypermodel")
    with pytest.raises(ShippingError, match=r"variable `variable` is a Refused.*TypeError"):
        check_sendable(function_with(Refused(1, "text")), "hypermodel")
    assert settings.a == 1


def test_the_check_changes_nothing():
    holder = Holder([1, threading.Lock()])
    before = dict(vars(holder))
    with pytest.raises(ShippingError):
        check_sendable(holder, "hypermodel")
    assert vars(holder) == before


# Large arrays


LARGE_ARRAY = np.arange(LARGE // 4, dtype="float32")


def test_large_arrays_are_left_out_wherever_they_are_and_once_each():
    def function():
        return LARGE_ARRAY

    frame = pd.DataFrame({"a": LARGE_ARRAY, "b": LARGE_ARRAY})
    serialized_object = pack(
        (
            [LARGE_ARRAY, {"again": LARGE_ARRAY}],
            Holder(LARGE_ARRAY),
            function_with(LARGE_ARRAY),
            frame,
        )
    )
    assert serialized_object.arrays[0] is LARGE_ARRAY
    assert sum(array is LARGE_ARRAY for array in serialized_object.arrays) == 1
    assert sum(array.nbytes for array in serialized_object.arrays) == 3 * LARGE
    assert len(serialized_object.content) < LARGE / 10
    (first, again), holder, build, received = unpack(
        serialized_object.content, serialized_object.arrays
    )
    assert first is again["again"] is holder.x is build(None) is LARGE_ARRAY
    pd.testing.assert_frame_equal(received, frame)


@pytest.mark.parametrize(
    "array",
    [np.zeros(3), np.zeros(LARGE - 1, "uint8"), np.array([{}] * LARGE, object), np.ma.zeros(3)],
)
def test_other_arrays_are_pickled(array):
    serialized_object = pack([array])
    assert serialized_object.arrays == ()
    assert type(unpack(serialized_object.content, ())[0]) is type(array)


def test_what_is_unpacked_is_a_fresh_copy_each_time():
    serialized_object = pack(Holder([1]))
    one, two = (unpack(serialized_object.content, ()) for _ in range(2))
    one.x.append(2)
    assert two.x == [1]


def test_symbolic_tensors_arrive_connected_with_their_weights():
    first, second = keras.Input((3,)), keras.Input((2,))
    hidden = keras.layers.Dense(4, name="hidden")(first)
    joined = keras.layers.Concatenate()([hidden, second])
    other = keras.layers.Dense(2)(keras.Input((1,)))

    def build(config):
        return keras.Model(
            [first, second], [keras.layers.Dense(1, kernel_initializer="ones")(joined), hidden]
        ), other

    serialized_object = pack(build)
    model, elsewhere = unpack(serialized_object.content, serialized_object.arrays)(None)
    inputs = [np.ones((5, 3), "float32"), np.ones((5, 2), "float32")]
    expected = [np.asarray(values) for values in build(None)[0](inputs)]
    for values, wanted in zip(model(inputs), expected, strict=True):
        np.testing.assert_allclose(np.asarray(values), wanted, rtol=1e-6)
    assert elsewhere.shape == (None, 2)
    assert model.get_layer("hidden") is not build(None)[0].get_layer("hidden")


def test_layers_and_models_that_symbolic_tensors_were_made_by_arrive_as_the_same():
    inner = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="inner")], name="nested"
    )
    inputs = keras.Input((3,), name="first")
    base = keras.Model(
        {"first": inputs}, keras.layers.Dense(5, name="last")(inner(inputs)), name="base"
    )
    sequences = keras.layers.Bidirectional(keras.layers.LSTM(2))
    top, apart = base.output, keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    encoded = sequences(keras.layers.Reshape((5, 1))(top))

    def build(config):
        return (
            keras.Model(base.input, keras.layers.Dense(1)(encoded)),
            base,
            inner,
            inner.layers[-1],
            sequences,
            apart,
        )

    serialized_object = pack(build)
    model, base_there, inner_there, dense, sequences_there, apart_there = unpack(
        serialized_object.content, serialized_object.arrays
    )(None)
    assert inner_there is base_there.get_layer("nested") is model.get_layer("nested") is not inner
    assert dense is inner_there.layers[-1]
    assert sequences_there is model.get_layer(sequences.name)
    assert (base_there.name, apart_there.output_shape) == ("base", (None, 1))
    batch = {"first": np.ones((2, 3), "float32")}
    np.testing.assert_allclose(np.asarray(base_there(batch)), np.asarray(base(batch)), rtol=1e-6)
    inner_there.trainable = False
    assert len(model.trainable_weights) == len(build(None)[0].trainable_weights) - 2


def test_a_copy_for_this_process_has_the_same_classes_with_their_variables():
    variable, large = [], np.zeros(LARGE, "uint8")
    tensor = keras.layers.Dense(2)(keras.Input((3,)))
    original = hypermodel_using(variable)
    original.parts = {"small": [1], "large": large, "tensor": tensor, "kind": type(original)}
    found = copied(original)
    assert found is not original
    assert type(found) is type(original) is found.parts["kind"]
    assert found.build(None) is original.build(None) is variable
    assert found.parts["small"] is not original.parts["small"]
    assert found.parts["large"] is large
    assert found.parts["tensor"] is tensor


def test_a_sequential_that_symbolic_tensors_were_made_of_stays_one_and_compiled():
    base = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(2, name="b")]
    )
    base.compile("sgd", "mse", metrics=["mae"])
    hidden = keras.layers.Dense(1, kernel_initializer="ones")(base.outputs[0])
    serialized_object = pack([base, hidden])
    base_there, hidden_there = unpack(serialized_object.content, serialized_object.arrays)
    assert [layer.name for layer in base_there.layers] == ["a", "b"]
    assert type(base_there) is keras.Sequential
    x = np.ones((2, 3), "float32")
    np.testing.assert_allclose(
        base_there.evaluate(x, x[:, :2], verbose=0),
        base.evaluate(x, x[:, :2], verbose=0),
        rtol=1e-5,
    )
    model = keras.Model(base_there.inputs[0], hidden_there)
    assert model.get_layer("a") is base_there.layers[0]
    np.testing.assert_allclose(
        np.asarray(model(x))[:, 0], np.asarray(base(x)).sum(axis=1), rtol=1e-5
    )


def test_a_copy_for_this_process_has_the_models_that_its_symbolic_tensors_were_made_by():
    base = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    found = copied([base.outputs[0], base, other])
    assert [
        there is here for there, here in zip(found, [base.outputs[0], base, other], strict=True)
    ] == [True, True, False]
