"""Hypermodels of images, beside KerasTuner's: the same spaces and networks, without its faults."""

import copy
import functools
import inspect
import socket
import warnings

import cloudpickle
import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras import applications
from glimr_keras.applications import (
    HyperEfficientNet,
    HyperImageAugment,
    HyperResNet,
    HyperXception,
)
from glimr_keras.applications.augment import RandomTransform
from glimr_keras.applications.images import copy_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its imports warn of
    import keras_tuner
    import keras_tuner.applications
    from keras_tuner.src.applications import efficientnet as keras_tuner_efficientnet

SHAPE = (32, 32, 3)
IMAGES = np.random.default_rng(0).uniform(0, 255, (4, *SHAPE)).astype("float32")
LABELS = np.eye(3, dtype="float32")[[0, 1, 2, 0]]

HYPERMODELS = {
    "resnet": functools.partial(HyperResNet, classes=3),
    "xception": functools.partial(HyperXception, classes=3),
    "efficientnet": functools.partial(HyperEfficientNet, classes=3),
    "augment": HyperImageAugment,
}
SMALL = {
    "conv2d_num_filters": 32,
    "sep_num_filters": 128,
    "num_residual_blocks": 2,
}  # a HyperXception that is built fast


@pytest.fixture(autouse=True)
def without_network(monkeypatch):
    """Whatever connects to anything fails."""

    def refuse(self, address):
        raise AssertionError(f"the network is used: {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


def built(hypermodel, **values):
    return hypermodel.build(gk.HyperParameters(values))


def trained_on_one_batch(model):
    model.run_eagerly = True  # tracing such networks takes longer than a batch
    return model.train_on_batch(IMAGES, LABELS)


def kernels(model):
    return [weight.shape for weight in model.weights]


def space_of(config):
    """A space in the form that KerasTuner's and ours have in common: `default=None` there means the
    first or lowest value.
    """

    def facts(parameter):
        kept = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in parameter["config"].items()
        }
        if kept["default"] is None:
            kept["default"] = kept["values"][0] if "values" in kept else kept["min_value"]
        if set(kept.get("values", ())) == {False, True}:
            kept.pop("ordered")  # it knows no booleans here, and makes them 1 and 0
        return parameter["class_name"], kept

    return [facts(parameter) for parameter in config["space"]]


# Beside KerasTuner's


@pytest.mark.parametrize("name", applications.__all__)
def test_signatures_begin_as_those_of_keras_tuner(name):
    theirs = inspect.signature(getattr(keras_tuner.applications, name)).parameters
    ours = inspect.signature(getattr(applications, name)).parameters
    added = {"weights"} if name == "HyperEfficientNet" else set()
    assert [(n, p.default, p.kind) for n, p in ours.items() if n not in added] == [
        (n, p.default, p.kind) for n, p in theirs.items()
    ]
    assert set(ours) - set(theirs) == added


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("HyperResNet", {"classes": 3}),
        ("HyperResNet", {"include_top": False}),
        ("HyperXception", {"classes": 3}),
        ("HyperXception", {"include_top": False}),
        pytest.param("HyperEfficientNet", {"classes": 3}, marks=pytest.mark.slow),
        ("HyperImageAugment", {}),
        ("HyperImageAugment", {"augment_layers": 0}),
        ("HyperImageAugment", {"augment_layers": [0, 2]}),
        (
            "HyperImageAugment",
            {"augment_layers": [2, 4], "rotate": [0.1, 0.2], "contrast": None, "translate_x": 0},
        ),
    ],
)
def test_space_and_network_are_those_of_keras_tuner(name, arguments, monkeypatch):
    without_download = functools.partial(keras.applications.EfficientNetB0, weights=None)
    monkeypatch.setitem(keras_tuner_efficientnet.EFFICIENTNET_MODELS, "B0", without_download)
    theirs, ours = keras_tuner.HyperParameters(), gk.HyperParameters()
    their_model = getattr(keras_tuner.applications, name)(input_shape=SHAPE, **arguments).build(
        theirs
    )
    our_model = getattr(applications, name)(input_shape=SHAPE, **arguments).build(ours)
    assert space_of(ours.get_config()) == space_of(theirs.get_config())
    assert ours.values == theirs.values
    assert kernels(our_model) == kernels(their_model)
    assert our_model.name == their_model.name
    assert our_model.output_shape == their_model.output_shape


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("HyperResNet", {"version": "v1", "pooling": "max"}),
        ("HyperResNet", {"version": "v2"}),
        ("HyperResNet", {"version": "next"}),
        (
            "HyperXception",
            {"activation": "selu", "pooling": "flatten", "num_dense_layers": 2, **SMALL},
        ),
        (
            "HyperXception",
            {"dense_use_bn": False, "kernel_size": 5, "num_dense_layers": 3, **SMALL},
        ),
    ],
)
def test_with_the_same_weights_networks_compute_the_same(name, values):
    theirs = keras_tuner.HyperParameters()
    theirs.values.update(values)
    their_model = getattr(keras_tuner.applications, name)(input_shape=SHAPE, classes=3).build(
        theirs
    )
    our_model = built(getattr(applications, name)(input_shape=SHAPE, classes=3), **values)
    our_model.set_weights(their_model.get_weights())
    assert np.allclose(
        our_model(IMAGES, training=False), their_model(IMAGES, training=False), atol=1e-6
    )


