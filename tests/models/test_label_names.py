"""Outputs that are no task: labels for what Keras wants them for, and the same training without."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.errors import ModelError
from glimr_keras.models.bags import Bags
from glimr_keras.models.data import FitArguments
from glimr_keras.models.label_names import with_all_names
from glimr_keras.models.tasks import (
    compile_tasks,
    outputs_with_loss,
    outputs_without_task,
    takes_bare_labels,
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 4)).astype("float32")
KIND, SIZE = RNG.integers(0, 3, 16), RNG.normal(size=(16, 1)).astype("float32")
LABELS = {"kind": KIND, "size": SIZE}
WEIGHTS = {"kind": np.linspace(0, 1, 16), "size": np.linspace(1, 2, 16)}
OPTIMIZATION = {"method": "adam", "learning_rate": 0.01}


def task(loss, metrics):
    return {"loss": loss, "loss_weight": 0.5, "metrics": metrics}


KINDS = task("sparse_categorical_crossentropy", keras.metrics.SparseCategoricalAccuracy)
SIZES = task("mse", "mae")
CONFIG = {
    "tasks": {"weights": None, "kind": KINDS, "size": SIZES},
    "optimization": OPTIMIZATION,
}
ONE = {"tasks": {"weights": None, "kind": KINDS}, "optimization": OPTIMIZATION}


def model(form="dict", one=False):
    inputs = keras.Input((4,))
    zeros = {"kernel_initializer": "zeros"}
    outputs = {
        "weights": keras.layers.Softmax(name="weights")(inputs),
        "kind": keras.layers.Dense(3, activation="softmax", name="kind", **zeros)(inputs),
        "size": keras.layers.Dense(1, name="size", **zeros)(inputs),
    }
    if one:
        del outputs["size"]
    if form == "list":
        return keras.Model(inputs, list(outputs.values()))
    made = keras.Model(inputs, outputs)
    return Wrapped(made) if form == "subclass" else made


class Wrapped(keras.Model):
    """One that does not say what its outputs are."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs)


class Batches(keras.utils.PyDataset):
    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return X[rows], keras.tree.map_structure(lambda label: label[rows], self.labels)


def given(kind, labels):
    match kind:
        case "arrays":
            return FitArguments((X, labels), {"validation_data": (X, labels)})
        case "weighted":
            named = {"y": labels, "sample_weight": WEIGHTS, "validation_data": (X, labels, WEIGHTS)}
            return FitArguments((X,), named)
        case "batches":
            return FitArguments((Batches(labels),), {"validation_data": Batches(labels)})
        case "dataset":
            dataset = tf.data.Dataset.from_tensor_slices((X, labels)).batch(4)
            return FitArguments((), {"x": dataset, "validation_data": dataset})


def fitted(made, arguments):
    keras.utils.set_random_seed(0)
    return made.fit(*arguments.args, **arguments.kwargs, shuffle=False, batch_size=None, verbose=0)


def alone(kind):
    """The history of the same training of a model with the tasks' outputs only."""
    inputs = keras.Input((4,))
    zeros = {"kernel_initializer": "zeros"}
    only = keras.Model(
        inputs,
        {
            "kind": keras.layers.Dense(3, activation="softmax", name="kind", **zeros)(inputs),
            "size": keras.layers.Dense(1, name="size", **zeros)(inputs),
        },
    )
    config = {**CONFIG, "tasks": {"kind": KINDS, "size": SIZES}}
    compile_tasks(only, config)
    return fitted(only, given(kind, LABELS)).history


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        (form, kind)
        for form in ("dict", "list", "subclass")
        for kind in ("arrays", "weighted", "batches", "dataset")
        if (form, kind) != ("list", "weighted")  # Keras takes no weights by name there
    ],
)
def test_training_is_that_of_a_model_without_the_output(form, kind):
    made = model(form)
    compile_tasks(made, CONFIG)
    assert outputs_without_task(made) == ["weights"]
    assert not takes_bare_labels(made)
    arguments = with_all_names(given(kind, LABELS), outputs_with_loss(made), ["weights"])
    history, wanted = fitted(made, arguments).history, alone(kind)
    assert form == "subclass" or set(history) == set(wanted)
    assert history["loss"] == pytest.approx(wanted["loss"], rel=1e-5)
    assert history["val_loss"] == pytest.approx(wanted["val_loss"], rel=1e-5)
    found = made.predict(X, verbose=0)
    found = found if isinstance(found, dict) else dict(zip(CONFIG["tasks"], found, strict=True))
    assert found["weights"].shape == (16, 4)


