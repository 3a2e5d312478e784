"""How data is split into the folds of a cross validation."""

import sys

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.models.bags import Bags
from glimr_keras.models.data import FitArguments
from glimr_keras.models.folds import Folds, make, split

N = 60
X = np.arange(N * 2, dtype="float32").reshape(N, 2)
CLASSES = np.array([0] * 36 + [1] * 18 + [2] * 6)
VALUES = np.linspace(0, 1, N)


def parts(y=CLASSES, count=3, seed=0, **how):
    return make(FitArguments((X, y)), count, seed, **how).parts


def shares(folds, classes, count=3):
    return [np.bincount(classes[folds == fold]) for fold in range(count)]


# Stratified


@pytest.mark.parametrize(
    "y",
    [
        CLASSES,
        CLASSES[:, None],
        CLASSES.astype(str),
        np.array(["a", "b", "c"], object)[CLASSES],
        keras.utils.to_categorical(CLASSES, 3),
        pd.Series(CLASSES),
        tf.constant(CLASSES),
        {"kind": CLASSES},
    ],
    ids=["integers", "column", "strings", "objects", "one-hot", "series", "tensor", "named"],
)
def test_each_fold_has_the_classes_in_their_proportions(y):
    assert all(list(share) == [12, 6, 2] for share in shares(parts(y), CLASSES))


@pytest.mark.parametrize(
    "y", [CLASSES > 0, (CLASSES > 0).astype("float32")], ids=["booleans", "0 and 1"]
)
def test_two_classes(y):
    assert all(list(share) == [12, 8] for share in shares(parts(y), (CLASSES > 0).astype(int)))


@pytest.mark.parametrize(
    "y", [VALUES, VALUES[:, None] * [1, 2], None], ids=["numbers", "rows", "none"]
)
def test_without_classes_the_folds_are_of_one_size(y):
    assert list(np.bincount(parts(y))) == [20, 20, 20]
    assert not (np.diff(parts(y)) >= 0).all()  # shuffled


def test_classes_of_ones_own():
    event = np.tile([0, 0, 1], 20)
    assert all(
        list(share) == [14, 6] or list(share) == [13, 7]
        for share in shares(parts(VALUES, stratify=event), event)
    )


def test_several_labels_are_stratified_together_where_each_combination_is_frequent_enough():
    other = np.tile([0, 1], 30)
    together = parts({"kind": CLASSES, "other": other, "size": VALUES})
    assert all(list(share) == [6, 3, 1, 6, 3, 1] for share in shares(together, CLASSES + 3 * other))
    rare = np.arange(N) == 0
    assert all(
        list(share) == [12, 6, 2]
        for share in shares(parts({"kind": CLASSES, "rare": rare}), CLASSES)
    )


def test_the_split_is_shuffled_under_the_seed():
    assert (parts(seed=1) == parts(seed=1)).all()
    assert (parts(seed=1) != parts(seed=2)).any()


# Groups


def test_no_group_is_on_both_sides():
    patients = np.repeat(np.arange(20), 3)
    for how in ({}, {"stratify": None}):
        folds = parts(groups=patients, **how)
        assert all(len(set(folds[patients == patient])) == 1 for patient in range(20))
        assert np.bincount(folds).min() > 10


def test_groups_may_be_names():
    patients = np.repeat([f"patient {number}" for number in range(20)], 3)
    assert set(parts(groups=list(patients))) == {0, 1, 2}


def test_folds_may_be_given():
    given = np.arange(N) % 3
    assert (parts(folds=given) == given).all()
    assert (parts(folds=given, groups=np.arange(N) % 6) == given).all()


# Splitting


def test_training_and_validation_are_the_whole():
    folds = Folds(3, np.arange(N) % 3)
    arguments = split(FitArguments((X, CLASSES), {"epochs": 2, "sample_weight": VALUES}), folds, 1)
    x, y, weight = arguments.kwargs["validation_data"]
    assert (x == X[1::3]).all() and (y == CLASSES[1::3]).all() and (weight == VALUES[1::3]).all()
    assert (arguments.args[0] == X[np.arange(N) % 3 != 1]).all()
    assert (arguments.args[1] == CLASSES[np.arange(N) % 3 != 1]).all()
    assert len(arguments.kwargs["sample_weight"]) == 40
    assert arguments.kwargs["epochs"] == 2


def test_named_arguments_and_nested_inputs_are_split():
    given = FitArguments(
        (), {"x": {"left": X, "right": (X, [X])}, "y": {"kind": CLASSES, "size": VALUES}}
    )
    arguments = split(given, make(given, 3, 0), 0)
    assert not {"x", "y"} & set(arguments.kwargs)
    for leaf in keras.tree.flatten(arguments.args[0]):
        assert leaf.shape == (40, 2)
    assert arguments.args[1]["size"].shape == (40,)
    assert arguments.kwargs["validation_data"][1]["kind"].shape == (20,)