# Every hypermodel


@pytest.mark.parametrize("name", HYPERMODELS)
def test_without_an_input_it_is_refused(name):
    with pytest.raises(ValueError, match="must specify one of `input_shape` and `input_tensor`"):
        HYPERMODELS[name]()


@pytest.mark.parametrize("name", HYPERMODELS)
def test_what_is_no_tensor_of_keras_is_refused(name):
    with pytest.raises(
        ValueError, match=r"must be a Keras tensor.*Received: input_tensor of type ndarray"
    ):
        HYPERMODELS[name](input_tensor=IMAGES)


@pytest.mark.parametrize("name", HYPERMODELS)
def test_an_unknown_argument_is_refused(name):
    with pytest.raises(TypeError, match="clases"):
        HYPERMODELS[name](input_shape=SHAPE, clases=3)


@pytest.mark.parametrize("hypermodel", [HyperResNet, HyperXception, HyperEfficientNet])
def test_the_number_of_classes_is_needed(hypermodel):
    with pytest.raises(ValueError, match="`classes` must be given"):
        hypermodel(input_shape=SHAPE)


@pytest.mark.parametrize("name", HYPERMODELS)
def test_name_and_tunable_are_those_of_every_hypermodel(name):
    hypermodel = HYPERMODELS[name](input_shape=SHAPE, name="mine", tunable=False)
    assert (hypermodel.name, hypermodel.tunable) == ("mine", False)


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda hypermodel: cloudpickle.loads(cloudpickle.dumps(hypermodel))]
)
@pytest.mark.parametrize("name", ["xception", "augment"])
def test_a_copy_has_the_layers_of_its_input_tensor(name, copied):
    tensor = keras.layers.Conv2D(3, 1)(keras.Input((8, 8, 1)))
    hypermodel = HYPERMODELS[name](input_tensor=tensor)
    first, second = built(hypermodel, **SMALL), built(copied(hypermodel), **SMALL)
    assert hypermodel.input_tensor is tensor
    assert first.input_shape == second.input_shape == (None, 8, 8, 1)
    assert np.array_equal(first.layers[1].kernel, second.layers[1].kernel)


@pytest.mark.parametrize("name", HYPERMODELS)
def test_a_hypermodel_with_an_input_shape_can_be_pickled(name):
    restored = cloudpickle.loads(cloudpickle.dumps(HYPERMODELS[name](input_shape=SHAPE)))
    assert type(restored) is type(HYPERMODELS[name](input_shape=SHAPE))
    assert restored.input_shape == SHAPE


def test_an_input_without_layers_is_that_of_each_model():
    given = keras.Input(SHAPE)
    hypermodel = HyperXception(input_tensor=given, classes=3)
    first, second = built(hypermodel, **SMALL), built(hypermodel, **SMALL)
    assert first.inputs == second.inputs == [given]
    trained_on_one_batch(first)
    assert not {id(each) for each in first.weights} & {id(each) for each in second.weights}


def test_no_model_trains_the_layers_of_the_input_tensor_or_of_another_model():
    layer = keras.layers.Conv2D(3, 1)
    hypermodel = HyperXception(input_tensor=layer(keras.Input(SHAPE)), classes=3)
    before = layer.get_weights()[0]
    first, second = built(hypermodel, **SMALL), built(hypermodel, **SMALL)
    trained_on_one_batch(first)
    assert not np.array_equal(first.layers[1].get_weights()[0], before)
    assert np.array_equal(second.layers[1].get_weights()[0], before)
    assert np.array_equal(layer.get_weights()[0], before)


# Classifiers