@pytest.mark.parametrize("labels", [KIND, {"kind": KIND}], ids=["bare", "named"])
@pytest.mark.parametrize("form", ["dict", "list", "subclass"])
def test_one_task_beside_such_an_output(labels, form):
    made = model(form, one=True)
    compile_tasks(made, ONE)
    arguments = with_all_names(given("arrays", labels), outputs_with_loss(made), ["weights"])
    history = fitted(made, arguments).history
    (name,) = (name for name in history if "accuracy" in name and "val_" not in name)
    assert history[name][0] == pytest.approx((KIND == 0).mean(), abs=0.5)
    assert history["loss"][0] == pytest.approx(0.5 * np.log(3), rel=0.05)


def test_labels_without_names_are_refused_beside_several_tasks():
    with pytest.raises(ModelError, match="labels must be in a dict by task"):
        with_all_names(FitArguments((X, [KIND, SIZE])), ["kind", "size"], ["weights"])


def test_an_output_without_a_task_is_only_let_be_where_it_says_so():
    unsaid = {**CONFIG, "tasks": {"kind": KINDS, "size": SIZES}}
    message = r"Outputs without a task: 'weights'.* `None` among the tasks or losses: {'weights':"
    with pytest.raises(ModelError, match=message):
        compile_tasks(model(), unsaid)
    misspelled = {**CONFIG, "tasks": {"wieghts": None, "kind": KINDS, "size": SIZES}}
    message = r"Outputs without a task: 'weights'; tasks without an output: 'wieghts'"
    with pytest.raises(ModelError, match=message):
        compile_tasks(model(), misspelled)
    losses = {"weights": None, "kind": "sparse_categorical_crossentropy", "size": "mse"}
    made = model()
    compile_tasks(made, unsaid, losses, {"kind": 1.0, "size": 2.0}, {"kind": ["acc"], "size": []})
    assert outputs_without_task(made) == ["weights"]


def test_losses_weights_and_metrics_name_it():
    losses, weights = gk.keras_losses(CONFIG)
    assert losses["weights"] is None
    assert weights == {"weights": 0.0, "kind": 0.5, "size": 0.5}
    assert set(gk.keras_metrics(CONFIG)) == {"kind", "size"}


@pytest.mark.parametrize("compiles", [True, False])
def test_a_search_keeps_the_output(project, compiles):
    def build(config):
        made = model()
        if compiles:
            losses = {"weights": None, "kind": "sparse_categorical_crossentropy", "size": "mse"}
            made.compile("adam", losses, metrics={"size": ["mae"]})
        return made

    space = None if compiles else CONFIG
    tuner = gk.RayTuner(
        build, "val_size_loss", 1, space=space, cv_folds=2, executor="inline", **project
    )
    tuner.search(X, LABELS, epochs=2, verbose=0, stratify=None)
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED"]
    best = gk.ensemble(tuner.get_best_models())
    assert best.predict(X, verbose=0)["weights"].shape == (16, 4)
    assert tuner.try_configuration({}, X, LABELS, stratify=None).outputs["weights"] == (None, 4)


def test_bags_have_a_placeholder_where_labels_say_none():
    bags = Bags([X[:2], X[2:]], {"kind": KIND[:2], "weights": None})
    assert bags[0][1]["weights"].shape == (2, 1)
    named = with_all_names(FitArguments((bags.replace(y=KIND[:2]),)), ["kind"], ["weights"])
    assert named.x[0][1]["weights"].shape == (2, 1)
    assert named.x.y["kind"].tolist() == KIND[:2].tolist()