def test_frames_keep_their_index():
    frame = pd.DataFrame(X, index=[f"row {number}" for number in range(N)])
    arguments = split(
        FitArguments((frame, pd.Series(CLASSES, frame.index))), Folds(3, np.arange(N) % 3), 0
    )
    assert list(arguments.kwargs["validation_data"][0].index[:2]) == ["row 0", "row 3"]
    assert list(arguments.args[1].index[:2]) == ["row 1", "row 2"]


def test_tensors_are_split():
    arguments = split(
        FitArguments((tf.constant(X), tf.constant(CLASSES))), Folds(3, np.arange(N) % 3), 0
    )
    assert tuple(arguments.args[0].shape) == (40, 2)


@pytest.mark.parametrize(
    "kind", [tf.sparse.from_dense, scipy.sparse.coo_matrix, scipy.sparse.csr_array, tf.constant]
)
def test_whatever_keras_takes_is_split(kind):
    given = FitArguments(({"a": kind(X), "b": [X, None]}, CLASSES))
    arguments = split(given, make(given, 3, 0), 0)
    train, validation = arguments.args[0], arguments.kwargs["validation_data"][0]
    assert type(train["a"]) is type(validation["a"]) is type(kind(X))
    assert [part["a"].shape[0] for part in (train, validation)] == [40, 20]
    assert train["b"][0].shape == (40, 2) and train["b"][1] is None


def test_the_elements_of_a_dataset_are_dealt_out_by_position():
    dataset = tf.data.Dataset.from_tensor_slices((X, CLASSES)).batch(10)
    given = FitArguments((dataset,), {"epochs": 1})
    arguments = split(given, make(given, 3, 0), 2)
    train, validation = list(arguments.args[0]), list(arguments.kwargs["validation_data"])
    assert [int(x[0, 0]) for x, _ in validation] == [40, 100]
    assert [int(x[0, 0]) for x, _ in train] == [0, 20, 60, 80]


# Bad input