@pytest.mark.parametrize(
    ("hypermodel", "values"),
    [
        (HyperResNet(input_shape=SHAPE, classes=3), {}),
        (HyperXception(input_shape=SHAPE, classes=3), SMALL),
        pytest.param(HyperEfficientNet(input_shape=SHAPE, classes=3), {}, marks=pytest.mark.slow),
        pytest.param(
            HyperResNet(input_shape=SHAPE, classes=3), {"version": "next"}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_model_trains_on_a_batch(hypermodel, values):
    model = built(hypermodel, **values)
    loss, accuracy = trained_on_one_batch(model)
    assert np.isfinite(loss)
    assert 0 <= accuracy <= 1
    assert model.output_shape == (None, 3)


@pytest.mark.parametrize(("hypermodel", "features"), [(HyperResNet, 2048), (HyperXception, 512)])
def test_without_its_top_a_model_returns_features_and_is_not_compiled(hypermodel, features):
    model = built(hypermodel(include_top=False, input_shape=SHAPE))
    assert model.output_shape == (None, features)
    assert not model.compiled


def test_resnet_is_compiled_with_the_optimizer_and_the_learning_rate_that_were_chosen():
    model = built(
        HyperResNet(input_shape=SHAPE, classes=3), optimizer="rmsprop", learning_rate=0.001
    )
    assert isinstance(model.optimizer, keras.optimizers.RMSprop)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.001)


@pytest.mark.slow
def test_a_grouped_convolution_is_saved_and_pickled(tmp_path):
    model = built(HyperResNet(include_top=False, input_shape=SHAPE), version="next")
    model.save(tmp_path / "model.keras")
    for restored in (
        keras.models.load_model(tmp_path / "model.keras"),
        cloudpickle.loads(cloudpickle.dumps(model)),
    ):
        assert np.allclose(
            model(IMAGES, training=False), restored(IMAGES, training=False), atol=1e-6
        )


@pytest.fixture
def channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    yield
    keras.config.set_image_data_format(before)


@pytest.mark.parametrize(
    ("hypermodel", "values"), [(HyperResNet, {"version": "next"}), (HyperXception, SMALL)]
)
def test_channels_may_come_first(channels_first, hypermodel, values):
    model = built(hypermodel(include_top=False, input_shape=(3, 32, 32)), **values)
    assert {
        layer.axis for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)
    } == {1}
    last = next(layer for layer in reversed(model.layers) if len(layer.output.shape) == 4)
    assert model.output_shape[1] == last.output.shape[1]


# EfficientNet


@pytest.mark.parametrize("wrong", [3, "augment", lambda hp: None])
def test_what_cannot_augment_is_refused(wrong):
    with pytest.raises(ValueError, match="must be a `HyperModel`, a Keras model or `None`"):
        HyperEfficientNet(input_shape=SHAPE, classes=3, augmentation_model=wrong)


def test_efficientnet_tunes_how_images_are_augmented():
    config = gk.HyperParameters(
        {f"factor_{name}": 0.4 for name in ("rotate", "translate_x", "translate_y")}
    )
    augment = HyperImageAugment(input_shape=SHAPE, contrast=None)
    model = HyperEfficientNet(input_shape=SHAPE, classes=3, augmentation_model=augment).build(
        config
    )
    assert [name for name in config.asked if name.startswith(("augment", "factor"))] == [
        "augment_layers",
        "factor_rotate",
        "factor_translate_x",
        "factor_translate_y",
    ]
    inner = model.get_layer("image_rand_augment")
    assert not np.allclose(inner(IMAGES, training=True), IMAGES)


def test_an_augmentation_that_is_not_tunable_has_its_defaults():
    config = gk.HyperParameters(sampling_key=[0])
    config.values.update(version="B0")
    augment = HyperImageAugment(input_shape=SHAPE, rotate=[0.1, 0.5], tunable=False)
    model = HyperEfficientNet(input_shape=SHAPE, classes=3, augmentation_model=augment).build(
        config
    )
    assert not [name for name in config.values if name.startswith(("augment", "factor"))]
    [step] = model.get_layer("image_rand_augment").layers[1:]
    assert step.factors["rotate"] == 0.1


def test_efficientnet_leaves_an_augmentation_model_as_it_was():
    given = keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(3, 1)], name="given")
    model = built(HyperEfficientNet(input_shape=SHAPE, classes=3, augmentation_model=given))
    inner = model.get_layer("given")
    assert inner is not given
    assert np.array_equal(inner.get_weights()[0], given.get_weights()[0])
    inner.trainable = False
    assert given.trainable


