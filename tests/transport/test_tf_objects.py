"""TensorFlow's functions and tables that are sent."""

import numpy as np
import pytest
import tensorflow as tf

import glimr_keras as gk
from glimr_keras.transport.serialization import check_sendable, pack, unpack
from tests import tiny_models

FACTOR = 3.0


def sent(value):
    check_sendable(value, "value")
    packed = pack(value)
    return unpack(packed.content, packed.arrays)


@tf.function
def tripled(x):
    return x * FACTOR


class Steps(tf.Module):
    """With a function that belongs to the class, and one that belongs to the object."""

    def __init__(self):
        super().__init__()
        self.rate = tf.Variable(2.0)
        self.add = tf.function(lambda x: x + 1.0)

    @tf.function(jit_compile=True)
    def step(self, x):
        return self.add(x) * self.rate


def test_a_function_that_was_called_is_made_anew():
    variable = tf.Variable(2.0)

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32)], autograph=False)
    def function(x):
        return tripled(x) * variable

    assert float(function(tf.constant(1.0))) == 6.0
    arrived = sent(function)
    assert float(arrived(tf.constant(2.0))) == 12.0
    assert arrived.input_signature == function.input_signature
    assert arrived.__name__ == "function"
    variable.assign(5.0)
    assert float(arrived(tf.constant(2.0))) == 12.0  # which has a variable of its own
    assert float(function(tf.constant(2.0))) == 30.0


def test_functions_of_an_object_and_of_its_class_arrive():
    steps = Steps()
    assert float(steps.step(tf.constant(1.0))) == 4.0
    arrived, method = sent(steps), sent(steps.step)
    assert float(arrived.step(tf.constant(2.0))) == 6.0
    assert float(method(tf.constant(2.0))) == 6.0


def filled(kind, *arguments):
    table = kind(tf.string, tf.int64, -1, *arguments)
    table.insert(["a", "b"], [1, 2])
    return table


TABLES = {
    "hash table": lambda: tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64)), -1
    ),
    "vocabulary": lambda: tf.lookup.StaticVocabularyTable(
        tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, 1], tf.int64)), 3
    ),
    "mutable": lambda: filled(tf.lookup.experimental.MutableHashTable),
    "dense": lambda: filled(tf.lookup.experimental.DenseHashTable, "", "?"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_arrive_with_what_is_in_them(name):
    table = TABLES[name]()
    keys = tf.constant(["b", "a", "other"])
    arrived = sent(table)
    assert type(arrived) is type(table)
    np.testing.assert_array_equal(arrived.lookup(keys), table.lookup(keys))
    assert int(arrived.size()) == int(table.size())


def test_an_empty_table_arrives_and_takes_more():
    arrived = sent(tf.lookup.experimental.DenseHashTable(tf.int64, tf.float32, -1.0, -1, -2))
    assert int(arrived.size()) == 0
    arrived.insert([5], [2.0])
    assert float(arrived.lookup(tf.constant([5], tf.int64))[0]) == 2.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_trials_use_functions_tables_and_what_a_dataset_says_of_itself(
    local_ray, project, tmp_path
):
    import keras

    for name in ("cats", "dogs"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(2):
            image = np.full((4, 4, 3), 50 * number, "uint8")
            keras.utils.save_img(tmp_path / "images" / name / f"{number}.png", image)
    images = keras.utils.image_dataset_from_directory(
        tmp_path / "images", image_size=(4, 4), batch_size=2, verbose=False
    )
    table, words = TABLES["hash table"](), keras.layers.StringLookup()
    words.adapt(np.array(["b", "a", "b"]))
    assert float(tripled(tf.constant(1.0))) == 3.0

    def build(config):
        config.Float("unused", 0.0, 1.0)
        config.Fixed("classes", " ".join(images.class_names))
        config.Fixed("files", len(images.file_paths))
        config.Fixed("tripled", float(tripled(tf.constant(2.0))))
        config.Fixed("found", int(table.lookup(tf.constant("b"))))
        config.Fixed("word", int(words(np.array(["a"]))[0]))
        model = keras.Sequential(
            [keras.layers.Flatten(), keras.layers.Dense(len(images.class_names))]
        )
        return tiny_models.compiled(model)

    tuner = gk.RandomSearch(build, "val_loss", max_trials=2, max_concurrent_trials=2, **project)
    tuner.search(images, validation_data=images, verbose=0)
    for trial in tuner.oracle.get_best_trials(2):
        values = trial.hyperparameters.values
        assert (values["classes"], values["files"]) == ("cats dogs", 4)
        assert (values["tripled"], values["found"], values["word"]) == (6.0, 2, 2)
