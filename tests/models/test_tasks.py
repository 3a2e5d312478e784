"""Tasks: losses, weights and metrics of a configuration, and the names of what Keras logs."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from ray import tune

import glimr_keras as gk
from glimr_keras.errors import ModelError
from glimr_keras.models.data import FitArguments
from glimr_keras.models.label_names import with_bare_labels
from glimr_keras.models.tasks import TaskLogs, check_labels, compile_tasks, takes_bare_labels

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
CLASSES = keras.utils.to_categorical(np.arange(16) % 3, 3)
OPTIMIZATION = {"method": "sgd", "learning_rate": 0.1}


def half_squared(y_true, y_pred, factor=0.5):
    return factor * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def task(loss="mse", loss_weight=1.0, metrics="mae"):
    return {"loss": loss, "loss_weight": loss_weight, "metrics": metrics}


def config(**tasks):
    return {"tasks": tasks, "optimization": OPTIMIZATION}


def one_output(name="kind"):
    inputs = keras.Input((4,))
    return keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name=name)(inputs))


def two_outputs(as_dict):
    inputs = keras.Input((4,))
    kind, size = (
        keras.layers.Dense(3, activation="softmax", name="kind")(inputs),
        keras.layers.Dense(1, name="size")(inputs),
    )
    return keras.Model(inputs, {"kind": kind, "size": size} if as_dict else [kind, size])


# Losses


@pytest.mark.parametrize(
    "loss",
    [
        keras.losses.CategoricalCrossentropy,
        keras.losses.CategoricalCrossentropy(),
        keras.losses.categorical_crossentropy,
        "categorical_crossentropy",
        "CategoricalCrossentropy",
        {"name": "categorical_crossentropy"},
        {
            "name": "mine",
            "loss": keras.losses.CategoricalCrossentropy,
            "kwargs": {"label_smoothing": 0.0},
        },
        {
            "name": "mine",
            "loss": keras.losses.categorical_crossentropy,
            "kwargs": {"label_smoothing": 0.0},
        },
        {"name": "categorical_crossentropy", "kwargs": {"label_smoothing": 0.0}},
    ],
)
def test_every_way_to_say_a_loss_is_the_same_loss(loss):
    model = one_output()
    losses, weights = gk.keras_losses(config(kind=task(loss)))
    compile_tasks(model, config(kind=task()), losses, weights, {"kind": ["mae"]})
    expected = keras.ops.mean(keras.losses.categorical_crossentropy(CLASSES, model(X)))
    assert model.evaluate(X, CLASSES, verbose=0)[0] == pytest.approx(float(expected), rel=1e-5)
    assert weights == {"kind": 1.0}


def test_kwargs_reach_the_loss():
    (loss,) = gk.keras_losses(
        config(kind=task({"name": "half", "loss": half_squared, "kwargs": {"factor": 3.0}}))
    )[0].values()
    assert loss.__name__ == "half"
    assert float(loss(np.ones((1, 2)), np.zeros((1, 2)))[0]) == 3.0
    smoothed = {"loss": keras.losses.CategoricalCrossentropy, "kwargs": {"label_smoothing": 0.2}}
    assert (
        gk.keras_losses(config(kind=task(smoothed)))[0]["kind"].get_config()["label_smoothing"]
        == 0.2
    )


# Metrics


def test_metrics_have_the_names_that_were_given():
    described = [
        {"name": "balanced", "metric": keras.metrics.AUC, "kwargs": {"curve": "PR"}},
        {"name": "halves", "metric": half_squared},
        {"name": "again", "metric": keras.metrics.CategoricalAccuracy(name="first")},
        keras.metrics.MeanSquaredError,
        "accuracy",
    ]
    metrics = gk.keras_metrics(config(kind=task(metrics=described)))["kind"]
    assert [metric if isinstance(metric, str) else metric.name for metric in metrics] == [
        "balanced",
        "halves",
        "again",
        "mean_squared_error",
        "accuracy",
    ]
    assert metrics[0].get_config()["curve"] == "PR"


def test_an_instance_is_copied_since_it_holds_state():
    metric = keras.metrics.CategoricalAccuracy()
    assert gk.keras_metrics(config(kind=task(metrics=metric)))["kind"][0] is not metric


def _unnamed_outputs():
    inputs = keras.Input((4,))
    return keras.Model(inputs, {name: keras.layers.Dense(1)(inputs) for name in ("a", "b")})


def test_the_keys_of_outputs_in_a_dict_are_their_names():
    space = {
        "tasks": {name: task(metrics=["mae"]) for name in ("a", "b")},
        "optimization": {"method": "sgd"},
    }
    model = _unnamed_outputs()
    compile_tasks(model, space)
    logs = model.fit(
        np.ones((4, 4)), {"a": np.ones((4, 1)), "b": np.ones((4, 1))}, verbose=0
    ).history
    assert {"a_loss", "b_loss", "a_mae", "b_mae"} <= logs.keys()


class Subclassed(keras.Model):
    """Says nothing of its outputs before it is called."""

    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(inputs)


@pytest.mark.parametrize(
    "make",
    [Subclassed, lambda: keras.Sequential([keras.layers.Dense(1)])],
    ids=["subclass", "sequential"],
)
def test_a_model_that_does_not_name_its_output_may_have_one_task(make, project):
    space = {
        "tasks": {"only": task(metrics=["mae"])},
        "optimization": {"method": "sgd", "learning_rate": 0.1, "epochs": 1},
    }
    tuner = gk.RayTuner(
        lambda config: make(),
        "val_only_mae",
        max_trials=1,
        space=space,
        executor="inline",
        **project,
    )
    data = np.ones((8, 4)), {"only": np.ones((8, 1))}
    tuner.search(*data, validation_data=data, verbose=0)
    assert tuner.results_dataframe()["status"].tolist() == ["COMPLETED"]


@pytest.mark.parametrize("as_dict", [False, True])
def test_several_tasks_have_losses_weights_and_names_of_their_own(as_dict):
    model = two_outputs(as_dict)
    both = config(
        kind=task(
            "categorical_crossentropy", 1.0, {"name": "acc", "metric": "CategoricalAccuracy"}
        ),
        size=task("mse", 0.5),
    )
    compile_tasks(model, both)
    logs = model.evaluate(X, {"kind": CLASSES, "size": X[:, :1]}, verbose=0, return_dict=True)
    assert (
        set(logs) == {"loss", "kind_loss", "size_loss", "kind_acc", "size_mean_absolute_error"}
        or "size_mae" in logs
    )
    assert logs["loss"] == pytest.approx(logs["kind_loss"] + 0.5 * logs["size_loss"], rel=1e-5)


def test_the_weight_of_a_single_task_counts():
    losses = []
    for weight in (1.0, 3.0):
        keras.utils.set_random_seed(0)
        model = one_output()
        compile_tasks(model, config(kind=task("categorical_crossentropy", weight)))
        losses.append(model.evaluate(X, CLASSES, verbose=0)[0])
    assert losses[1] == pytest.approx(3 * losses[0], rel=1e-5)


# Bad input


@pytest.mark.parametrize(
    ("described", "error", "message"),
    [
        (
            {"loss_weight": 1.0, "metrics": "mae"},
            ValueError,
            r"Task 'kind' needs 'loss': .* Received: \['loss_weight', 'metrics'\]",
        ),
        ({"loss": "mse", "metrics": "mae"}, ValueError, "Task 'kind' needs 'loss_weight'"),
        ({"loss": "mse", "loss_weight": 1.0}, ValueError, "Task 'kind' needs 'metrics'"),
        (
            task(loss_weight="high"),
            TypeError,
            "The loss weight of task 'kind' must be a number. Received: 'high'",
        ),
        (
            task(loss="mean_squred_error"),
            ValueError,
            "The loss of task 'kind': Keras has nothing called 'mean_squred_error'",
        ),
        (
            task(loss=3),
            TypeError,
            "The loss of task 'kind' must be a class, an instance, a function or a name of "
            "`keras.losses`",
        ),
        (
            task(loss={"name": "x", "loss": keras.losses.Hinge, "kwargs": {"smoothing": 1}}),
            ValueError,
            "'smoothing' is no argument of the loss of task 'kind', Hinge. It has: ",
        ),
        (
            task(loss={"name": "x", "loss": half_squared, "kwargs": {"fctor": 1}}),
            ValueError,
            "Did you mean 'factor'",
        ),
        (
            task(loss={"name": "x", "losses": "mse"}),
            ValueError,
            "must be a dict with 'name', 'loss' and 'kwargs'",
        ),
        (
            task(loss={"loss": keras.losses.Hinge(), "kwargs": {"a": 1}}),
            ValueError,
            "is an instance already",
        ),
        (task(metrics=[]), ValueError, "Task 'kind' needs at least one metric"),
        (
            task(metrics=["mae", "mae"]),
            ValueError,
            "The metrics of task 'kind' must have different names",
        ),
        (
            task(metrics={"name": "mine", "metric": "accuracy"}),
            ValueError,
            "it cannot be called 'mine'",
        ),
        (
            task(metrics={"name": "x", "metric": keras.losses.Hinge}),
            TypeError,
            "must be a subclass of Metric",
        ),
    ],
)
def test_what_is_missing_or_wrong_in_a_task_is_named(described, error, message):
    with pytest.raises(error, match=message):
        gk.keras_losses(config(kind=described))
        gk.keras_metrics(config(kind=described))


def test_no_tasks_at_all():
    with pytest.raises(ValueError, match="A configuration needs 'tasks'"):
        gk.keras_losses({"optimization": OPTIMIZATION})


def test_outputs_and_tasks_that_differ_are_named_on_each_side():
    with pytest.raises(
        ModelError, match=r"Outputs without a task: 'size'; tasks without an output: 'weight'"
    ):
        compile_tasks(two_outputs(True), config(kind=task(), weight=task()))
    with pytest.raises(ModelError, match=r"tasks without an output: 'size'"):
        compile_tasks(one_output(), config(kind=task(), size=task()))


def test_labels_and_tasks_that_differ_are_named_on_each_side():
    check_labels(["kind"], CLASSES)
    check_labels(["kind"], {"kind": CLASSES})
    with pytest.raises(
        ModelError, match=r"Without labels: 'size'; labels without a task: 'weight'"
    ):
        check_labels(["kind", "size"], {"kind": CLASSES, "weight": X})


# Names


def test_one_task_is_logged_as_several_are():
    logs = {"loss": 1.0, "acc": 0.5, "val_loss": 2.0, "val_acc": 0.25}
    named = TaskLogs(["kind"]).named(logs)
    assert named == logs | {
        "kind_loss": 1.0,
        "kind_acc": 0.5,
        "val_kind_loss": 2.0,
        "val_kind_acc": 0.25,
    }
    assert TaskLogs(["kind", "size"]).named(logs) == logs


def test_names_may_mean_what_was_found_on_validation_data():
    named = TaskLogs(["a", "b"], of_validation=True).named(
        {"a_acc": 0.5, "val_a_acc": 0.25, "lr": 0.1}
    )
    assert named == {"a_acc": 0.25, "train_a_acc": 0.5, "val_a_acc": 0.25, "lr": 0.1}


def test_later_callbacks_see_the_names():
    seen = []
    model = one_output()
    compile_tasks(
        model,
        config(
            kind=task(
                "categorical_crossentropy", 1.0, {"name": "acc", "metric": "CategoricalAccuracy"}
            )
        ),
    )
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    model.fit(
        X, CLASSES, validation_data=(X, CLASSES), verbose=0, callbacks=[TaskLogs(["kind"]), look]
    )
    assert seen[0]["val_kind_acc"] == seen[0]["val_acc"]


# Labels of a model with one output


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        rows = slice(4 * index, 4 * index + 4)
        return X[rows], {"kind": CLASSES[rows]}


DATASET = tf.data.Dataset.from_tensor_slices((X, {"kind": CLASSES}, np.ones(16, "float32"))).batch(
    4
)
WEIGHTED = FitArguments(
    (X,),
    {
        "y": {"kind": CLASSES},
        "sample_weight": {"kind": np.ones(16)},
        "validation_data": (X, {"kind": CLASSES}),
    },
)


@pytest.mark.parametrize(
    "arguments",
    [
        FitArguments((X, {"kind": CLASSES})),
        WEIGHTED,
        FitArguments((DATASET,), {"validation_data": DATASET}),
        FitArguments((), {"x": Batches(), "validation_data": Batches()}),
    ],
    ids=["arrays", "weighted", "dataset", "batches"],
)
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed, but will be ignored:UserWarning")
def test_a_model_with_one_output_takes_labels_by_task(arguments):
    model = one_output()
    compile_tasks(model, config(kind=task("categorical_crossentropy")))
    assert takes_bare_labels(model)
    bare = with_bare_labels(arguments)
    assert "loss" in model.fit(*bare.args, **bare.kwargs, verbose=0).history


def test_so_does_one_whose_output_is_in_a_dict():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, {"kind": keras.layers.Dense(3, activation="softmax")(inputs)})
    compile_tasks(model, config(kind=task("categorical_crossentropy")))
    bare = with_bare_labels(FitArguments((X, {"kind": CLASSES})))
    assert "loss" in model.fit(*bare.args, verbose=0).history
    assert not takes_bare_labels(two_outputs(True))


# In a search


def test_a_search_over_tasks(project):
    class Kinds(gk.HyperModel):
        def space(self):
            losses = [
                {"name": "categorical_hinge"},
                {
                    "name": "categorical_crossentropy",
                    "kwargs": {"label_smoothing": tune.uniform(0.0, 0.2)},
                },
            ]
            return {
                "tasks": {
                    "kind": task(
                        tune.choice(losses),
                        1.0,
                        {"name": "acc", "metric": keras.metrics.CategoricalAccuracy},
                    )
                },
                "optimization": gk.optimization_space(epochs=3),
            }

        def build(self, config):
            model = one_output()
            return (model, *gk.keras_losses(config), gk.keras_metrics(config))

        def data(self, config):
            return (X, {"kind": CLASSES}), (X, {"kind": CLASSES})

    tuner = gk.RayTuner(
        Kinds(),
        gk.Objective("val_kind_acc", "max"),
        max_trials=4,
        seed=0,
        executor="inline",
        **project,
    )
    tuner.search(verbose=0)
    table = tuner.results_dataframe()
    assert list(table["status"]) == ["COMPLETED"] * 4
    assert (table["epochs"] == 3).all()
    smoothing = table["tasks/kind/loss/kwargs/label_smoothing"]
    assert (smoothing.notna() == (table["tasks/kind/loss"] == "categorical_crossentropy")).all()
    model = tuner.get_best_models()[0]
    assert model.evaluate(X, CLASSES, verbose=0, return_dict=True)["acc"] == pytest.approx(
        table["score"].max()
    )


def test_a_model_may_be_left_to_be_compiled(project):
    space = {"tasks": {"kind": task("categorical_crossentropy")}, "optimization": OPTIMIZATION}
    tuner = gk.RayTuner(
        lambda config: one_output(), "val_kind_loss", 1, space=space, executor="inline", **project
    )
    tuner.search(X, CLASSES, validation_data=(X, CLASSES), verbose=0)
    assert tuner.results_dataframe()["score"].notna().all()


@pytest.mark.parametrize(
    ("built", "message"),
    [
        (
            lambda: (one_output(), "mse"),
            r"must return a model, or \(model, losses, loss_weights, metrics\). Received: a tuple "
            r"of 2",
        ),
        (lambda: (one_output(), "mse", None, None), "has no `optimization` section"),
        (one_output, "returned a model that is not compiled"),
    ],
)
def test_what_build_returns_is_checked(project, built, message):
    tuner = gk.RayTuner(lambda config: built(), "val_loss", 1, executor="inline", **project)
    with pytest.raises(ModelError, match=message):
        tuner.search(X, CLASSES, validation_data=(X, CLASSES), verbose=0)