def test_a_subclass_decides_how_efficientnet_is_compiled():
    class Mine(HyperEfficientNet):
        def _compile(self, model, hp):
            model.compile(hp.Choice("mine", ["adam", "sgd"]), "mse")

    config = gk.HyperParameters()
    model = Mine(input_shape=SHAPE, classes=3).build(config)
    assert model.loss == "mse"
    assert "mine" in config.asked
    assert "learning_rate" not in config.asked


@pytest.mark.slow
def test_efficientnet_starts_from_weights_in_a_file(tmp_path):
    source = keras.applications.EfficientNetB0(include_top=False, weights=None)
    source.save_weights(tmp_path / "network.weights.h5")
    hypermodel = HyperEfficientNet(
        input_shape=SHAPE,
        classes=3,
        weights=tmp_path / "network.weights.h5",
        augmentation_model=HyperImageAugment(input_shape=SHAPE),
    )
    for layer in ("stem_conv", "top_conv"):
        assert np.array_equal(
            built(hypermodel).get_layer(layer).kernel, source.get_layer(layer).kernel
        )


def test_pretrained_weights_are_asked_of_keras(monkeypatch):
    asked, network = [], keras.applications.EfficientNetB0

    def recorded(weights, **kwargs):
        asked.append(weights)
        return network(weights=None, **kwargs)

    monkeypatch.setattr(keras.applications, "EfficientNetB0", recorded)
    built(HyperEfficientNet(input_shape=SHAPE, classes=3, weights="imagenet"))
    assert asked == ["imagenet"]


def test_an_input_of_any_size_is_resized():
    model = built(HyperEfficientNet(input_shape=(None, None, 3), classes=3))
    assert model.input_shape == (None, None, None, 3)
    assert next(
        layer for layer in model.layers if isinstance(layer, keras.layers.Resizing)
    ).output.shape == (None, 224, 224, 3)


# Augmentation


@pytest.mark.parametrize(
    "arguments",
    [
        {"rotate": [0.1]},
        {"rotate": [0.1, 0.2, 0.3]},
        {"rotate": "ab"},
        {"rotate": {1: 2}},
        {"rotate": [0.5, 0.1]},
        {"translate_x": -0.5},
        {"translate_y": 1.5},
        {"contrast": ["low", "high"]},
        {"augment_layers": 1.5},
        {"augment_layers": -1},
        {"augment_layers": [1]},
        {"augment_layers": [1, 2, 3]},
        {"augment_layers": [3, 1]},
        {"augment_layers": "ab"},
    ],
)
def test_what_is_no_range_is_refused_with_what_was_received(arguments):
    [(name, value)] = arguments.items()
    with pytest.raises(ValueError, match=f"`{name}` must be") as error:
        HyperImageAugment(input_shape=SHAPE, **arguments)
    assert f"Received: {name}={value!r}" in str(error.value)


@pytest.mark.parametrize(
    "values",
    [{"augment_layers": 3}, {"augment_layers": 0}],
    ids=["one transform at random", "all transforms in turn"],
)
def test_images_change_in_training_only_and_keep_their_shape(values):
    hypermodel = HyperImageAugment(input_shape=SHAPE, **values)
    model = built(
        hypermodel,
        factor_rotate=0.3,
        factor_translate_x=0.2,
        factor_translate_y=0.2,
        factor_contrast=0.2,
    )
    assert model.output_shape == (None, *SHAPE)
    assert np.array_equal(model.predict(IMAGES, verbose=0), IMAGES)
    assert np.array_equal(model(IMAGES), IMAGES)
    first, second = np.array(model(IMAGES, training=True)), np.array(model(IMAGES, training=True))
    assert first.shape == IMAGES.shape
    assert not np.allclose(first, IMAGES)
    assert not np.allclose(first, second)