@pytest.mark.parametrize(
    ("kwargs", "how", "message"),
    [
        (
            {"validation_data": (X, CLASSES)},
            {},
            "Leave out `validation_data` and `validation_split`",
        ),
        ({"validation_split": 0.2}, {}, "Leave out `validation_data` and `validation_split`"),
        (
            {"sample_weight": np.ones(7)},
            {},
            r"All data must have the same number of samples .* Received: \[7, 60\]",
        ),
        (
            {},
            {"count": 7},
            r"as many samples as there are folds.* Received: 6 of class 2, cv_folds=7. Pass "
            r"`stratify",
        ),
        (
            {},
            {"count": 61, "stratify": None},
            "at least as many samples as folds. Received: 60 samples, cv_folds=61",
        ),
        (
            {},
            {"groups": np.arange(N) % 2},
            "at least as many groups as folds. Received: 2 groups, cv_folds=3",
        ),
        (
            {},
            {"groups": np.arange(5)},
            r"`groups` must have an entry for each of 60 samples. Received: .*shape \(5,\)",
        ),
        ({}, {"stratify": CLASSES[:9]}, "`stratify` must have an entry"),
        (
            {},
            {"folds": np.arange(N) % 2},
            r"integers from 0 to 2 of which each occurs. Received: \[0, 1\]",
        ),
        ({}, {"folds": VALUES}, "`folds` must have the fold of each sample"),
        (
            {},
            {"folds": np.arange(N) % 3, "groups": np.arange(N) // 20},
            r"A group must be in one fold.* Received: group 0 in the folds \[0, 1, 2\]",
        ),
    ],
)
def test_what_cannot_be_split_is_refused(kwargs, how, message):
    with pytest.raises(ValueError, match=message):
        make(FitArguments((X, CLASSES), kwargs), **{"count": 3, "seed": 0, **how})


def test_a_dataset_that_shuffles_is_refused():
    dataset = tf.data.Dataset.from_tensor_slices((X, CLASSES))
    with pytest.raises(ValueError, match=r"dealt out by position.* This one shuffles or repeats"):
        make(FitArguments((dataset.shuffle(10).batch(4),)), 3, 0)
    with pytest.raises(ValueError, match=r"This one shuffles or repeats"):
        make(FitArguments((dataset.batch(4).repeat(2),)), 3, 0)
    with pytest.raises(ValueError, match="`groups`, `stratify` and `folds` need arrays"):
        make(FitArguments((dataset,)), 3, 0, groups=np.arange(N))


def test_other_sources_are_refused():
    class Batches:
        pass

    with pytest.raises(
        ValueError, match=r"return the data of fold `config.fold`. Received: Batches"
    ):
        make(FitArguments((Batches(),)), 3, 0)


# Datasets of batches


class Batches(keras.utils.PyDataset):
    """Ten batches of two samples each, whose labels are the batch's number."""

    def __getitem__(self, index):
        return np.full((2, 3), float(index)), np.full((2,), index)

    @property
    def num_batches(self):
        return 10


class Shuffling(Batches):
    def on_epoch_end(self):
        pass


class Drawing(Batches):
    def __getitem__(self, index):
        return np.zeros((2, 3)), np.random.default_rng().normal(size=2)


class Endless(Batches):
    num_batches = None


PATIENTS = np.array([0, 0, 1, 1, 1, 2, 2, 3, 4, 5])


def seen(dataset):
    return [int(dataset[index][1][0]) for index in range(dataset.num_batches)]


def test_batches_of_a_dataset_are_split_and_groups_kept_together():
    given = FitArguments((Batches(),), {"epochs": 2})
    found = make(given, 3, 0, groups=PATIENTS)
    validated = []
    for fold in range(3):
        arguments = split(given, found, fold)
        train, validation = seen(arguments.x), seen(arguments.kwargs["validation_data"])
        assert sorted(train + validation) == list(range(10))
        assert not set(PATIENTS[train]) & set(PATIENTS[validation])
        assert arguments.kwargs["epochs"] == 2
        validated += validation
    assert sorted(validated) == list(range(10))


def test_bags_are_split_with_all_that_is_theirs():
    bags = Bags(
        [np.full((size, 2), size) for size in range(1, 11)],
        {"a": np.arange(10), "b": None},
        np.arange(10) + 0.5,
        inputs={"age": np.arange(10)[:, None]},
        batch_size=3,
    )
    for given in (FitArguments((bags,)), FitArguments((), {"x": bags})):
        found = make(given, 3, 0, groups=PATIENTS, stratify=None)
        for fold in range(3):
            arguments = split(given, found, fold)
            for part in (arguments.x, arguments.kwargs["validation_data"]):
                chosen = part.y["a"]
                assert part.sizes.tolist() == (chosen + 1).tolist()
                assert part.sample_weight.tolist() == (chosen + 0.5).tolist()
                assert part.inputs["age"][:, 0].tolist() == chosen.tolist()
                assert part.batch_size == 3
    assert set(make(FitArguments((bags.replace(y=PATIENTS > 1),)), 2, 0).parts) == {0, 1}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (FitArguments((Shuffling(),)), "Shuffling changes what is in them"),
        (FitArguments((Drawing(),)), "Drawing changes what is in them"),
        (FitArguments((Endless(),)), "Endless, whose `num_batches` is None"),
        (FitArguments((Batches(), np.zeros(20))), "has its labels and weights in it"),
        (
            FitArguments(([np.zeros((size, 2)) for size in (2, 3, 4)], np.zeros(3))),
            r"a list of 3 arrays with 2 to 4 rows. .*`glimr_keras.Bags\(x, y\)`",
        ),
    ],
)
def test_batches_that_do_not_stay_and_bags_in_a_list_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        make(given, 3, 0)


def test_groups_have_an_entry_for_each_batch():
    with pytest.raises(ValueError, match="`groups` must have an entry for each of 10 samples"):
        make(FitArguments((Batches(),)), 3, 0, groups=np.zeros(20))


def test_scikit_learn_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install 'glimr_keras\[sklearn\]', or give `folds=`"
    ):
        parts()
    assert set(parts(folds=np.arange(N) % 3)) == {0, 1, 2}


def test_a_search_over_the_batches_of_a_dataset(project):
    def build(config):
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        return model

    tuner = gk.RayTuner(build, "val_loss", 1, seed=0, cv_folds=3, executor="inline", **project)
    tuner.search(Batches(), groups=PATIENTS, verbose=0)
    assert list(tuner.results_dataframe()["status"]) == ["COMPLETED"]
    assert len(tuner.get_best_models()) == 3


@pytest.mark.parametrize("folds", [None, np.arange(12) // 3 % 3])
def test_groups_are_kept_as_integers(folds):
    groups = np.array([f"patient {number // 3}" for number in range(12)])
    arguments = FitArguments((np.zeros((12, 2)), np.zeros(12)))
    made = make(arguments, 3, 0, groups=groups, stratify=None, folds=folds)
    np.testing.assert_array_equal(made.groups, np.arange(12) // 3)
    assert make(arguments, 3, 0, stratify=None).groups is None
