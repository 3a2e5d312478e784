"""The objective of predictions is what Keras finds when it evaluates the model."""

import keras
import numpy as np
import pytest

import glimr_keras as gk
from glimr_keras import HyperModel, HyperParameters, survival
from glimr_keras.errors import ObjectiveError
from glimr_keras.evaluation.compiled_metric import CompiledMetric
from glimr_keras.evaluation.scorers import MeanOfSamples, OneByOne, RocAuc, SharedPairs
from glimr_keras.trials.objective import MultiObjective, Objective

SIZE = 60


@pytest.fixture
def generator():
    return np.random.default_rng(5)


def dense(units, activation=None, **compiled):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(units, activation)(inputs))
    model.compile("sgd", **compiled)
    return model


def metric_of(model, name, direction="max", hypermodel=None, config=None):
    return CompiledMetric(
        model, Objective(name, direction), hypermodel, config or HyperParameters()
    )


def classes(generator):
    return generator.integers(0, 3, SIZE)


def one_hot(generator):
    return np.eye(3, dtype="float32")[classes(generator)]


def binary(generator):
    return generator.integers(0, 2, SIZE).astype("float32")


def times(generator):
    return survival.survival_target(
        generator.exponential(size=SIZE) + 0.1, generator.random(SIZE) < 0.7
    )


CASES = {
    "a string": (
        3,
        "softmax",
        classes,
        "sparse_categorical_crossentropy",
        ["accuracy"],
        "accuracy",
    ),
    "its loss": (3, "softmax", classes, "sparse_categorical_crossentropy", [], "loss"),
    "a loss object": (1, None, binary, keras.losses.Huber(), [], "loss"),
    "a function as loss": (1, None, binary, keras.losses.mean_squared_error, [], "loss"),
    "logits": (
        1,
        None,
        binary,
        keras.losses.BinaryCrossentropy(from_logits=True),
        [keras.metrics.BinaryAccuracy(threshold=0.0, name="right")],
        "right",
    ),
    "an error": (1, None, binary, "mse", ["mae"], "mae"),
    "one-hot labels": (3, "softmax", one_hot, "categorical_crossentropy", ["accuracy"], "accuracy"),
    "an area": (1, "sigmoid", binary, "binary_crossentropy", [keras.metrics.AUC()], "auc"),
    "an area of classes": (
        3,
        "softmax",
        one_hot,
        "categorical_crossentropy",
        [keras.metrics.AUC(name="area")],
        "area",
    ),
    "a concordance": (
        1,
        None,
        times,
        survival.CoxPartialLikelihood(),
        [survival.ConcordanceIndex()],
        "concordance_index",
    ),
}
FAST = (MeanOfSamples, RocAuc, SharedPairs)


@pytest.mark.parametrize("case", CASES)
def test_it_is_what_evaluate_finds_and_fast(generator, case):
    units, activation, made, loss, metrics, name = CASES[case]
    model = dense(units, activation, loss=loss, metrics=metrics)
    x, y = generator.normal(size=(SIZE, 4)).astype("float32"), made(generator)
    metric, outputs = metric_of(model, f"val_{name}"), model.predict(x, verbose=0)
    expected = model.evaluate(x, y, batch_size=SIZE, return_dict=True, verbose=0)[name]
    assert metric((y, None), outputs) == pytest.approx(expected, abs=1e-5)
    scorer = metric.scorer((y, None), outputs)
    assert isinstance(scorer, FAST)
    counts = generator.integers(0, 3, (5, SIZE))
    slow = OneByOne(metric).scores((y, None), outputs, counts)
    np.testing.assert_allclose(scorer.scores((y, None), outputs, counts), slow, atol=1e-4)