@pytest.mark.parametrize("augment_layers", [2, 0])
def test_a_model_that_augments_trains_as_a_part_of_another(augment_layers):
    augment = built(
        HyperImageAugment(input_shape=SHAPE, rotate=[0.2, 0.5], augment_layers=augment_layers)
    )
    model = keras.Sequential(
        [augment, keras.layers.Flatten(), keras.layers.Dense(3, activation="softmax")]
    )
    model.compile("sgd", "categorical_crossentropy")
    history = model.fit(IMAGES / 255, LABELS, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


def test_its_output_is_an_input_tensor_of_another_hypermodel():
    augment = built(HyperImageAugment(input_shape=SHAPE, rotate=[0.2, 0.5]))
    model = built(HyperXception(input_tensor=augment.output, classes=3), **SMALL)
    assert any(isinstance(layer, RandomTransform) for layer in model.layers)
    assert np.isfinite(trained_on_one_batch(model)[0])


def test_each_image_goes_through_one_of_the_transforms():
    flat = np.full((200, 8, 8, 1), 100.0, "float32")
    flat[:, :, 4:] = (
        200  # the right half is bright: only sideways moves and contrast change anything
    )
    layer = RandomTransform({"translate_x": 0.0, "contrast": 0.9})
    changed = np.abs(np.array(layer(flat, training=True)) - flat).max(axis=(1, 2, 3)) > 0
    assert 50 < changed.sum() < 150


@pytest.mark.parametrize(("name", "axis"), [("translate_x", 2), ("translate_y", 1)])
def test_images_are_moved_along_the_axis_of_the_name(name, axis):
    line = np.arange(16, dtype="float32").reshape([16 if a == axis else 1 for a in range(4)])
    ramp = np.broadcast_to(line, (4, 16, 16, 1))
    others = {"translate_x": "translate_y", "translate_y": "translate_x"}
    assert not np.allclose(RandomTransform({name: 0.5})(ramp, training=True), ramp)
    assert np.allclose(RandomTransform({others[name]: 0.5})(ramp, training=True), ramp, atol=1e-4)


def test_without_transforms_images_stay_as_they_are():
    off = {"rotate": None, "translate_x": 0, "translate_y": None, "contrast": None}
    for augment_layers in (3, 0, [0, 2]):
        model = built(HyperImageAugment(input_shape=SHAPE, augment_layers=augment_layers, **off))
        assert np.array_equal(model(IMAGES, training=True), IMAGES)


def test_a_range_narrower_than_the_step_is_searched_without_one():
    config = gk.HyperParameters()
    HyperImageAugment(
        input_shape=SHAPE, augment_layers=0, rotate=[0.2, 0.22], contrast=[0.2, 0.25]
    ).build(config)
    steps = {parameter.name: parameter.step for parameter in config.space}
    assert (steps["factor_rotate"], steps["factor_contrast"]) == (None, 0.05)


def test_a_model_that_augments_is_saved_and_pickled(tmp_path):
    others = {"translate_x": None, "translate_y": None, "contrast": None}
    model = built(HyperImageAugment(input_shape=SHAPE, rotate=[0.2, 0.5], **others))
    model.save(tmp_path / "model.keras")
    for restored in (
        keras.models.load_model(tmp_path / "model.keras"),
        cloudpickle.loads(cloudpickle.dumps(model)),
    ):
        assert restored.layers[1].factors == {"rotate": 0.2}
        assert not np.allclose(restored(IMAGES, training=True), IMAGES)


def test_attributes_are_those_of_keras_tuner():
    arguments = {
        "input_shape": SHAPE,
        "rotate": [0.1, 0.2],
        "translate_x": None,
        "augment_layers": [1, 2],
    }
    theirs, ours = (
        keras_tuner.applications.HyperImageAugment(**arguments),
        HyperImageAugment(**arguments),
    )
    names = [
        "transforms",
        "model_name",
        "augment_layers_min",
        "augment_layers_max",
        "input_shape",
        "input_tensor",
    ]
    assert [getattr(ours, name) for name in names] == [getattr(theirs, name) for name in names]


# A model and its copy


def test_a_copy_keeps_weights_and_what_is_not_trained():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.layers[0].trainable = False
    copied = copy_of(model)
    assert np.array_equal(copied.get_weights()[0], model.get_weights()[0])
    assert copied.layers[0] is not model.layers[0]
    assert not copied.layers[0].trainable


def test_a_class_that_keras_cannot_copy_stays_shared():
    class Mine(keras.Model):
        def __init__(self, function):
            super().__init__()
            self.function = function

    model = Mine(lambda x: x)
    assert copy_of(model) is model


# A search


@pytest.mark.slow
def test_a_search_tunes_network_and_augmentation(project):
    class Small(HyperXception):
        """Without what takes long to build."""

        def build(self, hp):
            hp.values.update(SMALL)
            return super().build(hp)

    augment = built(HyperImageAugment(input_shape=SHAPE, rotate=[0.1, 0.2]))
    tuner = gk.RandomSearch(
        Small(input_tensor=augment.output, classes=3),
        "val_loss",
        max_trials=2,
        executor="inline",
        seed=0,
        **project,
    )
    tuner.search(IMAGES, LABELS, validation_data=(IMAGES, LABELS), epochs=1, verbose=0)
    assert set(tuner.results_dataframe()["status"]) == {"COMPLETED"}