OTHERS = {
    "a precision": (1, "sigmoid", binary, "mse", [keras.metrics.Precision(name="p")], "p"),
    "a curve of precision": (
        1,
        "sigmoid",
        binary,
        "mse",
        [keras.metrics.AUC(curve="PR", name="pr")],
        "pr",
    ),
    "a partial likelihood": (1, None, times, survival.CoxPartialLikelihood(), [], "loss"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_sum_is_computed_one_after_another(generator, case):
    units, activation, made, loss, metrics, name = OTHERS[case]
    model = dense(units, activation, loss=loss, metrics=metrics)
    x, y = generator.normal(size=(SIZE, 4)).astype("float32"), made(generator)
    metric, outputs = metric_of(model, f"val_{name}"), model.predict(x, verbose=0)
    expected = model.evaluate(x, y, batch_size=SIZE, return_dict=True, verbose=0)[name]
    assert metric((y, None), outputs) == pytest.approx(expected, abs=1e-5)
    assert isinstance(metric.scorer((y, None), outputs), OneByOne)


class Gini(keras.metrics.AUC):
    """An area with a value of its own."""

    def result(self):
        return 2 * super().result() - 1


@pytest.mark.parametrize(
    "metric",
    [
        lambda: keras.metrics.AUC(curve="PR", name="area"),
        lambda: keras.metrics.AUC(multi_label=True, num_labels=3, name="area"),
        lambda: keras.metrics.AUC(summation_method="minoring", name="area"),
        lambda: Gini(name="area"),
    ],
)
@pytest.mark.parametrize("first", ["perfect", "constant"])
def test_a_scorer_is_chosen_by_what_a_metric_is(generator, metric, first):
    """On predictions that are perfect, or all the same, many metrics agree."""
    model = dense(3, "sigmoid", loss="binary_crossentropy", metrics=[metric()])
    y = one_hot(generator)
    seen = y if first == "perfect" else np.full_like(y, 0.5)
    compiled = metric_of(model, "val_area")
    scorer = compiled.scorer((y, None), seen)
    later = generator.random(y.shape).astype("float32")
    [found] = scorer.scores((y, None), later, np.ones((1, SIZE)))
    assert found == pytest.approx(compiled((y, None), later), abs=1e-4)


MASKED = {
    "accuracy": (gk.MaskedMetric(keras.metrics.BinaryAccuracy(name="m"), missing=-1), "m"),
    "area": (gk.MaskedMetric(keras.metrics.AUC(name="m"), missing=-1), "m"),
    "loss": (None, "loss"),
}


@pytest.mark.parametrize("case", MASKED)
@pytest.mark.parametrize("weighted", [False, True])
def test_what_keras_says_of_no_known_label_is_no_score(generator, case, weighted):
    metric, name = MASKED[case]
    loss = gk.MaskedLoss("binary_crossentropy", missing=-1)
    model = dense(1, "sigmoid", loss=loss, metrics=[metric] if metric else [])
    y = binary(generator)[:, None]
    y[: SIZE // 2] = -1
    weights = generator.random(SIZE).astype("float32") if weighted else None
    outputs = generator.random((SIZE, 1)).astype("float32")
    compiled = metric_of(model, f"val_{name}")
    scorer = compiled.scorer((y, weights), outputs)
    counts = np.stack([np.ones(SIZE), np.arange(SIZE) < SIZE // 2, np.arange(SIZE) >= SIZE // 2])
    found = scorer.scores((y, weights), outputs, counts)
    expected = compiled((y, weights), outputs)
    assert found[0] == pytest.approx(expected, rel=1e-4)
    assert np.isnan(found[1])
    if metric is not None or not weighted:  # else of fewer samples with weights
        assert found[2] == pytest.approx(expected, rel=1e-4)


def test_an_area_of_one_class_and_weights_of_nothing_are_no_score(generator):
    model = dense(1, "sigmoid", loss="mse", metrics=[keras.metrics.AUC(name="area")])
    y, outputs = binary(generator), generator.random((SIZE, 1)).astype("float32")
    weights = np.ones(SIZE, "float32")
    counts = np.stack([np.ones(SIZE), y == 1])
    for given in (None, weights):
        scorer = metric_of(model, "val_area").scorer((y, given), outputs)
        assert np.isnan(scorer.scores((y, given), outputs, counts)).tolist() == [False, True]
    assert np.isnan(metric_of(model, "val_loss", "min")((y, 0 * weights), outputs))


def test_sample_weights_count_where_keras_counts_them(generator):
    model = dense(
        1, loss="mse", metrics=["mae"], weighted_metrics=[keras.metrics.MeanSquaredError()]
    )
    x, y = generator.normal(size=(SIZE, 4)).astype("float32"), binary(generator)
    weights = generator.random(SIZE).astype("float32")
    found = model.evaluate(
        x, y, sample_weight=weights, batch_size=SIZE, return_dict=True, verbose=0
    )
    for name in ("loss", "mae", "mean_squared_error"):
        metric = metric_of(model, f"val_{name}", "min")
        outputs = model.predict(x, verbose=0)
        assert metric((y, weights), outputs) == pytest.approx(found[name], rel=1e-5)
        scorer = metric.scorer((y, weights), outputs)
        is_fast = name != "mean_squared_error"  # which is weighted by their sum
        assert isinstance(scorer, MeanOfSamples if is_fast else OneByOne)
        counts = generator.integers(0, 3, (3, SIZE))
        slow = OneByOne(metric).scores((y, weights), outputs, counts)
        np.testing.assert_allclose(scorer.scores((y, weights), outputs, counts), slow, rtol=1e-4)


def test_penalties_of_weights_are_no_part_of_a_loss(generator):
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(1, kernel_regularizer=keras.regularizers.L2(10.0))(inputs)
    model = keras.Model(inputs, outputs)
    model.compile("sgd", "mse")
    x, y = generator.normal(size=(SIZE, 4)), binary(generator)
    found = model.predict(x, verbose=0)
    expected = ((found[:, 0] - y) ** 2).mean()
    assert metric_of(model, "val_loss", "min")((y, None), found) == pytest.approx(
        expected, rel=1e-4
    )


def two_tasks():
    inputs = keras.Input((4,))
    outputs = {
        "grade": keras.layers.Dense(3, "softmax", name="grade")(inputs),
        "size": keras.layers.Dense(1, name="size")(inputs),
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        "sgd",
        {"grade": "sparse_categorical_crossentropy", "size": "mse"},
        metrics={"grade": ["accuracy"], "size": ["mae"]},
    )
    return model


@pytest.mark.parametrize("name", ["grade_accuracy", "size_mae", "size_loss", "loss"])
def test_each_task_has_its_metrics(generator, name):
    model, x = two_tasks(), generator.normal(size=(SIZE, 4)).astype("float32")
    y = {"grade": classes(generator), "size": binary(generator)}
    outputs = model.predict(x, verbose=0)
    expected = model.evaluate(x, y, batch_size=SIZE, return_dict=True, verbose=0)[name]
    metric = metric_of(model, f"val_{name}")
    assert metric((y, None), outputs) == pytest.approx(expected, rel=1e-5)
    counts = generator.integers(0, 3, (2, SIZE))
    scorer = metric.scorer((y, None), outputs)
    assert isinstance(scorer, OneByOne if name == "loss" else MeanOfSamples)
    slow = OneByOne(metric).scores((y, None), outputs, counts)
    np.testing.assert_allclose(scorer.scores((y, None), outputs, counts), slow, rtol=1e-4)


def test_several_objectives_are_their_sum(generator):
    model, x = two_tasks(), generator.normal(size=(SIZE, 4)).astype("float32")
    y = {"grade": classes(generator), "size": binary(generator)}
    logs = model.evaluate(x, y, batch_size=SIZE, return_dict=True, verbose=0)
    goal = MultiObjective(
        [Objective("val_grade_accuracy", "max"), Objective("val_size_mae", "min")]
    )
    metric = CompiledMetric(model, goal, None, HyperParameters())
    expected = logs["size_mae"] - logs["grade_accuracy"]
    assert metric((y, None), model.predict(x, verbose=0)) == pytest.approx(expected, rel=1e-5)


class Searched(HyperModel):
    """As `Search` makes them."""

    logs_validation_only = True


def test_a_single_task_has_its_name_in_front(generator):
    model = dense(1, loss="mse", metrics=["mae"])
    x, y = generator.normal(size=(SIZE, 4)).astype("float32"), binary(generator)
    config = HyperParameters(tree={"tasks": {"size": {}}})
    outputs = model.predict(x, verbose=0)
    expected = model.evaluate(x, y, batch_size=SIZE, return_dict=True, verbose=0)["mae"]
    for name, hypermodel in (("val_size_mae", None), ("size_mae", Searched()), ("mae", Searched())):
        metric = metric_of(model, name, "min", hypermodel, config)
        assert metric((y, None), outputs) == pytest.approx(expected, rel=1e-5)
        assert isinstance(metric.scorer((y, None), outputs), MeanOfSamples)


@pytest.mark.parametrize("name", ["accuracy", "val_acuracy", "val_other"])
def test_an_objective_that_is_not_of_validation_data_is_refused(generator, name):
    model = dense(1, loss="mse", metrics=["accuracy"])
    with pytest.raises(ObjectiveError, match=f"{name}.*Give `metric=`.*val_accuracy"):
        metric_of(model, name)((binary(generator), None), np.zeros((SIZE, 1), "float32"))
